"""A small classifier and its data, for tests of training that are not about numbers."""
import os
import subprocess

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FEATURES, HIDDEN, CLASSES = 6, 8, 3


def model(path, batch="N", features=(FEATURES,), hidden=HIDDEN, dtype=TensorProto.FLOAT, external=None):
    """x [batch, features…] -> logits [batch, CLASSES]; external: a file beside the model for its weights."""
    rng = np.random.default_rng(7)
    count = int(np.prod(features))
    weights = {"a.weight": (count, hidden), "a.bias": (hidden,), "b.weight": (hidden, CLASSES), "b.bias": (CLASSES,)}
    tensors = [numpy_helper.from_array((rng.standard_normal(shape) * 0.3).astype(np.float32), name) for name, shape in weights.items()]
    nodes = [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("Gemm", ["flat", "a.weight", "a.bias"], ["h"]),
             helper.make_node("Relu", ["h"], ["r"]), helper.make_node("Gemm", ["r", "b.weight", "b.bias"], ["logits"])]
    if dtype != TensorProto.FLOAT:
        nodes[0].input[0] = "numbers"
        nodes.insert(0, helper.make_node("Cast", ["x"], ["numbers"], to=TensorProto.FLOAT))
    graph = helper.make_graph(nodes, "small", [helper.make_tensor_value_info("x", dtype, [batch, *features])],
                              [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, CLASSES])], tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(made, path, save_as_external_data=external is not None, location=external, size_threshold=0)
    return path


def data(samples=100, features=(FEATURES,)):
    rng = np.random.default_rng(11)
    labels = rng.integers(0, CLASSES, samples)
    x = rng.standard_normal((samples, *features)).astype(np.float32)
    x.reshape(samples, -1)[np.arange(samples), labels] += 2
    return x, labels


def without_count(done):
    """Without the line that says how much is trained, which test/train/options.py looks at."""
    done.stderr = "".join(line for line in done.stderr.splitlines(True) if not line.startswith("note: trains "))
    return done


def lapidary(build, *arguments, cwd=None, **options):
    return without_count(subprocess.run([os.path.join(os.path.abspath(build), "tools", "lapidary"), *map(str, arguments)], cwd=cwd,
                                        capture_output=True, text=True, timeout=120, **options))


def initializers(path):
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
