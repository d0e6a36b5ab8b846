#!/usr/bin/env python3
"""Gradients of ONNX operators in float32, where a formula that is right may still give NaN or the wrong side of a kink.

    gradients.py --build build

A step of gradient descent with a rate of 1 moves each parameter, which begins as 0 or 1, by its gradient.
"""
import argparse
import os
import subprocess
import sys
import tempfile

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..")]
import onnx  # noqa: E402
import onnx.parser  # noqa: E402
import tally  # noqa: E402
from onnx import numpy_helper  # noqa: E402
from product import Product  # noqa: E402


def saved(folder, text, initializers, opset=24):
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": {opset}, "ai.onnx.preview.training": 1]> {text}')
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in initializers.items())
    path = os.path.join(tempfile.mkdtemp(dir=folder), "model.onnx")    # a library of a name is loaded once
    onnx.save(model, path)
    return path


def compiled(args, model, *options):
    library = model[:-5] + ".so"
    done = subprocess.run([f"{args.build}/tools/lapidary", "compile", model, "-o", library, *options], capture_output=True, text=True)
    return library, done


SUMS = ["--train", "--loss=none", "--optimizer=sgd,lr=1"]    # the model's output is the loss


def gradients(args, folder, text, initializers, inputs):
    """By every parameter, of the sum that is the model's output."""
    library, done = compiled(args, saved(folder, text, initializers), *SUMS)
    assert done.returncode == 0, done.stderr
    with Product(library, "model", threads=1) as product:
        parameters = [name for name, (_, kind, _, _) in product.states.items() if kind == 0]
        before = {name: product.state(name).copy() for name in parameters}
        product.call("train_step", inputs)
        return {name: before[name] - product.state(name) for name in parameters}


# --- activations

def sigmoid(x):
    return np.where(x < 0, np.exp(np.minimum(x, 0)), 1) / (1 + np.exp(-np.abs(x)))


def softplus(x):
    return np.logaddexp(x, 0)


def phi(x):
    return 0.5 * (1 + np.vectorize(__import__("math").erf)(x / np.sqrt(2)))


def exponential(x, alpha, width=1):
    return alpha * np.expm1(np.minimum(x, 0) / width)


# The node, and the function in float64. Those with a kink at 0 have the gradient there that PyTorch takes.
ACTIVATIONS = {
    "Celu": ("Celu<alpha=2.0>", lambda x: np.maximum(x, 0) + exponential(x, 2, 2), 1),
    "Elu": ("Elu", lambda x: np.where(x > 0, x, exponential(x, 1)), 1),
    "Erf": ("Erf", lambda x: 2 * phi(x * np.sqrt(2)) - 1, None),
    "Gelu": ("Gelu", lambda x: x * phi(x), None),
    "GeluTanh": ('Gelu<approximate="tanh">', lambda x: x * 0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))), None),
    "HardSigmoid": ("HardSigmoid", lambda x: np.clip(0.2 * x + 0.5, 0, 1), None),
    "HardSwish": ("HardSwish", lambda x: x * np.clip(x / 6 + 0.5, 0, 1), None),
    "LeakyRelu": ("LeakyRelu", lambda x: np.where(x > 0, x, 0.01 * x), 1),
    "Mish": ("Mish", lambda x: x * np.tanh(softplus(x)), None),
    "Relu": ("Relu", lambda x: np.maximum(x, 0), 0),
    "Selu": ("Selu", lambda x: 1.05070102214813232421875 * np.where(x > 0, x, exponential(x, 1.67326319217681884765625)), 1.7580993),
    "Shrink": ("Shrink<lambd=0.5, bias=0.25>", lambda x: np.where(np.abs(x) > 0.5, x - np.sign(x) * 0.25, 0), None),
    "Sigmoid": ("Sigmoid", sigmoid, None),
    "Softplus": ("Softplus", softplus, None),
    "Softsign": ("Softsign", lambda x: x / (1 + np.abs(x)), None),
    "Swish": ("Swish", lambda x: x * sigmoid(x), None),
    "Tanh": ("Tanh", np.tanh, None),
    "ThresholdedRelu": ("ThresholdedRelu", lambda x: np.where(x > 1, x, 0), None),
}
POINTS = np.array([-200, -100, -88, -30, -4.5, -1.25, -0.25, 0, 0.25, 1.25, 4.5, 30, 89, 100, 200], np.float32)


