"""What each kind of kernel computes: its inputs, its result in float64 with what that may be off, its flops and bytes.

References are written once for numpy and for torch, whose functions take numpy's names of arguments; `xp` is either.
They take the rows (images, batches) of inputs that are looked at, so a large result is checked by a sample where there
is no torch. The bound of an element is what its dtype rounds off, and what sums of products in f32 may lose:
2 sqrt(K) ulp of the sum of the products' magnitudes.
"""
import math

import numpy as np

from elements import F16, F32, ULP, hashed, normal, repeating

WEIGHT_SEED = 7
MIDDLE = "middle"   # the step of a convolution between two
FACTORS_LOSE = {"--f32=tf32": 2.0 ** -10, "--f32=3xtf32": 2.0 ** -20, "--f32=bf16": 2.0 ** -7}   # of each product of two, rounded


def weight_shapes(case):
    """Of the input that is a constant when the kernel has weights."""
    s = case.sizes
    if case.kind == "gemm":
        return {"b": (s["n"], s["k"]) if s["transposed"] else (s["k"], s["n"])}
    if case.kind == "conv":
        ends = {"before": (s["inputs"], s["inputs"], 1, 1), "after": (s["outputs"], s["outputs"], 1, 1)} if s["between"] else {}
        return {"w": (s["outputs"], s["inputs"], s["edge"], s["edge"])} | ends
    return {"scale": (s["width"],), "bias": (s["width"],)} if case.kind == "layer_norm" else {}


def weights(case):
    """{name: array as stored} of these, whether constants or inputs."""
    if case.weights:
        return {name: repeating(shape, WEIGHT_SEED, case.dtype) for name, shape in weight_shapes(case).items()}
    scale = case.sizes["k"] ** -0.5 if case.kind == "gemm" else 1
    return {name: normal(shape, WEIGHT_SEED, case.dtype, scale) for name, shape in weight_shapes(case).items()}


def row_shapes(case, m):
    """Of the inputs that have a row for each of M."""
    s = case.sizes
    if case.kind == "gemm":
        return {"a": (m, s["k"])}
    if case.kind == "conv":
        return {"x": (m, s["inputs"], s["image"], s["image"])}
    if case.kind == "attention":
        return {name: (m, s["heads"], s["length"], s["width"]) for name in "qkv"}
    return {name: (m, s["width"]) for name in ("xz" if case.kind == "add" else "x")}


def inputs(case, m):
    """{name: array as stored} of all, the constants among them."""
    return {name: normal(shape, 11 + at, case.dtype) for at, (name, shape) in enumerate(row_shapes(case, m).items())} | weights(case)


