#!/usr/bin/env python3
"""What products of f16 take in each of the tiles that a GPU's kernels have, to fit the reckoning that chooses among them
(passes/lower/gpu/tiles.cpp).

    tiles.py prepare FOLDER [--lapidary build/tools/lapidary] [--target cuda:sm_90a]     where the compiler is
    tiles.py run FOLDER                                                                  where the GPU is

Weights are made up (--weights=seeded), so a product is some 300 KB, and all of them pack well together. Of a shape the
results of all tiles are compared. Microseconds: behind a fill of 256 MB, which leaves nothing in the cache, and of
twenty calls one behind the other.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "..", "test")]
# (rows, depth, columns, what follows the product)
LARGE = [(4096, 768, 768, "residual"), (4096, 768, 3072, "gelu"), (4096, 3072, 768, "residual"), (4096, 768, 2304, ""), (4096, 4096, 4096, ""),
         (4096, 4096, 14336, ""), (4096, 14336, 4096, ""), (12544, 1024, 512, ""), (3136, 512, 2048, ""), (50176, 256, 64, "")]
SMALL = [(128, 768, 768, "residual"), (128, 768, 3072, "gelu"), (128, 3072, 768, "residual"), (128, 4096, 4096, ""), (128, 4096, 14336, ""),
         (128, 14336, 4096, "")]
TILES = [f"{tile}x64 over {over} warpgroups" for tile, over in (("128x256", "8x1"), ("128x192", "8x1"), ("128x128", "8x1"), ("128x128", "4x1"),
                                                               ("128x64", "8x1"), ("64x256", "4x1"), ("64x128", "4x1"), ("64x64", "4x1"))]
TILES += ["128x128x32 over 2x4", "128x64x32 over 2x2", "64x64x64 over 2x2", "32x32x128 over 2x2"]
LEAST_DEPTH = 512  # of a part
DIFFERENT = 0.01   # relative L2: another tile sums in another order


def model(rows, depth, columns, follows):
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    weights = np.resize(np.random.default_rng(1).standard_normal(131072).astype(np.float16) * np.float16(0.05), (depth, columns))
    constants = [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(np.zeros(columns, np.float16), "b")]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT16, [rows, depth])]
    nodes = [helper.make_node("MatMul", ["x", "w"], ["product"]), helper.make_node("Add", ["product", "b"], ["sum" if follows else "y"])]
    if follows == "gelu":
        nodes.append(helper.make_node("Gelu", ["sum"], ["y"]))
    if follows == "residual":
        inputs.append(helper.make_tensor_value_info("r", TensorProto.FLOAT16, [rows, columns]))
        nodes.append(helper.make_node("Add", ["sum", "r"], ["y"]))
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT16, [rows, columns])
    return helper.make_model(helper.make_graph(nodes, "product", inputs, [output], constants), opset_imports=[helper.make_opsetid("", 20)])


def prepare(args):
    import onnx
    os.makedirs(args.folder, exist_ok=True)
    for file in (os.path.join(HERE, "device.py"), os.path.join(HERE, "..", "..", "test", "product.py"), __file__):
        shutil.copy(file, args.folder)
    path, listed = os.path.join(args.folder, "model.onnx"), []
    for shape in LARGE + SMALL:
        onnx.save(model(*shape), path)
        for tile in TILES:
            for parts in (parts for parts in (1, 2, 4) if parts == 1 or (shape in SMALL and shape[1] // parts >= LEAST_DEPTH)):
                name = f"tile_{len(listed)}"
                subprocess.run([args.lapidary, "compile", "-q", path, "-o", os.path.join(args.folder, name + ".so"), "--target", args.target + ",no-ptx",
                                "--weights=seeded", "--gpu-tile", f"parts={parts} f16 {tile}"], check=True)
                os.remove(os.path.join(args.folder, name + ".h"))
                listed.append({"shape": shape, "tile": tile, "parts": parts, "product": name})
    os.remove(path)
    with open(os.path.join(args.folder, "tiles.json"), "w") as file:
        json.dump(listed, file)


def measured(device, product):
    cold = [device.milliseconds(product.step) * 1e3 for _ in range(9)]
    warm = [device.milliseconds(lambda: [product.step() for _ in range(20)]) * 1e3 / 20 for _ in range(3)]
    return statistics.median(cold), min(warm)


def run(args):
    from device import Buffer, Device
    from product import Product
    with open(os.path.join(args.folder, "tiles.json")) as file:
        listed = json.load(file)
    device, shape, failed = Device(), None, 0
    for entry in listed:
        product = Product(os.path.join(args.folder, entry["product"] + ".so"), cuda_stream=device.stream)
        if entry["shape"] != shape:
            shape, first = entry["shape"], None
            print(*shape)
            random = np.random.default_rng(3)
            inputs = [Buffer.holding(device, random.standard_normal(dims).astype(np.float16)) for _, _, dims in product.inputs]
            output = Buffer(device, 2 * shape[0] * shape[2])
        for slot, buffer in enumerate([*inputs, output]):
            _, code, dims = [*product.inputs, *product.outputs][slot]
            product.bind_address(slot, code, dims, buffer.address, buffer.size, device=1)
        output.poison()
        product.step()
        result = output.read((shape[0], shape[2]), np.float16).astype(np.float32)
        first = result if first is None else first
        off = np.linalg.norm(result - first) / np.linalg.norm(first)
        good = off < DIFFERENT   # NaN is not
        failed += not good
        print(f"    {entry['tile']:<36} parts={entry['parts']} {'%8.1f %8.1f' % measured(device, product)}{'' if good else '  ANOTHER RESULT'}", flush=True)
        product.close()
    return failed > 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("do", choices=["prepare", "run"])
    parser.add_argument("folder")
    parser.add_argument("--lapidary", default=os.path.join(HERE, "..", "..", "build", "tools", "lapidary"))
    parser.add_argument("--target", default="cuda:sm_90a")
    args = parser.parse_args()
    return prepare(args) if args.do == "prepare" else run(args)


if __name__ == "__main__":
    sys.exit(main())
