#!/usr/bin/env python3
"""Models of sequences and optionals, compiled, against ONNX Runtime.

    sequence_tests.py --build BUILD [TEXT ...]    only cases whose name holds one of these texts

A case is a graph in ONNX's text form and sets of inputs, all run by one product. Inputs that are sequences are lists,
whose lengths, like the presence of optionals, the first set tells the compiler. Floats must be near relative to the
largest, integers equal. The last line is "N passed, N failed".
"""
import argparse
import concurrent.futures
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnx.parser
from onnx import numpy_helper

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE.parent / "conformance"), str(HERE.parent)]
import suite  # noqa: E402
from product import Product  # noqa: E402


def normal(*shape, seed=0):
    return np.random.default_rng(seed + sum(shape)).standard_normal(shape).astype(np.float32)


def loop(body, carried="s", inputs="seq(float[a,b]) u", outputs="seq(float[a,b]) w", results="t", trips="n, c"):
    return f"{results} = Loop ({trips}, {carried}) <body = body (int64 i, bool k, {inputs}) => (bool l, {outputs}) {{ {body} }}>"


X, COUNTS = normal(2, 3), [{"n": np.array(n), "x": normal(2, 3, seed=n)} for n in (1, 4, 7)]
# Appends x·(i + 1).
SCALED = "l = Identity(k) f = Cast <to = 1> (i) g = Add(f, one) q = Mul(x, g) w = SequenceInsert(u, q)"
CONSTANTS = "bool c = {1}, float one = {1}, float two = {2}, int64 first = {0}, int64 second = {1}, int64 last = {-1}"
LOOP_INPUTS = "int64 n, float[2,3] x"