def output_shape(case, m):
    s = case.sizes
    if case.kind == "gemm":
        return (m, s["n"])
    if case.kind == "conv":
        return (m, s["outputs"], *[-(-s["image"] // s["stride"])] * 2)
    return next(iter(row_shapes(case, m).values()))


def products(case):
    """Bound on what f32 sums lose, of the sum of magnitudes."""
    s = case.sizes
    terms = {"gemm": s.get("k"), "conv": s.get("inputs", 0) * s.get("edge", 0) ** 2}[case.kind]
    rounded = next((lost for option, lost in FACTORS_LOSE.items() if option in case.options), 0.0)
    return 4 * math.sqrt(terms) * 2.0 ** -24 + rounded


def gemm(xp, case, v):
    b = v["b"].T if case.sizes["transposed"] else v["b"]
    return v["a"] @ b, products(case) * (abs(v["a"]) @ abs(b))


def zeros(like, shape):
    return np.zeros(shape, like.dtype) if isinstance(like, np.ndarray) else like.new_zeros(shape)


def conv_sum(x, w, stride, out):
    edge, image = w.shape[2], x.shape[2]
    pad, last = edge // 2, (out - 1) * stride + 1
    padded = zeros(x, (*x.shape[:2], image + 2 * pad, image + 2 * pad))
    padded[:, :, pad:pad + image, pad:pad + image] = x
    total = zeros(x, (x.shape[0], w.shape[0], out, out))
    for i in range(edge):
        for j in range(edge):
            seen = padded[:, :, i:i + last:stride, j:j + last:stride]
            total += (w[:, :, i, j] @ seen.reshape(*x.shape[:2], -1)).reshape(total.shape)
    return total


def conv(xp, case, v):
    """What one layer is off, the next one's weights pass on."""
    s, out = case.sizes, output_shape(case, 1)[2]
    layers = [("before", 1, s["image"]), ("w", s["stride"], out), ("after", 1, out)] if s["between"] else [("w", s["stride"], out)]
    x, off = v["x"], 0 * v["x"]
    for at, (name, stride, size) in enumerate(layers):
        rounded = off + ULP[case.dtype] / 2 * abs(x) if at else off
        off = conv_sum(products(case) * abs(x) + rounded, abs(v[name]), stride, size)
        x = conv_sum(x, v[name], stride, size)
    return x, off


def attention(xp, case, v):
    """The probabilities are rounded to the inputs' type before they meet V, and so may the scores be."""
    s = case.sizes
    scores = v["q"] @ v["k"].swapaxes(-1, -2) / math.sqrt(s["width"])
    if s["causal"]:
        scores = scores - 1e30 * (1 - xp.tril(xp.ones_like(scores[0, 0])))
    scores = xp.exp(scores - xp.amax(scores, axis=-1, keepdims=True))
    p = scores / xp.sum(scores, axis=-1, keepdims=True)
    return p @ v["v"], 4 * ULP[case.dtype] * (p @ abs(v["v"]))


def softmax(xp, case, v):
    x = xp.exp(v["x"] - xp.amax(v["x"], axis=-1, keepdims=True))
    y = x / xp.sum(x, axis=-1, keepdims=True)
    return y, 2.0 ** -20 * y + 2.0 ** -24


def layer_norm(xp, case, v):
    x = v["x"] - xp.mean(v["x"], axis=-1, keepdims=True)
    x = x / xp.sqrt(xp.mean(x * x, axis=-1, keepdims=True) + 1e-5)
    return x * v["scale"] + v["bias"], ULP[case.dtype] * (1 + abs(x * v["scale"])) + 2.0 ** -20


def gelu(xp, case, v):
    erf = np.vectorize(math.erf) if xp is np else xp.erf
    y = 0.5 * v["x"] * (1 + erf(v["x"] / math.sqrt(2)))
    return y, 2.0 ** -20 + ULP[case.dtype] * abs(y)


def add(xp, case, v):
    return v["x"] + v["z"], 0.0 * v["x"]


REFERENCES = {"gemm": gemm, "conv": conv, "attention": attention, "softmax": softmax, "layer_norm": layer_norm, "gelu": gelu, "add": add}


def reference(xp, case, values):
    """(result, what it may be off), in float64. values: float64, the rows that are looked at."""
    result, lost = REFERENCES[case.kind](xp, case, values)
    return result, lost + ULP[case.dtype] / 2 * abs(result) + (2.0 ** -24 if case.dtype == F16 else 1e-30)


def flops(case, m):
    s = case.sizes
    if case.kind == "gemm":
        return 2 * m * s["n"] * s["k"]
    if case.kind == "conv":
        return 2 * math.prod(output_shape(case, m)) * s["inputs"] * s["edge"] ** 2
    if case.kind == "attention":
        return 4 * m * s["heads"] * s["length"] ** 2 * s["width"] // (2 if s["causal"] else 1)
    return 0


def moved_bytes(case, m):
    """Each input read and each result written once."""
    width = 4 if case.dtype == F32 else 2
    held = [shape for name, shape in weight_shapes(case).items() if name not in ("before", "after")]
    shapes = [*row_shapes(case, m).values(), *held, output_shape(case, m)]
    return width * sum(math.prod(shape) for shape in shapes)


def model_feeds(inputs, seed=5):
    """{name: array as stored} for cases.model_inputs."""
    feeds = {}
    for at, (name, dtype, shape, below) in enumerate(inputs):
        if below == 2:
            feeds[name] = np.ones(shape, np.int64)
            feeds[name][1:, shape[1] * 2 // 3:] = 0   # later texts of a batch are shorter
        elif below:
            feeds[name] = hashed(math.prod(shape), seed + at).reshape(shape) % below
        else:
            feeds[name] = normal(shape, seed + at, dtype)
    return feeds
