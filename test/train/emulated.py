#!/usr/bin/env python3
"""The training graphs as products for CUDA, on the stand-in driver with emulated kernels, beside the CPU's.

    emulated.py --build build [--target cuda:sm_80] [--steps N] [--shape x=8x64] [CASE …]

Each is trained for some steps by both; losses must agree within 1e-4, and every state at the end.
"""
import argparse
import os
import sys
import tempfile

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, ".."), os.path.join(HERE, "..", "zoo"), os.path.join(HERE, "..", "cuda")]
import emulate  # noqa: E402
import reference  # noqa: E402
import tally  # noqa: E402
from product import Product  # noqa: E402

LOSS = 1e-4
STATE = 1e-3
NOTHING = 1e-4
OPTIMIZER = "sgd,lr=0.01,momentum=0.9"


def difference(found, expected):
    """Relative L2, of what is not as good as 0: the gradient of a bias before a batch normalisation is rounding errors."""
    least = NOTHING * np.sqrt(expected.size)
    return float(np.linalg.norm(found.astype(np.float64) - expected) / max(np.linalg.norm(expected), least))


def losses(product, name, steps, rows):
    found = []
    for step in range(steps):
        x, labels = reference.batch(name, step)
        found.append(float(product.call("train_step", {product.inputs[0][0]: x[:rows], "labels": labels[:rows]})["loss"]))
    return found


def moved(source, target, folder):
    """By a checkpoint; whether all states came."""
    path = os.path.join(folder, "checkpoint")
    source.save(path, "a note")
    return target.load(path) == ("a note", "") and all(np.array_equal(source.state(state), target.state(state)) for state in source.states)


def checks(name, args):
    options = ["--train", "--optimizer", OPTIMIZER] + (["--shape", args.shape] if args.shape else [])
    rows = int(args.shape.split("=")[1].split("x")[0]) if args.shape else None
    with tempfile.TemporaryDirectory() as folder:
        model = reference.model_of(name, folder)
        cpu, cuda = os.path.join(folder, "cpu.so"), os.path.join(folder, "cuda.so")
        emulate.lapidary(args.build, "compile", "-q", model, "-o", cpu, *options)
        emulate.lapidary(args.build, "compile", "-q", model, "-o", cuda, "--target", args.target, *options)
        yield "compiles", True
        emulate.use_kernels(model, args.build, args.target, options)
        with Product(cpu) as expected, Product(cuda) as found:
            pairs = list(zip(losses(found, name, args.steps, rows), losses(expected, name, args.steps, rows)))
            worst = max(abs(a - b) / abs(b) for a, b in pairs)
            yield f"losses {[round(a, 6) for a, _ in pairs]}: {worst:.1e} off", worst <= LOSS
            errors = {state: difference(found.state(state), expected.state(state)) for state in found.states}
            state = max(errors, key=errors.get)
            yield f"states {errors[state]:.1e} off ({state})", errors[state] <= STATE
            yield "a checkpoint of the device's is the CPU's", moved(found, expected, folder)
            expected.call("train_step", dict(zip((expected.inputs[0][0], "labels"), (part[:rows] for part in reference.batch(name, 0)))))
            yield "and the other way round", moved(expected, found, folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True)
    parser.add_argument("--target", default="cuda:sm_80")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--shape")
    parser.add_argument("cases", nargs="*", default=["mlp", "cnn_digits"])
    args = parser.parse_args()
    if args.target.endswith("sm_90a"):    # code that no other device takes
        os.environ.setdefault("STANDIN_CAPABILITY", "9.0")
    emulate.Driver(args.build)
    return tally.run((name, lambda name=name: checks(name, args)) for name in args.cases)


if __name__ == "__main__":
    sys.exit(main())
