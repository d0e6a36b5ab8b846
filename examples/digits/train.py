#!/usr/bin/env python3
"""Trains the digit classifier shipped beside this script, with numpy alone, and writes digits.onnx and pictures/.

    train.py            (needs: numpy, onnx, scikit-learn for its digits, pillow to write pictures)

x [N, 1, 8, 8] in 0..1 → conv 16 → relu → conv 32 → relu → maxpool → dense 32 → relu → dense 10 → softmax. Adam, 25
epochs on 1,500 of the 1,797 pictures; the rest are held out, and 20 of those become pictures/DIGIT_NUMBER.png.
"""
import os

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from sklearn.datasets import load_digits

HERE = os.path.dirname(os.path.abspath(__file__))
TRAINING = 1500


def windows(x):
    """[N, C, 8, 8] → [N, 8, 8, C·9]: the 3×3 windows with a border of zeros."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    parts = [padded[:, :, i:i + 8, j:j + 8] for i in range(3) for j in range(3)]
    return np.stack(parts, 2).reshape(len(x), -1, 8, 8).transpose(0, 2, 3, 1)


def unwindow(gradient, channels):
    """The transpose of windows."""
    parts = gradient.transpose(0, 3, 1, 2).reshape(len(gradient), channels, 9, 8, 8)
    padded = np.zeros((len(gradient), channels, 10, 10), np.float32)
    for k in range(9):
        padded[:, :, k // 3:k // 3 + 8, k % 3:k % 3 + 8] += parts[:, :, k]
    return padded[:, :, 1:9, 1:9]


def forward(p, x):
    w1 = windows(x)
    a1 = np.maximum(w1 @ p["c1.w"] + p["c1.b"], 0)
    w2 = windows(a1.transpose(0, 3, 1, 2))
    a2 = np.maximum(w2 @ p["c2.w"] + p["c2.b"], 0).transpose(0, 3, 1, 2)
    blocks = a2.reshape(len(x), 32, 4, 2, 4, 2)
    pooled = blocks.max((3, 5))
    flat = pooled.reshape(len(x), -1)
    hidden = np.maximum(flat @ p["d1.w"] + p["d1.b"], 0)
    scores = hidden @ p["d2.w"] + p["d2.b"]
    return scores, (w1, a1, w2, a2, blocks, pooled, flat, hidden)


def gradients(p, x, labels):
    scores, (w1, a1, w2, a2, blocks, pooled, flat, hidden) = forward(p, x)
    e = np.exp(scores - scores.max(1, keepdims=True))
    d = e / e.sum(1, keepdims=True)
    d[np.arange(len(x)), labels] -= 1
    d /= len(x)
    g = {"d2.w": hidden.T @ d, "d2.b": d.sum(0)}
    d = (d @ p["d2.w"].T) * (hidden > 0)
    g |= {"d1.w": flat.T @ d, "d1.b": d.sum(0)}
    d = (d @ p["d1.w"].T).reshape(pooled.shape)
    d = (blocks == pooled[:, :, :, None, :, None]) * d[:, :, :, None, :, None]
    d = (d.reshape(a2.shape) * (a2 > 0)).transpose(0, 2, 3, 1)
    g |= {"c2.w": np.tensordot(w2, d, ([0, 1, 2], [0, 1, 2])), "c2.b": d.sum((0, 1, 2))}
    d = unwindow(d @ p["c2.w"].T, 16).transpose(0, 2, 3, 1) * (a1 > 0)
    g |= {"c1.w": np.tensordot(w1, d, ([0, 1, 2], [0, 1, 2])), "c1.b": d.sum((0, 1, 2))}
    return g


def train(x, labels, rng):
    def normal(rows, columns):
        return (rng.standard_normal((rows, columns)) * np.sqrt(2 / rows)).astype(np.float32)

    p = {"c1.w": normal(9, 16), "c1.b": np.zeros(16, np.float32), "c2.w": normal(144, 32), "c2.b": np.zeros(32, np.float32),
         "d1.w": normal(512, 32), "d1.b": np.zeros(32, np.float32), "d2.w": normal(32, 10), "d2.b": np.zeros(10, np.float32)}
    m, v, step = {k: 0 for k in p}, {k: 0 for k in p}, 0
    for epoch in range(25):
        order = rng.permutation(len(x))
        for start in range(0, len(x), 50):
            batch = order[start:start + 50]
            step += 1
            for k, g in gradients(p, x[batch], labels[batch]).items():
                m[k] = 0.9 * m[k] + 0.1 * g
                v[k] = 0.999 * v[k] + 0.001 * g * g
                rate = 2e-3 * 0.9 ** epoch * np.sqrt(1 - 0.999 ** step) / (1 - 0.9 ** step)
                p[k] = (p[k] - rate * m[k] / (np.sqrt(v[k]) + 1e-8)).astype(np.float32)
    return p


def export(p, path):
    def conv(name):   # windows() orders columns channel-major, then tap: ONNX's own order
        w = p[name + ".w"]
        return w.T.reshape(w.shape[1], -1, 3, 3)

    weights = {"c1.w": conv("c1"), "c2.w": conv("c2")} | {k: v for k, v in p.items() if k not in ("c1.w", "c2.w")}
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
    p = train(x[:TRAINING], labels[:TRAINING], rng)
    right = (forward(p, x[TRAINING:])[0].argmax(1) == labels[TRAINING:]).mean()
    print(f"held out: {right:.1%} of {len(x) - TRAINING} right")
    export(p, os.path.join(HERE, "digits.onnx"))
    folder = os.path.join(HERE, "pictures")
    os.makedirs(folder, exist_ok=True)
    for i in range(TRAINING, TRAINING + 20):
        Image.fromarray((x[i, 0] * 255).round().astype(np.uint8)).save(os.path.join(folder, f"{labels[i]}_{i:04}.png"))


if __name__ == "__main__":
    main()