CASES = {  # name: (inputs, outputs, body, sets of inputs)
    "a loop's stack, read afterwards in every way": (LOOP_INPUTS, "float[a,b] y0, float[d,e] y1, float[f,g,h] y2, float[o,p,q0] y3, int64 length, float[r,m] at, float[v,w0] end",
        f"s = SequenceEmpty() {loop(SCALED)} y0 = ConcatFromSequence <axis = 0> (t) y1 = ConcatFromSequence <axis = -1> (t) y2 = ConcatFromSequence <axis = 1, new_axis = 1> (t)"
        " y3 = ConcatFromSequence <axis = -1, new_axis = 1> (t) length = SequenceLength(t) p = Sub(length, second) at = SequenceAt(t, p) end = SequenceAt(t, first)", COUNTS),
    "a loop's stack behind parts of other shapes": (LOOP_INPUTS + ", float[5,3] z", "float[a,b] y, int64 length",
        f"s = SequenceConstruct(z, x) {loop(SCALED)} v = SequenceInsert(t, z) y = ConcatFromSequence <axis = 0> (v) length = SequenceLength(v)", [{**one, "z": normal(5, 3)} for one in COUNTS]),
    "two parts in each iteration": (LOOP_INPUTS, "float[a,b] y, float[d,e] end",
        f"s = SequenceEmpty() {loop(SCALED.replace('w =', 'v =') + ' m = Neg(q) w = SequenceInsert(v, m)')} y = ConcatFromSequence <axis = 0> (t) end = SequenceAt(t, last)", COUNTS),
    "beside a carried tensor, a scanned output and another sequence": (LOOP_INPUTS, "float[a,b] y, float[d] z, float[e,f] carried, float[g] sums",
        "s = SequenceEmpty() s1 = SequenceEmpty() " + loop("l = Identity(k) f = Mul(e, two) q = Add(f, x) w = SequenceInsert(u, q) r = ReduceSum <keepdims = 0> (q) j = Unsqueeze(r, axis) w1 = SequenceInsert(u1, j)",
                                                         "s, x, s1", "seq(float[a,b]) u, float[2,3] e, seq(float[1]) u1", "seq(float[a,b]) w, float[2,3] q, seq(float[1]) w1, float r", "t, carried, t1, sums")
        + " y = ConcatFromSequence <axis = 1> (t) z = ConcatFromSequence <axis = 0> (t1)", COUNTS),
    "until a condition": (LOOP_INPUTS, "float[a,b,d] y, int64 length",
        "s = SequenceEmpty() " + loop("f = Mul(e, two) w = SequenceInsert(u, f) a = Abs(f) r = ReduceSum <keepdims = 0> (a) l = Less(r, limit)", "s, x", "seq(float[a,b]) u, float[2,3] e", "seq(float[a,b]) w, float[2,3] f", "t, rest")
        + " y = ConcatFromSequence <axis = 0, new_axis = 1> (t) length = SequenceLength(t)", [{"n": np.array(n), "x": X} for n in (3, 100)]),
    "appended in both branches": (LOOP_INPUTS, "float[a,b] y",
        "s = SequenceEmpty() " + loop("l = Identity(k) m = Mod(i, twos) b = Cast <to = 9> (m) w = If (b) <then_branch = o () => (seq(float[a,b]) w0) { w0 = SequenceInsert(u, x) }, else_branch = e () => (seq(float[a,b]) w1) { h = Neg(x) w1 = SequenceInsert(u, h) }>")
        + " y = ConcatFromSequence <axis = 0> (t)", COUNTS),
    "a window of three parts": (LOOP_INPUTS, "float[a,b] y", f"h = Mul(x, two) s = SequenceConstruct(h, h, x) {loop(SCALED.replace('w =', 'v = SequenceErase(u, first) w =').replace('(u, q)', '(v, q)'))} y = ConcatFromSequence <axis = 0> (t)", COUNTS),
    "read by the loop that appends to it": (LOOP_INPUTS, "float[a,b] y, int64 length, float[d,e] at",
        "h = Mul(x, two) s = SequenceConstruct(x, h) " + loop("l = Identity(k) z = SequenceAt(u, last) m = SequenceLength(u) f = Cast <to = 1> (m) q = Add(z, f) w = SequenceInsert(u, q)")
        + " y = ConcatFromSequence <axis = 1> (t) length = SequenceLength(t) at = SequenceAt(t, n)", COUNTS),
    "prepended to by a loop": (LOOP_INPUTS, "float[a,b] y", f"s = SequenceConstruct(x, x) {loop(SCALED.replace('(u, q)', '(u, q, first)'))} y = ConcatFromSequence <axis = 0> (t)", COUNTS),
    "sequences of an inner loop, put together by an outer one": (LOOP_INPUTS, "float[a,b] y",
        "s = SequenceEmpty() " + loop("l = Identity(k) s1 = SequenceEmpty() t1 = Loop (n, c, s1) <body = inner (int64 i1, bool k1, seq(float[d,e]) u1) => (bool l1, seq(float[d,e]) w1) { l1 = Identity(k1) h = Add(i, i1) f = Cast <to = 1> (h) q = Mul(x, f) w1 = SequenceInsert(u1, q) }>"
                                     " row = ConcatFromSequence <axis = 1> (t1) w = SequenceInsert(u, row)") + " y = ConcatFromSequence <axis = 0> (t)", COUNTS),
    "an inner loop that appends to the outer loop's": (LOOP_INPUTS, "float[a,b] y",
        "s = SequenceEmpty() " + loop("l = Identity(k) v = SequenceInsert(u, x) w = Loop (twos, c, v) <body = inner (int64 i1, bool k1, seq(float[d,e]) u1) => (bool l1, seq(float[d,e]) w1) { l1 = Identity(k1) h = Add(i, i1) f = Cast <to = 1> (h) q = Mul(x, f) w1 = SequenceInsert(u1, q) }>", trips="three, c")
        + " y = ConcatFromSequence <axis = 0> (t)", COUNTS),
    "parts of one shape, read by a loop": ("int64 n, float[2,3] x, float[2,3] z", "float[a,b] y",
        "s = SequenceConstruct(x, z, x, z, x, x, z, z) " + loop("l = Identity(k) q = SequenceAt(s, i) f = Mul(e, two) g = Add(f, q)", "x", "float[2,3] e", "float[2,3] g", "y"), [{**one, "z": normal(2, 3, seed=9)} for one in COUNTS]),
    "parts of different shapes, read by a loop of known length": ("float[N,3] x, float[M,3] z", "float y",
        "s = SequenceConstruct(x, z, x) length = SequenceLength(s) " + loop("l = Identity(k) q = SequenceAt(s, i) r = ReduceSum <keepdims = 0> (q) f = Mul(e, two) g = Add(f, r)", "one", "float e", "float g", "y", "length, c"),
        [{"x": normal(2, 3), "z": normal(4, 3)}, {"x": normal(7, 3), "z": normal(1, 3)}]),
    "split into single rows": ("float[N,3] x, int64 p", "float[a,b] y, float[d] row, float[e,f] kept, int64 length",
        "s = SplitToSequence <keepdims = 0> (x) t = SplitToSequence(x) y = ConcatFromSequence <axis = 1, new_axis = 1> (s) row = SequenceAt(s, p) kept = SequenceAt(t, p) length = SequenceLength(t)",
        [{"x": normal(n, 3), "p": np.array(p)} for n, p in ((1, 0), (5, 3), (5, -5))]),
    "split along the last axis": ("float[2,7] x", "float[a,b] y, seq(float[d,e]) t", "t = SplitToSequence <axis = -1> (x, three) y = SequenceAt(t, last)", [{"x": normal(2, 7)}]),
    "split by sizes of the run": ("float[N,3] x, int64[2] k", "float[a,b] y, float[d,e] z", "s = SplitToSequence(x, k) y = SequenceAt(s, second) z = SequenceAt(s, first)",
        [{"x": normal(5, 3), "k": np.array([2, 3])}, {"x": normal(4, 3), "k": np.array([4, 0])}]),
    "branches whose parts differ in their extents": ("float[N,3] x, bool b", "float[a,d] y, int64 length",
        "s = If (b) <then_branch = o () => (seq(float[e,f]) s0) { s0 = SequenceConstruct(x, x) }, else_branch = m () => (seq(float[g,h]) s1) { q = Concat <axis = 0> (x, x) s1 = SequenceConstruct(q, x) }>"
        " y = ConcatFromSequence <axis = 0> (s) length = SequenceLength(s)", [{"x": normal(2, 3), "b": np.array(b)} for b in (True, False)]),
    "in and out": ("seq(float[N,3]) s, float[M,3] x", "seq(float[a,b]) y, seq(float[d,e]) same, int64 length",
        "t = SequenceInsert(s, x, second) v = SequenceErase(t, first) y = SequenceInsert(v, x, last) same = Identity(s) length = SequenceLength(y)",
        [{"s": [normal(2, 3), normal(1, 3), normal(4, 3)], "x": normal(3, 3)}, {"s": [normal(1, 3), normal(6, 3), normal(2, 3)], "x": normal(5, 3)}]),
    "a map over parts, one of two sequences and a tensor": ("seq(float[N,3]) s, seq(float[M,3]) t, float[3] x", "seq(float[a,b]) y, seq(int64[d]) shapes",
        "y, shapes = SequenceMap (s, t, x) <body = body (float[N,3] p, float[M,3] q, float[3] r) => (float[a,b] o, int64[d] h) { e = Concat <axis = 0> (p, q) f = Mul(e, r) o = Add(f, one) h = Shape(o) }>",
        [{"s": [normal(2, 3), normal(1, 3)], "t": [normal(1, 3), normal(4, 3)], "x": normal(3)}]),
    "a map over as many parts as the run has": ("float[N,3] x, float[3] z", "float[a,b] y, float[d,e] sums",
        "s = SplitToSequence(x) t = SplitToSequence <keepdims = 0> (x) v, w = SequenceMap (s, z, t) <body = body (float[a,b] p, float[d] r, float[e] q) => (float[f,g] o, float[h] m) { e = Concat <axis = 0> (p, p) o = Mul(e, r) g = Add(q, one) m = Neg(g) }>"
        " y = ConcatFromSequence <axis = 0> (v) sums = ConcatFromSequence <axis = 0, new_axis = 1> (w)", [{"x": normal(n, 3), "z": normal(3)} for n in (1, 5)]),
    "an optional that is there": ("optional(float[N]) o, float[N] x", "float[N] y, bool b",
        "b = OptionalHasElement(o) y = If (b) <then_branch = t () => (float[N] y0) { e = OptionalGetElement(o) y0 = Add(e, x) }, else_branch = f () => (float[N] y1) { y1 = Neg(x) }>", [{"o": normal(4), "x": normal(4, seed=1)}]),
}
INITIALIZERS = CONSTANTS + ", float limit = {200}, int64[1] axis = {0}, int64 twos = {2}, int64 three = {3}"


