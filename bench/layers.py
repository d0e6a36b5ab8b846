#!/usr/bin/env python3
"""Speed of single generated kernels as a share of the machine's measured FMA peak, one thread.

    layers.py [--build BUILD] gemm              1024³: constant B, both operands live, symbolic M
    layers.py [--build BUILD] conv [MODEL]      the convolution layers of a zoo model (default resnet50)

Each is the product's own call (`lapidary bench`), so packing and everything else a user pays for is counted.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "test", "zoo"), HERE]
from compare import geometric_mean  # noqa: E402


def write_matmul(path, m, b_constant, size=1024):
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    inputs = [helper.make_tensor_value_info("a", TensorProto.FLOAT, [m, size])]
    weights = []
    if b_constant:
        b = np.random.default_rng(0).standard_normal((size, size), dtype=np.float32)
        weights.append(numpy_helper.from_array(b, "b"))
    else:
        inputs.append(helper.make_tensor_value_info("b", TensorProto.FLOAT, [size, size]))
    graph = helper.make_graph([helper.make_node("MatMul", ["a", "b"], ["y"], "matmul")], "gemm", inputs,
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [m, size])], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, path)


def bench(args, path, *more):
    command = [os.path.join(args.build, "tools", "lapidary"), "bench", "-q", path, "--threads", "1", "--json", "--seconds", str(args.seconds), *more]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def gemm(args):
    """{what: share of the peak}, printed as it comes."""
    shares = {}
    with tempfile.TemporaryDirectory() as folder:
        for what, m, constant in (("constant B", 1024, True), ("constant B, symbolic M", "M", True), ("both live", 1024, False),
                                  ("both live, symbolic M", "M", False)):
            path = os.path.join(folder, "gemm.onnx")
            write_matmul(path, m, constant)
            shapes = ["--shape", "a=1024x1024"] + ([] if constant else ["--shape", "b=1024x1024"])
            report = bench(args, path, *shapes)
            rate = 2 * 1024 ** 3 / report["min_ms"] * 1e-6
            shares[what] = rate / report["peak_gflops"]
            print(f"{what:24} {report['min_ms']:8.3f} ms {rate:7.1f} GFLOP/s  {100 * shares[what]:5.1f} % of {report['peak_gflops']:.0f}", flush=True)
    return shares


def conv(args):
    """{"direct": shares of the peak, one for each layer, "winograd": …}, printed."""
    import models

    report = bench(args, models.path_of(args.model), "--steps")
    shares = {"direct": [], "winograd": []}
    for row in report["kernels"]:
        if not row["kernel"].startswith("conv") or "depthwise" in row["kernel"]:
            continue
        share = row["gflops"] / report["peak_gflops"]
        shares["winograd" if "winograd" in row["kernel"] else "direct"].append(share)
        print(f"{row['ms']:8.4f} ms {row['gflops']:7.1f} GFLOP/s {100 * share:6.1f} %  {row['kernel']}  {row['origin']}")
    for kind, found in shares.items():
        if found:
            print(f"{kind}: {len(found)} layers, geometric mean {100 * geometric_mean(found):.1f} % of {report['peak_gflops']:.0f} GFLOP/s")
    return shares


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("what", choices=["gemm", "conv"])
    parser.add_argument("model", nargs="?", default="resnet50")
    args = parser.parse_args()
    gemm(args) if args.what == "gemm" else conv(args)


if __name__ == "__main__":
    main()
