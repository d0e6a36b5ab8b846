#!/usr/bin/env python3
"""--memory-budget: less memory for the same bits.

    memory_budget.py --build build [CASE …]
"""
import argparse
import ctypes
import os
import subprocess
import sys
import tempfile

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..")]
import onnx  # noqa: E402
import reference  # noqa: E402
import small  # noqa: E402
import tally  # noqa: E402
from product import Product  # noqa: E402

STEPS = 3
CASES = {"cnn_digits": (0.7,), "transformer": (0.7, 0.45), "lstm": (0.95,)}    # shares of the memory that must do


def input_name(model):
    return onnx.load(model).graph.input[0].name


def compiled(build, model, folder, *options):
    library = os.path.join(tempfile.mkdtemp(dir=folder), "model.so")    # a library of a name is loaded once
    done = subprocess.run([f"{build}/tools/lapidary", "compile", model, "--train", "--optimizer", "adamw,lr=1e-3", "-o", library, *options],
                          capture_output=True, text=True)
    return library, done


def trained(library, name, rows):
    """Arena bytes, and the states after some steps."""
    with Product(library, "model", threads=2) as product:
        for step in range(STEPS):
            x, labels = reference.batch(name, step)
            product.call("train_step", {product.inputs[0][0]: x[:rows], "labels": labels[:rows]})
        bytes_needed = product._function("arena_bytes", ctypes.c_int64)(None)
        return bytes_needed, {state: product.state(state) for state in product.states}


def check(build, name, shares, folder):
    model = os.path.join(folder, "model.onnx")
    os.rename(reference.model_of(name, folder), model)
    x, _ = reference.batch(name, 0)
    shape = ["--shape", f"{input_name(model)}={'x'.join(map(str, x.shape))}"]
    library, done = compiled(build, model, folder, "-q", *shape)
    assert done.returncode == 0, done.stderr
    plain, expected = trained(library, name, len(x))
    for share in shares:
        budget = int(plain * share)
        library, done = compiled(build, model, folder, *shape, "--memory-budget", str(budget))
        assert done.returncode == 0, done.stderr
        least, found = trained(library, name, len(x))
        yield f"{least} of {plain} bytes, at most {budget}", least <= budget and "warning" not in done.stderr
        yield "the same bits", all(np.array_equal(found[state], value) for state, value in expected.items())


def limits(build, folder):
    model = os.path.join(folder, "model.onnx")
    small.model(model)
    _, done = compiled(build, model, folder, "--memory-budget", "1MB")
    yield "open extents are told", done.returncode == 2 and "--shape" in done.stderr
    _, done = compiled(build, model, folder, "--shape", "x=64x6", "--memory-budget", "100")
    yield f"a budget that cannot be met is told: {done.stderr.strip()}", done.returncode == 0 and "train_step takes" in done.stderr
    _, other = compiled(build, model, folder, "--shape", "x=64x6", "--memory-budget", "1")
    yield "and what is the least, whatever the budget", other.stderr.replace("is 1\n", "is 100\n") == done.stderr


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("cases", nargs="*")
    args = parser.parse_args()
    build = os.path.abspath(args.build)

    def in_folder(function, *arguments):
        with tempfile.TemporaryDirectory() as folder:
            yield from function(build, *arguments, folder)

    groups = {name: lambda name=name: in_folder(check, name, CASES[name]) for name in args.cases or CASES}
    if not args.cases:
        groups["limits"] = lambda: in_folder(limits)
    return tally.run(groups.items())


if __name__ == "__main__":
    sys.exit(main())