def model_of(inputs, outputs, body):
    text = f'<ir_version: 8, opset_import: ["" : 18]> g ({inputs}) => ({outputs}) <{INITIALIZERS}> {{ {body} }}'
    model = onnx.parser.parse_model(text)
    used = {name for node in model.graph.node for name in names_in(node)}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    return model


def names_in(node):
    yield from node.input
    for attribute in node.attribute:
        for inner in attribute.g.node:
            yield from names_in(inner)


def reference(model, feeds):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    results = session.run(None, feeds)
    return {name: numpy_helper.to_array(value)
            for name, value in suite.named(model.graph.output, [result if isinstance(result, list) else suite.tensor(result) for result in results]).items()}


def problem_of(case, lapidary, folder):
    inputs, outputs, body, sets = case
    model = model_of(inputs, outputs, body)
    declared = model.graph.input
    path, library = folder / "model.onnx", folder / "model.so"
    path.write_bytes(model.SerializeToString())
    told = [f"--{option}={name}={value}" for option, name, value in suite.forms(declared, [sets[0][info.name] for info in declared])]
    done = subprocess.run([lapidary, "compile", "-q", "-j1", *told, path, "-o", library], capture_output=True, text=True)
    if done.returncode:
        return done.stderr.strip()
    with Product(library, threads=2) as product:
        for feeds in sets:
            expected = reference(model, feeds)
            tensors = suite.named(declared, [value if isinstance(value := feeds[info.name], list) else suite.tensor(value) for info in declared])
            got = dict(zip((name for name, *_ in product.outputs), product.run({name: numpy_helper.to_array(value) for name, value in tensors.items()})))
            if list(got) != list(expected):
                return f"outputs {list(got)}, expected {list(expected)}"
            for name, value in expected.items():
                if wrong := suite.difference(got[name], value, 1e-5, 1e-6):
                    return f"output {name} {wrong}"
    return None


def check(name, lapidary):
    with tempfile.TemporaryDirectory() as folder:
        try:
            return problem_of(CASES[name], lapidary, pathlib.Path(folder))
        except Exception as error:  # one case's failure must not hide the others
            return str(error)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("texts", nargs="*")
    options = parser.parse_args()
    lapidary = pathlib.Path(options.build) / "tools/lapidary"
    wanted = [name for name in CASES if not options.texts or any(text in name for text in options.texts)]
    failed = 0
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count()) as pool:
        for name, problem in zip(wanted, pool.map(check, wanted, [lapidary] * len(wanted))):
            failed += bool(problem)
            if problem:
                print(f"FAIL  {name}: {problem}")
    print(f"{len(wanted) - failed} passed, {failed} failed")
    return failed > 0 or not wanted


if __name__ == "__main__":
    sys.exit(main())
