#!/usr/bin/env python3
"""Writes what the digit classifier is trained from: untrained.onnx, training.npz, held_out.npz, and pictures/.

    untrained.py        (needs: numpy, onnx, scikit-learn for its digits, pillow to write pictures)

x [N, 1, 8, 8] in 0..1 → conv 16 → relu → conv 32 → relu → maxpool → dense 32 → relu → dense 10 → softmax. 1,500 of the 1,797
pictures are to train with; the rest are held out, and 20 of those become pictures/DIGIT_NUMBER.png. scripts/demo trains it as digits.onnx was trained.
"""
import os

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from sklearn.datasets import load_digits

HERE = os.path.dirname(os.path.abspath(__file__))
TRAINING = 1500


def export(rng, path):
    def normal(*shape):
        return (rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)

    weights = {"c1.w": normal(16, 1, 3, 3), "c1.b": np.zeros(16), "c2.w": normal(32, 16, 3, 3), "c2.b": np.zeros(32),
               "d1.w": normal(32, 512).T, "d1.b": np.zeros(32), "d2.w": normal(10, 32).T, "d2.b": np.zeros(10)}
    node = helper.make_node
    graph = helper.make_graph(
        [node("Conv", ["x", "c1.w", "c1.b"], ["a"], "conv1", pads=[1] * 4), node("Relu", ["a"], ["b"], "relu1"),
         node("Conv", ["b", "c2.w", "c2.b"], ["c"], "conv2", pads=[1] * 4), node("Relu", ["c"], ["d"], "relu2"),
         node("MaxPool", ["d"], ["e"], "pool", kernel_shape=[2, 2], strides=[2, 2]), node("Flatten", ["e"], ["f"], "flatten"),
         node("Gemm", ["f", "d1.w", "d1.b"], ["g"], "dense1"), node("Relu", ["g"], ["h"], "relu3"),
         node("Gemm", ["h", "d2.w", "d2.b"], ["i"], "dense2"), node("Softmax", ["i"], ["y"], "softmax", axis=1)],
        "digits", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 10])],
        [numpy_helper.from_array(np.ascontiguousarray(v, np.float32), k) for k, v in weights.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="lapidary-examples")
    model.ir_version = 8
    onnx.checker.check_model(model)
    onnx.save(model, path)


def main():
    digits = load_digits()
    x = (digits.images / 16).astype(np.float32)[:, None]
    rng = np.random.default_rng(0)
    order = rng.permutation(len(x))
    x, labels = x[order], digits.target[order]
    export(rng, os.path.join(HERE, "untrained.onnx"))
    np.savez_compressed(os.path.join(HERE, "training.npz"), x=x[:TRAINING], labels=labels[:TRAINING])
    np.savez_compressed(os.path.join(HERE, "held_out.npz"), x=x[TRAINING:], labels=labels[TRAINING:])
    folder = os.path.join(HERE, "pictures")
    os.makedirs(folder, exist_ok=True)
    for i in range(TRAINING, TRAINING + 20):
        Image.fromarray((x[i, 0] * 255).round().astype(np.uint8)).save(os.path.join(folder, f"{labels[i]}_{i:04}.png"))


if __name__ == "__main__":
    main()
