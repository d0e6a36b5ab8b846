"""Kernels that are checked and have no peer to be timed beside: models in ONNX's text form, each with its inputs, its
constants and its results in float64, with what each may be off. One product of each runs all of its sizes in turn, each run
put into the caller's stream before anything is waited for; what a run `carries` is its memory, which the next one reads.
"""
from dataclasses import dataclass, field
from typing import Callable

import numpy as np

from elements import BF16, CODES, F16, F32, ULP, decode, encode, hashed, normal

HEAD = '<ir_version: 10, opset_import: ["" : 24, "ai.onnx.preview.training" : 1]>\n'
SMALL = 2.0 ** -20   # of results near 1, what f32 loses on the way


@dataclass
class Program:
    name: str
    text: str
    inputs: Callable       # of a size: {name: (dtype, array as stored)}
    reference: Callable    # of a size: [(result in float64, what it may be off)] of each output
    sizes: list
    constants: dict = field(default_factory=dict)   # as inputs
    options: list = field(default_factory=list)
    carries: dict = field(default_factory=dict)     # input: number of the output that is the next run's

    def record(self):
        return {"name": self.name, "check": self.sizes}


def floats(dtype, shape, seed, scale=1.0):
    return dtype, normal(shape, seed, dtype, scale)


def integers(dtype, shape, seed, low, high):
    stored = {"i8": np.int8, "u8": np.uint8, "i64": np.int64}[dtype]
    return dtype, (hashed(int(np.prod(shape)), seed) % (high - low) + low).astype(stored).reshape(shape)


def values(tensor):
    dtype, array = tensor
    return decode(array, dtype) if dtype in ULP else array.astype(np.float64)


def near(result, dtype, lost):
    """With what rounding to its type takes."""
    return result, lost + ULP[dtype] / 2 * abs(result) + 2.0 ** -24


def exact(result):
    return result, 0.0 * result + 1e-300


# --- products of bytes, and by weights that are dequantised ---

def bytes_product(n=96, k=160):
    a, b = lambda m: integers("u8", (m, k), m, 0, 256), integers("i8", (k, n), 2, -128, 128)
    return Program("product_u8_i8", HEAD + f"p (uint8[M, {k}] a) => (int32[M, {n}] y) {{ y = MatMulInteger(a, b) }}",
                   lambda m: {"a": a(m)}, lambda m: [exact(values(a(m)) @ values(b))], [1, 33], {"b": b})


