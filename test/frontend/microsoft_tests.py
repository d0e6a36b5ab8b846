#!/usr/bin/env python3
"""Operators of com.microsoft, compiled, against ONNX Runtime.

    microsoft_tests.py --build BUILD [TEXT ...]    only cases whose name holds one of these texts

Each case of the files in microsoft/ is a model of one node, compiled and run; integers must be equal or as many codes
apart as the case allows, floats near relative to the largest. The last line is "N passed, N failed".
"""
import argparse
import concurrent.futures
import importlib
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import helper, numpy_helper

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE / "microsoft"), str(HERE.parent)]
from product import Product  # noqa: E402


def all_cases():
    names = sorted(path.stem for path in (HERE / "microsoft").glob("*.py") if path.stem != "case")
    return [case for name in names for case in importlib.import_module(name).CASES]


def model_of(case):
    names = ["" if x is None else f"input_{i}" for i, x in enumerate(case.inputs)]
    outputs = [f"output_{i}" for i in range(case.outputs)]
    node = helper.make_node(case.operator, names, outputs, name="node", domain=case.domain, **case.attributes)
    initializers, inputs = [], []
    for i, (name, x) in enumerate(zip(names, case.inputs)):
        if x is None:
            continue
        if i in case.constants:
            initializers.append(numpy_helper.from_array(x, name))
        else:
            shape = [f"d{i}_{axis}" for axis in range(x.ndim)] if case.symbolic else x.shape
            inputs.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), shape))
    results = [onnx.ValueInfoProto(name=name) for name in outputs]
    graph = helper.make_graph([node], "case", inputs, results, initializers)
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", case.opset), helper.make_opsetid("com.microsoft", 1)])


def reference(model, feeds):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def difference(case, got, expected):
    """What is wrong, or nothing."""
    if got.shape != expected.shape or got.dtype != expected.dtype:
        return f"got {got.dtype}{list(got.shape)}, expected {expected.dtype}{list(expected.shape)}"
    if expected.size == 0:
        return ""
    apart = np.abs(got.astype(np.float64) - expected.astype(np.float64))
    if expected.dtype.kind == "f":
        unlike = ~((got == expected) | (np.isnan(got) & np.isnan(expected)))
        finite = np.abs(expected[np.isfinite(expected)])
        limit = case.tolerance * (float(finite.max()) if finite.size else 1.0)
        worst = apart[unlike].max() if unlike.any() else 0.0
        return "" if worst <= limit else f"differs by {worst:.3g}, allowed {limit:.3g}"
    return "" if apart.max() <= case.codes else f"{int((apart > case.codes).sum())} of {apart.size} codes differ, by up to {int(apart.max())}"


def check(case, lapidary):
    model = model_of(case)
    feeds = {f"input_{i}": x for i, x in enumerate(case.inputs) if x is not None and i not in case.constants}
    try:
        expected = case.expected or reference(model, feeds)
    except Exception as error:
        return f"ONNX Runtime refuses it: {str(error)[:200]}"
    with tempfile.TemporaryDirectory() as folder:
        path, library = os.path.join(folder, "model.onnx"), os.path.join(folder, "model.so")
        onnx.save(model, path)
        done = subprocess.run([lapidary, "compile", "-q", path, "-o", library], capture_output=True, text=True)
        if done.returncode:
            return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        with Product(library, threads=1) as product:
            results = product.run(feeds)
    if case.compared:
        results[0], expected[0] = case.compared(results[0]), case.compared(expected[0])
    wrong = [f"output {i} {what}" for i, (got, want) in enumerate(zip(results, expected)) if (what := difference(case, got, want))]
    return "; ".join(wrong)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("texts", nargs="*")
    options = parser.parse_args()
    lapidary = os.path.join(options.build, "tools", "lapidary")
    cases = [case for case in all_cases() if not options.texts or any(text in case.name for text in options.texts)]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for case, problem in zip(cases, pool.map(lambda case: check(case, lapidary), cases)):
            failed += bool(problem)
            if problem:
                print(f"FAIL  {case.name}: {problem}", flush=True)
    print(f"{len(cases) - failed} passed, {failed} failed")
    return failed > 0 or not cases


if __name__ == "__main__":
    sys.exit(main())