def activations(args, folder):
    """All in one model, each of its own parameter."""
    text = [f"float[N,{len(POINTS)}] x) => (float y) {{"]
    for name, (node, _, _) in ACTIVATIONS.items():
        text.append(f"h{name} = Add(x, {name}) y{name} = {node}(h{name}) s{name} = ReduceSum<keepdims=0>(y{name})")
    text.append(f"y = Sum({', '.join('s' + name for name in ACTIVATIONS)}) }}")
    found = gradients(args, folder, "m (" + " ".join(text), {name: np.zeros_like(POINTS) for name in ACTIVATIONS}, {"x": POINTS[None]})
    for name, (_, function, at_zero) in ACTIVATIONS.items():
        x, step = POINTS.astype(np.float64), 1e-5
        expected = (function(x + step) - function(x - step)) / (2 * step)
        if at_zero is not None:
            expected[x == 0] = at_zero
        wrong = ~(np.abs(found[name] - expected) <= 1e-5 * np.abs(expected) + 1e-6)
        yield f"{name} {[(float(x[i]), float(found[name][i]), expected[i]) for i in np.flatnonzero(wrong)] or ''}", not wrong.any()


# --- norms

NORMS = {
    "ReduceL2": "y = ReduceL2(h, one)",
    "LpNormalization": "y = LpNormalization(h)",
    "LpNormalization of p = 1": "y = LpNormalization<p=1>(h)",
    "F.normalize": "n = ReduceL2(h, one) c = Clip(n, least) s = Shape(h) e = Expand(c, s) y = Div(h, e)",
    "GlobalLpPool": "t = Unsqueeze(h, one) y = GlobalLpPool(t)",
    "LpPool of p = 3": "t = Unsqueeze(h, one) y = LpPool<kernel_shape=[4], p=3>(t)",
}


def norms(args, folder):
    """Of a row of zeros the gradient is 0, or, of what is divided by a bound, that of the division; of others as ever."""
    row = np.array([1, 2, 3, 4], np.float64)
    unit = row / np.linalg.norm(row)
    of_norm, none = unit, np.zeros(4)
    of_unit = (1 - unit * unit.sum()) / np.linalg.norm(row)
    expected = {"ReduceL2": (none, of_norm), "LpNormalization": (none, of_unit), "LpNormalization of p = 1": (none, none),
                "F.normalize": (np.full(4, 1e12), of_unit), "GlobalLpPool": (none, of_norm),
                "LpPool of p = 3": (none, row**2 / (row**3).sum()**(2 / 3))}
    text = "m (float[N,4] x) => (float loss) {{ h = Add(x, w) {} loss = ReduceSum<keepdims=0>(y) }}"
    for name, body in NORMS.items():
        constants = {"one": np.array([1])} if "one" in body else {}
        if "least" in body:
            constants["least"] = np.float32(1e-12)
        for what, x, wanted in [("zeros", none, expected[name][0]), ("others", row, expected[name][1])]:
            found = gradients(args, folder, text.format(body), {"w": np.zeros((1, 4), np.float32), **constants},
                              {"x": x[None].astype(np.float32)})["w"][0]
            yield f"{name} of {what}: {found}", np.allclose(found, wanted, rtol=1e-4, atol=1e-6)


# --- gradients of gradients

RNG = np.random.default_rng(1)
SECOND = {
    "LSTM": ("yy, yh = LSTM<hidden_size=2>(x, W, R)", {"W": (1, 8, 3), "R": (1, 8, 2)}, (2, 1, 3)),
    "LSTM, its last states": ("ys, yh, yy = LSTM<hidden_size=2>(x, W, R)", {"W": (1, 8, 3), "R": (1, 8, 2)}, (3, 2, 3)),
    "LSTM of both directions": ('yy, yh = LSTM<hidden_size=2, direction="bidirectional">(x, W, R)', {"W": (2, 8, 3), "R": (2, 8, 2)}, (2, 1, 3)),
    "GRU": ("yy, yh = GRU<hidden_size=2>(x, W, R)", {"W": (1, 6, 3), "R": (1, 6, 2)}, (2, 1, 3)),
    "LayerNormalization": ("n = LayerNormalization(x, S) yy = Mul(n, W)", {"S": (4,), "W": (2, 4)}, (2, 4)),
    "Softmax": ("s = Softmax(x) yy = Mul(s, W)", {"W": (2, 4)}, (2, 4)),
}


def second_order(args, folder):
    """The gradient of the squared length of a gradient, by central differences of that length."""
    for name, (body, weights, shape) in SECOND.items():
        form = ",".join(map(str, shape))
        library, done = compiled(args, saved(folder, f"""m (float[{form}] x) => (float length, float[{form}] dd) {{
            {body} s0 = ReduceSum<keepdims=0>(yy) g = ai.onnx.preview.training.Gradient<xs=["x"], y="s0">(x) gg = Mul(g, g)
            length = ReduceSum<keepdims=0>(gg) dd = ai.onnx.preview.training.Gradient<xs=["x"], y="length">(x) }}""",
            {key: RNG.standard_normal(extents).astype(np.float32) for key, extents in weights.items()}, 21))
        assert done.returncode == 0, done.stderr
        x, expected = RNG.standard_normal(shape).astype(np.float32), np.zeros(shape)
        with Product(library, "model", threads=1) as product:
            for place in np.ndindex(shape):
                sides = [x.copy(), x.copy()]
                sides[0][place] += 0.01
                sides[1][place] -= 0.01
                lengths = [float(product.run({"x": side})[0]) for side in sides]
                expected[place] = (lengths[0] - lengths[1]) / float(sides[0][place] - sides[1][place])
            found = product.run({"x": x})[1]
        error = np.abs(found - expected).max()
        yield f"{name}: off by {error:.2g} of {np.abs(expected).max():.2g}", error <= 0.01 * np.abs(expected).max() + 1e-4


