"""seeded_weights.py LAPIDARY FOLDER: two products, a bias between them and one behind, compiled with made-up weights."""
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

N = 512


def write_model(path):
    random = np.random.default_rng(1)
    tensor = lambda name, shape, scale: numpy_helper.from_array((random.standard_normal(shape) * scale).astype("f4"), name)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Add", ["p", "b"], ["q"]),
             helper.make_node("Relu", ["q"], ["r"]), helper.make_node("MatMul", ["r", "v"], ["s"]),
             helper.make_node("Add", ["s", "c"], ["y"])]
    weights = [tensor("w", (N, N), N**-0.5), tensor("v", (N, N), N**-0.5), tensor("b", (N,), 1), tensor("c", (N,), 1)]
    value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, N])
    graph = helper.make_graph(nodes, "seeded", [value("x")], [value("y")], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    return numpy_helper.to_array(weights[3])


def main():
    lapidary, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model = folder / "model.onnx"
    bias = write_model(model)
    np.save(folder / "x.npy", np.random.default_rng(2).standard_normal((2, N)).astype("f4"))
    np.save(folder / "zero.npy", np.zeros((2, N), "f4"))

    def outputs(weights, target="x86-64-v3", given="x.npy", threads=1):
        program = folder / "program"
        subprocess.run([lapidary, "compile", model, "--emit=exe", "-o", program, f"--weights={weights}", f"--target={target}"], check=True)
        results = []
        for _ in range(2):
            subprocess.run([program, "--input", folder / given, "--output", folder / "y.npy", "--threads", str(threads)],
                           check=True, capture_output=True)
            results.append(np.load(folder / "y.npy"))
        return program.stat().st_size, *results

    size, y, again = outputs("seeded=7")
    _, real, _ = outputs("model")
    print(f"model {model.stat().st_size} bytes, product below 262144:", size < 1 << 18 < model.stat().st_size)
    print("finite, as large as the model's:", bool(np.isfinite(y).all() and 0.2 < y.std() / real.std() < 2))
    print("the same in every run:", bool((y == again).all() and (outputs("seeded=7", threads=2)[1] == y).all()))
    print("the same for every level of x86-64:", bool(np.allclose(outputs("seeded=7", "x86-64")[1], y, rtol=1e-4, atol=1e-5)))
    print("another seed, other numbers:", not np.allclose(outputs("seeded")[1], y))
    # With b far below zero relu leaves nothing of the first product, and the output is c.
    print("the bias is the model's:", bias_is_kept(outputs, model, folder, bias))


def bias_is_kept(outputs, path, folder, bias):
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.name == "b":
            tensor.CopyFrom(numpy_helper.from_array(np.full(N, -1e6, "f4"), "b"))
    onnx.save(model, path)
    return bool((outputs("seeded", given="zero.npy")[1] == bias).all())


if __name__ == "__main__":
    main()
