#!/usr/bin/env python3
"""Models with the Gradient operator, compiled, against derivatives written down by hand.

    gradient_tests.py --build BUILD [TEXT ...]    only cases whose name holds one of these texts

The last line is "N passed, N failed".
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnx.parser

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE.parent)]
from product import Product  # noqa: E402

A, B = (np.random.default_rng(i).standard_normal((2, 3)).astype(np.float32) for i in (1, 2))
W = np.random.default_rng(3).standard_normal((3, 4)).astype(np.float32)
G = "ai.onnx.preview.training.Gradient"
ONES = np.ones((2, 4), np.float32)

CASES = {  # name: (inputs, outputs, body, arrays, expected)
    "of a product, by both": ("float[2,3] a, float[2,3] b", "float[2,3] da, float[2,3] db",
        f'c = Mul(a, b) da, db = {G} <xs = ["a", "b"], y = "c"> (a, b)', {"a": A, "b": B}, [B, A]),
    "of a matrix product, with one held": ("float[2,3] a, float[3,4] w", "float[3,4] dw",
        f'c = MatMul(a, w) dw = {G} <xs = ["w"], zs = ["a"], y = "c"> (w, a)', {"a": A, "w": W}, [A.T @ ONES]),
    "at other values": ("float[2,3] a, float[2,3] b", "float[2,3] da",
        f'c = Mul(a, a) da = {G} <xs = ["a"], y = "c"> (b)', {"a": A, "b": B}, [2 * B]),
    "by a value between": ("float[2,3] a", "float[2,3] dh",
        f'h = Exp(a) c = Mul(h, h) dh = {G} <xs = ["h"], y = "c"> (h)', {"a": A}, [2 * np.exp(A)]),
    "what computes an x does not count": ("float[2,3] a", "float[2,3] da, float[2,3] dh",
        f'h = Exp(a) c = Mul(h, a) da, dh = {G} <xs = ["a", "h"], y = "c"> (a, h)', {"a": A}, [np.exp(A), A]),
    "of second order": ("float[2,3] a", "float[2,3] d2",
        f's = Mul(a, a) c = Mul(s, a) d1 = {G} <xs = ["a"], y = "c"> (a) d2 = {G} <xs = ["a"], y = "d1"> (a)', {"a": A}, [6 * A]),
    "by what y does not depend on": ("float[2,3] a, float[2,3] b", "float[2,3] da, float[2,3] db",
        f'c = Neg(a) da, db = {G} <xs = ["a", "b"], y = "c"> (a, b)', {"a": A, "b": B}, [-np.ones_like(A), np.zeros_like(B)]),
    "listed before what it differentiates": ("float[2,3] a", "float[2,3] da",
        f'da = {G} <xs = ["a"], y = "c"> (a) c = Mul(a, a)', {"a": A}, [2 * A]),
    "through a symbolic extent": ("float[N,3] a", "float[N,3] da",
        f's = Softmax(a) c = Mul(s, a) da = {G} <xs = ["a"], y = "c"> (a)', {"a": A}, None),
    "in a branch": ("bool k, float[2,3] a", "float[2,3] r",
        f'r = If (k) <then_branch = t () => (float[2,3] u) {{ c = Mul(a, a) u = {G} <xs = ["a"], y = "c"> (a) }},'
        " else_branch = e () => (float[2,3] v) { v = Neg(a) }>", {"k": np.array(True), "a": A}, [2 * A]),
}

ERRORS = {  # name: (inputs, outputs, body, what is said)
    "an unknown name": ("float[2,3] a", "float[2,3] da", f'c = Neg(a) da = {G} <xs = ["a"], y = "z"> (a)', "names 'z'"),
    "too few values": ("float[2,3] a, float[2,3] b", "float[2,3] da", f'c = Mul(a, b) da = {G} <xs = ["a"], zs = ["b"], y = "c"> (a)', "1 input and 1 output"),
    "a value of another shape": ("float[2,3] a, float[3,2] b", "float[2,3] da", f'c = Neg(a) da = {G} <xs = ["a"], y = "c"> (b)', "extents of 'a'"),
    "one value by two names": ("float[2,3] a", "float[2,3] db", f'b = Identity(a) c = Mul(a, b) db = {G} <xs = ["b"], y = "c"> (b)', "are one value"),
    "integers": ("int64[2] a", "int64[2] da", f'c = Neg(a) da = {G} <xs = ["a"], y = "c"> (a)', ""),
    "a y of bytes": ("float[2,3] a", "float[2,3] da", f'c = Cast <to = 2> (a) da = {G} <xs = ["a"], y = "c"> (a)', "which has no gradient"),
    "an operator without a gradient": ("float[2,3] a", "float[2,3] da", f'j = Constant <value = int64[2,3] {{0,1,0,1,0,1}}> () c = ScatterElements <axis = 0, reduction = "max"> (a, j, a) da = {G} <xs = ["a"], y = "c"> (a)', "the gradient of a scatter that is a max"),
    "a y outside of a branch": ("bool k, float[2,3] a", "float[2,3] r",
        f'c = Mul(a, a) r = If (k) <then_branch = t () => (float[2,3] u) {{ u = {G} <xs = ["a"], y = "c"> (a) }},'
        " else_branch = e () => (float[2,3] v) { v = Neg(a) }>", "computed outside of the graph"),
    "itself": ("float[2,3] a", "float[2,3] da", f'da = {G} <xs = ["a"], y = "da"> (a)', "cycle"),
}


def softmax_times_x_gradient(x):
    s = np.exp(x - x.max(1, keepdims=True))
    s /= s.sum(1, keepdims=True)
    return s + s * (x - (s * x).sum(1, keepdims=True))


def compile_case(build, folder, inputs, outputs, body):
    text = f'<ir_version: 8, opset_import: ["": 18, "ai.onnx.preview.training": 1]> g ({inputs}) => ({outputs}) {{ {body} }}'
    path = pathlib.Path(folder) / "model.onnx"
    onnx.save(onnx.parser.parse_model(text), path)
    return subprocess.run([f"{build}/tools/lapidary", "compile", "-q", str(path), "-o", str(path.with_suffix(".so"))],
                          capture_output=True, text=True), path.with_suffix(".so")


def check(build, name, case):
    inputs, outputs, body, arrays, expected = case
    with tempfile.TemporaryDirectory() as folder:
        done, library = compile_case(build, folder, inputs, outputs, body)
        if done.returncode:
            return done.stderr
        results = Product(str(library), "model").run(arrays)
    expected = expected or [softmax_times_x_gradient(arrays["a"])]
    for got, want in zip(results.values() if isinstance(results, dict) else results, expected, strict=True):
        if got.shape != want.shape or np.abs(got - want).max() > 1e-5 * max(1, np.abs(want).max()):
            return f"{got}\nis not\n{want}"
    return None


def check_error(build, name, case):
    inputs, outputs, body, said = case
    with tempfile.TemporaryDirectory() as folder:
        done, _ = compile_case(build, folder, inputs, outputs, body)
    if done.returncode not in (1, 3) or not done.stderr or (said and said not in done.stderr):
        return f"exit code {done.returncode}: {done.stderr}"
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("only", nargs="*")
    arguments = parser.parse_args()
    passed = failed = 0
    for cases, run in ((CASES, check), (ERRORS, check_error)):
        for name, case in cases.items():
            if arguments.only and not any(text in name for text in arguments.only):
                continue
            problem = run(arguments.build, name, case)
            passed, failed = passed + (not problem), failed + bool(problem)
            if problem:
                print(f"FAILED {name}: {problem}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
