"""A chain of 24 products of f32, no two of one shape, of any batch and length: many_products.py MODEL."""
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

COUNT = 24


def main():
    widths = [8 * i if i % 2 else 1024 + 8 * i for i in range(COUNT + 1)]
    nodes, weights, names = [], [], ["x"] + [f"y{i}" for i in range(COUNT)]
    for i in range(COUNT):
        weights.append(numpy_helper.from_array(np.full((widths[i], widths[i + 1]), 1 / widths[i], np.float32), f"w{i}"))
        nodes.append(helper.make_node("MatMul", [names[i], f"w{i}"], [names[i + 1]]))
    value = lambda name, width: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B", "S", width])  # noqa: E731
    graph = helper.make_graph(nodes, "many", [value("x", widths[0])], [value(names[-1], widths[-1])], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), sys.argv[1])


main()