# --- nodes in the graphs of others

DROP = {"ratio": np.float32(0.5), "trains": np.array(True), "w": np.zeros((1, 64), np.float32)}
IF = """m (float[N,64] x) => (float y) { h = Add(x, w) total = ReduceSum<keepdims=0>(h) c = Greater(total, zero)
    d = If(c)<then_branch = t () => (float[N,64] o) { o = Dropout(h, ratio, trains) },
              else_branch = e () => (float[N,64] p) { q = Dropout(h, ratio, trains) p = Neg(q) }> y = ReduceSum<keepdims=0>(d) }"""
LOOP = """m (float[1,64] x) => (float y) { h = Add(x, w) d = Loop(trips, , none)<body = b (int64 i, bool ci, float[1,64] a) =>
    (bool co, float[1,64] s) { co = Identity(ci) o = Dropout(h, ratio, trains) s = Add(a, o) }> y = ReduceSum<keepdims=0>(d) }"""
# Sequences of unlike parts keep the loop from being one: its iterations are imported one by one.
UNROLLED = """m (float[1,64] x) => (float y) { h = Add(x, w) q0 = SequenceEmpty() d, q = Loop(trips, , none, q0)<body = b (int64 i, bool ci,
    float[1,64] a, seq(float[1,K]) qi) => (bool co, float[1,64] s, seq(float[1,L]) qo) { co = Identity(ci) o = Dropout(h, ratio, trains)
    s = Add(a, o) j = Add(i, one) k = Unsqueeze(j, first) u = Slice(o, first, k, one_axis) qo = SequenceInsert(qi, u) }>
    l = SequenceAt(q, zero) z = ReduceSum<keepdims=0>(l) z0 = Sub(z, z) r = ReduceSum<keepdims=0>(d) y = Add(r, z0) }"""


def dropout(args, folder):
    """With a ratio of 1/2 the gradient of each element is 2 for each time that it is kept: other masks in each step, and in
    each iteration."""
    trips = {"trips": np.array(6), "none": np.zeros(64, np.float32)[None]}
    unrolled = {"one": np.array(1), "first": np.array([0]), "one_axis": np.array([1]), "zero": np.array(0)}
    for name, text, extra, times in [("If", IF, {"zero": np.float32(0)}, 1), ("Loop", LOOP, trips, 6),
                                     ("Loop, unrolled", UNROLLED, {**trips, **unrolled}, 6)]:
        library, done = compiled(args, saved(folder, text, {**DROP, **extra}, 21), *SUMS)
        yield f"{name}: {done.stderr.strip() or 'compiled'}", done.returncode == 0
        with Product(library, "model", threads=1) as product:
            found = []
            for _ in range(2):
                before = product.state("w").copy()
                product.call("train_step", {"x": np.ones((1, 64), np.float32)})
                found.append(np.rint(before - product.state("w")))
        kept = found[0] / 2
        yield f"{name}: kept {kept.mean():.2f} of {times}", 0.3 * times < kept.mean() < 0.7 * times and set(kept.flat) <= set(range(times + 1))
        yield f"{name}: masks of its own in each iteration", times == 1 or ((0 < kept) & (kept < times)).mean() > 0.5
        yield f"{name}: and in each step", not np.array_equal(*found)


NORM = "{y}, m1, v1 = BatchNormalization<training_mode=1>({x}, s, b, mean, var)"
STATISTICS = {"w": RNG.standard_normal((4, 3)).astype(np.float32), "s": np.ones(3, np.float32), "b": np.zeros(3, np.float32),
              "mean": np.zeros(3, np.float32), "var": np.ones(3, np.float32)}


