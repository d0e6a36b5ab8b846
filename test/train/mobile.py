#!/usr/bin/env python3
"""A small network of depthwise separable blocks and of groups is trained: by vector kernels alone, to the parameters that
plain loops reach, and to the same bits whatever the number of threads.

    mobile.py --build build
"""
import argparse
import ctypes
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..")]
import tally  # noqa: E402
from product import Product, StepProfile  # noqa: E402

BATCH, SIZE, CLASSES, STEPS = 4, 31, 10, 4
# Outputs, window, stride, groups: a first layer, depthwise ones of either stride, groups within blocks and of whole ones.
LAYERS = [(20, 3, 2, 1), (20, 3, 1, 20), (32, 1, 1, 1), (32, 5, 2, 32), (64, 1, 1, 1), (64, 3, 1, 16), (64, 3, 2, 2), (48, 3, 1, 4)]


def model(path):
    rng = np.random.default_rng(5)
    nodes, weights, image, channels = [], [], "x", 3

    def weight(name, array):
        weights.append(numpy_helper.from_array(np.asarray(array, np.float32), name))
        return name

    for i, (outputs, window, stride, groups) in enumerate(LAYERS):
        shape = (outputs, channels // groups, window, window)
        w = weight(f"{i}.w", rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:])))
        nodes.append(helper.make_node("Conv", [image, w], [f"{i}.c"], group=groups, strides=[stride] * 2, pads=[window // 2] * 4))
        norm = [weight(f"{i}.{name}", np.full(outputs, value)) for name, value in (("s", 1), ("b", 0), ("m", 0), ("v", 1))]
        nodes.append(helper.make_node("BatchNormalization", [f"{i}.c", *norm], [f"{i}.n"]))
        nodes.append(helper.make_node("Relu", [f"{i}.n"], [f"{i}.r"]))
        image, channels = f"{i}.r", outputs
    nodes += [helper.make_node("GlobalAveragePool", [image], ["pooled"]), helper.make_node("Flatten", ["pooled"], ["flat"]),
              helper.make_node("Gemm", ["flat", weight("w", rng.standard_normal((channels, CLASSES)) * 0.1)], ["y"])]
    graph = helper.make_graph(nodes, "mobile", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [BATCH, 3, SIZE, SIZE])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [BATCH, CLASSES])], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def compiled(build, path, folder, *options):
    library = os.path.join(tempfile.mkdtemp(dir=folder), "mobile.so")    # a library of a name is loaded once
    subprocess.run([f"{build}/tools/lapidary", "compile", path, "-q", "--train", "--optimizer", "sgd,lr=0.02", "-o", library, *options],
                   check=True)
    return library


def feeds():
    rng = np.random.default_rng(9)
    return {"x": rng.standard_normal((BATCH, 3, SIZE, SIZE)).astype(np.float32), "labels": rng.integers(0, CLASSES, BATCH)}


def trained(library, threads):
    """Losses, and how far each state has moved."""
    with Product(library, threads=threads) as product:
        start = {name: product.state(name) for name in product.states}
        losses = [float(product.call("train_step", feeds())["loss"]) for _ in range(STEPS)]
        return losses, {name: product.state(name) - start[name] for name in product.states}


def kernels(library):
    """Of the step's kernels: the schedule and the layer."""
    with Product(library) as product:
        entry = product.entry_index("train_step")
        product.profile_enable(True)
        product.call("train_step", feeds())
        found = []
        for step in range(product._function("profile_count", ctypes.c_int32)(product.instance, entry)):
            profile = StepProfile(size=ctypes.sizeof(StepProfile))
            product._check(product._function("profile")(product.instance, entry, step, ctypes.byref(profile)))
            found.append((profile.kernel.decode(), (profile.origin or b"").decode()))
        return found


def check(build, target, folder):
    path = model(os.path.join(folder, "mobile.onnx"))
    library = compiled(build, path, folder, "--target", target)
    other = compiled(build, path, folder, "--target", target, "--skip-passes", "choose-layouts")
    plain = [[f"{kernel} of {origin}" for kernel, origin in kernels(which) if kernel.startswith("plain")] for which in (library, other)]
    yield f"plain kernels: {', '.join(plain[0]) or 'none'}; with dense images {len(plain[1])}", plain[1] and not plain[0]
    losses, moves = trained(library, 1)
    _, expected = trained(other, 1)
    errors = {name: np.max(np.abs(moves[name] - move)) / np.max(np.abs(move)) for name, move in expected.items()
              if name.endswith(("w", "s", "b"))}
    worst = max(errors, key=errors.get)
    yield f"{worst} has moved {errors[worst]:.1e} of its way off plain loops", errors[worst] < 3e-4
    yield f"the loss falls from {losses[0]:.3f} to {losses[-1]:.3f}", losses[-1] < losses[0]
    for threads in (2, 3):
        others, found = trained(library, threads)
        same = losses == others and all(np.array_equal(found[name], moves[name]) for name in moves)
        yield f"{threads} threads give the bits of one", same


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True)
    parser.add_argument("targets", nargs="*", default=["native", "x86-64-v3"])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return tally.run([(target, lambda target=target: check(args.build, target, folder)) for target in args.targets])


if __name__ == "__main__":
    sys.exit(main())