def dequantised(bits, n=96, k=160, block=32):
    """Scales for each column, or of int4 for each block of it."""
    a = lambda m: floats(F16, (m, k), m)  # noqa: E731
    most = 1 << (bits - 1)
    _, codes = integers("i8", (k, n), 3, -most, most)
    scales = F16, encode((hashed(n * (1 if bits == 8 else k // block), 4) / 2.0 ** 31 + 0.5).astype(np.float32) / (most * 8), F16)
    shape = (n,) if bits == 8 else (k // block, n)
    scale = decode(scales[1], F16).reshape(shape)
    w = codes * (scale if bits == 8 else np.repeat(scale, block, 0))
    attributes = "axis = 1" if bits == 8 else f"axis = 0, block_size = {block}"
    text = HEAD + f"p (float16[M, {k}] a) => (float16[M, {n}] y) {{ w = DequantizeLinear <{attributes}> (q, s) y = MatMul(a, w) }}"
    result = lambda m: near(values(a(m)) @ w, F16, 2 * ULP[F16] * (abs(values(a(m))) @ abs(w)))  # noqa: E731  w is rounded too
    return Program(f"product_int{bits}", text, lambda m: {"a": a(m)}, lambda m: [result(m)], [1, 33],
                   {"q": (f"i{bits}", codes), "s": (F16, scales[1].reshape(shape))})


# --- attention ---

def softmax(scores):
    e = np.exp(scores - scores.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def attended(q, k, v, dtype, mask=None):
    """Heads of k and v that several of q share."""
    k, v = (np.repeat(each, q.shape[1] // k.shape[1], 1) for each in (k, v))
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    p = softmax(scores if mask is None else np.where(mask, scores, -1e30))
    return near(p @ v, dtype, 4 * ULP[dtype] * (p @ abs(v)))


def attention(name, dtype, heads=4, shared=4, length=70, width=64, masked=False):
    kind = {F16: "float16", BF16: "bfloat16"}[dtype]

    def inputs(m):
        found = {"q": floats(dtype, (m, heads, length, width), 5)} | {x: floats(dtype, (m, shared, length, width), at) for at, x in ((6, "k"), (7, "v"))}
        if masked:
            mask = hashed(length * length, 8).reshape(length, length) % 3 > 0
            found["mask"] = "bool", mask | np.eye(length, dtype=bool)
        return found

    def reference(m):
        given = {key: values(tensor) for key, tensor in inputs(m).items()}
        return [attended(given["q"], given["k"], given["v"], dtype, given["mask"] > 0 if masked else None)]

    operands = f"{kind}[M, {heads}, {length}, {width}] q, {kind}[M, {shared}, {length}, {width}] k, {kind}[M, {shared}, {length}, {width}] v"
    operands += f", bool[{length}, {length}] mask" * masked
    text = HEAD + f"p ({operands}) => ({kind}[M, {heads}, {length}, {width}] y) {{ y = Attention(q, k, v{', mask' * masked}) }}"
    return Program("attention_" + name, text, inputs, reference, [1, 2])


def decode_step(heads=4, width=64, first=30, steps=5):
    """A word at a time behind `past` others: the keys and values that a run puts out are the next one's past."""
    every = {x: normal((1, heads, first + steps, width), at, F16) for at, x in ((9, "k"), (10, "v"))}
    part = lambda x, begin, end: (F16, np.ascontiguousarray(every[x][:, :, begin:end]))  # noqa: E731
    q = lambda past: floats(F16, (1, heads, 1, width), past)  # noqa: E731

    def inputs(past):
        return {"q": q(past), "k": part("k", past, past + 1), "v": part("v", past, past + 1), "pk": part("k", 0, past), "pv": part("v", 0, past)}

    def reference(past):
        k, v = (values(part(x, 0, past + 1)) for x in "kv")
        return [attended(values(q(past)), k, v, F16), exact(k), exact(v)]

    one, all_of = f"float16[1, {heads}, 1, {width}]", f"float16[1, {heads}, {{}}, {width}]"
    text = HEAD + f"""p ({one} q, {one} k, {one} v, {all_of.format('P')} pk, {all_of.format('P')} pv)
        => ({one} y, {all_of.format('T')} nk, {all_of.format('T')} nv) {{ y, nk, nv = Attention(q, k, v, "", pk, pv) }}""".replace('""', "")
    return Program("attention_decode", text, inputs, reference, list(range(first, first + steps)), carries={"pk": 1, "pv": 2})


# --- along an axis ---

def scan(n=1500):
    x = lambda m: floats(F32, (m, n), m)  # noqa: E731
    result = lambda m: near(np.cumsum(values(x(m)), 1), F32, 2.0 ** -22 * np.cumsum(abs(values(x(m))), 1))  # noqa: E731
    return Program("scan", HEAD + f"p (float[M, {n}] x) => (float[M, {n}] y) {{ y = CumSum(x, axis) }}", lambda m: {"x": x(m)},
                   lambda m: [result(m)], [1, 9], {"axis": ("i64", np.array(1))})


def top_k(n=3000, k=20):
    x = lambda m: floats(F32, (m, n), m)  # noqa: E731
    at = lambda m: np.argsort(-values(x(m)), 1, kind="stable")[:, :k]  # noqa: E731
    text = HEAD + f"p (float[M, {n}] x) => (float[M, {k}] y, int64[M, {k}] i) {{ y, i = TopK(x, k) }}"
    return Program("top_k", text, lambda m: {"x": x(m)},
                   lambda m: [exact(np.take_along_axis(values(x(m)), at(m), 1)), exact(at(m).astype(np.float64))], [1, 9], {"k": ("i64", np.array([k]))})


def transpose(dtype, kind):
    x = lambda m: floats(dtype, (m, 70, 90), m)  # noqa: E731
    return Program(f"transpose_{dtype}", HEAD + f"p ({kind}[M, 70, 90] x) => ({kind}[M, 90, 70] y) {{ y = Transpose <perm = [0, 2, 1]> (x) }}",
                   lambda m: {"x": x(m)}, lambda m: [exact(values(x(m)).swapaxes(1, 2))], [1, 3])


def gather(rows=1000, width=96):
    table = floats(F16, (rows, width), 12)
    ids = lambda m: integers("i64", (m,), m, 0, rows)  # noqa: E731
    return Program("gather", HEAD + f"p (int64[M] ids) => (float16[M, {width}] y) {{ y = Gather(table, ids) }}", lambda m: {"ids": ids(m)},
                   lambda m: [exact(values(table)[ids(m)[1]])], [1, 300], {"table": table})


# --- recurrences ---

def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(x, w, r):
    h = c = np.zeros((x.shape[1], r.shape[1]))
    for step in x:
        i, o, f, g = np.split(step @ w.T + h @ r.T, 4, -1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        yield h


def gru(x, w, r):
    h = np.zeros((x.shape[1], r.shape[1]))
    of_h = np.split(r, 3)
    for step in x:
        z, s, n = np.split(step @ w.T, 3, -1)
        z, s = sigmoid(z + h @ of_h[0].T), sigmoid(s + h @ of_h[1].T)
        h = (1 - z) * np.tanh(n + (s * h) @ of_h[2].T) + z * h
        yield h


def recurrence(kind, gates, steps, hidden=96, width=64, batch=3):
    x = lambda length: floats(F32, (length, batch, width), length)  # noqa: E731
    w, r = floats(F32, (1, gates * hidden, width), 13, width ** -0.5), floats(F32, (1, gates * hidden, hidden), 14, hidden ** -0.5)

    def reference(length):
        found = np.stack(list(steps(values(x(length)), values(w)[0], values(r)[0])))[:, None]
        return [near(found, F32, 4 * SMALL)]

    text = HEAD + f"p (float[S, {batch}, {width}] x) => (float[S, 1, {batch}, {hidden}] y) {{ y = {kind} <hidden_size = {hidden}> (x, w, r) }}"
    return Program(kind.lower(), text, lambda length: {"x": x(length)}, reference, [1, 12], {"w": w, "r": r})


# --- gradients ---

def filter_gradient(inputs=16, outputs=24, image=10):
    """Of a convolution's filter, for a sum of its results weighted by g."""
    x = lambda m: floats(F32, (m, inputs, image, image), m)  # noqa: E731
    g = lambda m: floats(F32, (m, outputs, image - 2, image - 2), m + 50)  # noqa: E731
    w = floats(F32, (outputs, inputs, 3, 3), 15)

    def reference(m):
        def sums(x, g):
            return np.stack([np.einsum("nohw,nihw->oi", g, x[:, :, i:i + image - 2, j:j + image - 2]) for i in range(3) for j in range(3)],
                            -1).reshape(outputs, inputs, 3, 3)
        return [near(sums(values(x(m)), values(g(m))), F32, SMALL * sums(abs(values(x(m))), abs(values(g(m)))))]

    text = HEAD + f"""p (float[M, {inputs}, {image}, {image}] x, float[{outputs}, {inputs}, 3, 3] w, float[M, {outputs}, {image - 2}, {image - 2}] g)
        => (float[{outputs}, {inputs}, 3, 3] dw) {{
      c = Conv(x, w)
      weighted = Mul(c, g)
      loss = ReduceSum <keepdims = 0> (weighted)
      dw = ai.onnx.preview.training.Gradient <xs = ["w"], zs = ["x", "g"], y = "loss"> (w, x, g)
    }}"""
    return Program("filter_gradient", text, lambda m: {"x": x(m), "w": w, "g": g(m)}, reference, [1, 5])


PROGRAMS = [
    bytes_product(), dequantised(8), dequantised(4), attention("masked", F16, masked=True), attention("grouped", F16, heads=8, shared=2),
    attention("bf16", BF16), decode_step(), scan(), top_k(), transpose(F16, "float16"), transpose(F32, "float"), gather(),
    recurrence("LSTM", 4, lstm), recurrence("GRU", 3, gru), filter_gradient()]


def named(name):
    return next(program for program in PROGRAMS if program.name == name)