def statistics(args, folder):
    """Running statistics move where each iteration can be written by itself; where a run decides, that is refused."""
    text = f"""m (float[N,4] x) => (float y) {{ h = MatMul(x, w) d = Loop(trips, , h)<body = b (int64 i, bool ci, float[N,3] a) =>
        (bool co, float[N,3] o) {{ co = Identity(ci) {NORM.format(x='a', y='o')} }}> e = Mul(d, d) y = ReduceSum<keepdims=0>(e) }}"""
    library, done = compiled(args, saved(folder, text, {**STATISTICS, "trips": np.array(2)}, 21), *SUMS)
    yield f"of a Loop: {done.stderr.strip() or 'compiled'}", done.returncode == 0
    x = RNG.standard_normal((8, 4)).astype(np.float32)
    with Product(library, "model", threads=1) as product:
        product.call("train_step", {"x": x})
        found = product.state("var")
    h, expected = x @ STATISTICS["w"], np.ones(3)
    for _ in range(2):
        expected = 0.9 * expected + 0.1 * h.var(0)
        h = (h - h.mean(0)) / np.sqrt(h.var(0) + 1e-5)
    yield f"of a Loop: {found} is {expected}", np.allclose(found, expected, rtol=1e-4)
    text = f"""m (float[N,4] x) => (float y) {{ h = MatMul(x, w) total = ReduceSum<keepdims=0>(h) c = Greater(total, zero)
        d = If(c)<then_branch = t () => (float[N,3] o) {{ {NORM.format(x='h', y='o')} }},
                  else_branch = e () => (float[N,3] p) {{ p = Identity(h) }}> y = ReduceSum<keepdims=0>(d) }}"""
    _, done = compiled(args, saved(folder, text, {**STATISTICS, "zero": np.float32(0)}, 21), *SUMS)
    yield f"of an If: {done.stderr.strip()}", done.returncode == 3 and "BatchNormalization" in done.stderr and "running statistics" in done.stderr


SETTINGS = {    # initializers beside the weights of a convolution, and those of them that are trained
    "scales of a Resize": ('r = Resize<mode="nearest">(x, , scales)', {"scales": np.float32([1, 1, 2, 2])}, set()),
    "scales and regions": ('r = Resize<mode="nearest">(x, regions, scales)',
                           {"scales": np.float32([1, 1, 2, 2]), "regions": np.zeros(0, np.float32)}, set()),
    "a factor": ("r = Mul(x, factor)", {"factor": np.ones((1, 1, 4, 4), np.float32)}, {"factor"}),
}


def constants(args, folder):
    """What is read only where no gradient comes of it is no parameter."""
    for name, (body, extra, trained) in SETTINGS.items():
        text = f"m (float[N,1,4,4] x) => (float y) {{ {body} c = Conv(r, w) y = ReduceSum<keepdims=0>(c) }}"
        library, done = compiled(args, saved(folder, text, {"w": np.ones((3, 1, 3, 3), np.float32), **extra}, 21), *SUMS)
        yield f"{name}: {done.stderr.strip() or 'compiled'}", done.returncode == 0 and "does not move" not in done.stderr
        with Product(library, "model", threads=1) as product:
            states = {state for state, (_, kind, _, _) in product.states.items() if kind == 0}
        yield f"{name}: parameters {sorted(states)}", states == {"w"} | trained
    model = saved(folder, """m (float[N,1,4,4] x) => (float[A,B,C,D] y) {
        s = Mul(scales, scales) r = Resize<mode="nearest">(x, , s) y = Conv(r, w) }""",
                  {"w": np.ones((3, 1, 3, 3), np.float32), "scales": np.float32([1, 1, 2, 2])}, 21)
    _, done = compiled(args, model, "--train", "--loss=mse")
    yield f"extents of a run's: {done.stderr.strip()}", done.returncode == 3 and "output 'y'" in done.stderr and "only a run can tell" in done.stderr
    model = saved(folder, "m (float[N,4] x) => (float y) { h = Mul(x, w) k = Mul(h, v) y = ReduceSum<keepdims=0>(k) }",
                  {"w": np.ones(4, np.float32), "v": np.ones(4, np.float32)}, 21)
    _, done = compiled(args, model, *SUMS, "--freeze=v", "--freeze=encoder.*")
    _, done_only = compiled(args, model, *SUMS, "--train-only=w", "--train-only=lora_*")
    yield f"--train-only: {done_only.stderr.strip()}", done_only.returncode == 0 and "--train-only 'lora_*' matches no" in done_only.stderr
    yield f"--freeze: {done.stderr.strip()}", done.returncode == 0 and "'encoder.*' matches no" in done.stderr and "'v'" not in done.stderr


GROUPS = {"activations": activations, "norms": norms, "gradients of gradients": second_order, "dropout": dropout,
          "statistics": statistics, "constants": constants}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("groups", nargs="*", default=list(GROUPS))
    args = parser.parse_args()
    args.build = os.path.abspath(args.build)
    with tempfile.TemporaryDirectory() as folder:
        return tally.run((name, lambda group=GROUPS[name]: group(args, folder)) for name in args.groups)


if __name__ == "__main__":
    sys.exit(main())
