#!/usr/bin/env python3
"""Every gradient of ResNet-18's first step, beside those that PyTorch had in float64.

    resnet18.py --build build [--target T] [--threads N]
    resnet18.py --record      writes resnet18_gradients.json, where PyTorch and torchvision are

A gradient is told by its norm and by sums with fixed waves as weights, from which its error is estimated. f32 is some way
off whoever computes it, as rectifiers near 0 open or close: PyTorch's own in f32 are up to 7.8e-3 off.
"""
import argparse
import json
import os
import sys
import tempfile

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, ".."), os.path.join(HERE, "..", "zoo")]
RECORDED = os.path.join(HERE, "resnet18_gradients.json")
WORST, MEDIAN = 2e-2, 3e-3    # relative L2
WAVES = 8
RATE = 1024    # so large that what it moves parameters by is not lost beside them


def sums(gradient):
    index = np.arange(gradient.size, dtype=np.float64)
    return [float(np.dot(gradient.ravel().astype(np.float64), np.cos(index * (0.5 + 0.37 * wave)))) for wave in range(WAVES)]


def estimated(gradient, recorded):
    """The norm of the error over the gradient's: a wave's weights are as good as random, and their mean square is a half."""
    off = np.subtract(sums(gradient), recorded["sums"])
    return float(np.sqrt(2 * np.mean(off ** 2)) / recorded["l2"])


def record():
    import onnx
    import reference
    import torch
    import torchvision
    from onnx import numpy_helper
    with tempfile.TemporaryDirectory() as folder:
        weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(reference.model_of("resnet18", folder)).graph.initializer}
    model = torchvision.models.resnet18(num_classes=10).double()
    model.load_state_dict({name: torch.from_numpy(weights[name]).double() if name in weights else value for name, value in model.state_dict().items()})
    x, labels = reference.batch("resnet18", 0)
    torch.nn.functional.cross_entropy(model.train()(torch.from_numpy(x).double()), torch.from_numpy(labels).long()).backward()
    found = {name: parameter.grad.numpy() for name, parameter in model.named_parameters()}
    with open(RECORDED, "w") as file:
        json.dump({name: {"l2": float(np.linalg.norm(gradient)), "sums": sums(gradient)} for name, gradient in found.items()}, file, indent=0)


def checks(args):
    import reference
    from product import Product
    with open(RECORDED) as file:
        recorded = json.load(file)
    with tempfile.TemporaryDirectory() as folder:
        reference.OPTIMIZERS["plain"] = f"sgd,lr={RATE}"
        product = Product(reference.compiled(args, reference.model_of("resnet18", folder), "plain", folder), threads=args.threads)
        before = {name: product.state(name).astype(np.float64) for name in recorded}
        x, labels = reference.batch("resnet18", 0)
        product.call("train_step", {product.inputs[0][0]: x, "labels": labels})
        off = {name: estimated((before[name] - product.state(name)) / RATE, recorded[name]) for name in recorded}
    worst = max(off, key=off.get)
    yield f"{len(off)} gradients, at most {off[worst]:.1e} off ({worst})", len(off) == 62 and off[worst] <= WORST
    yield f"median {np.median(list(off.values())):.1e}", np.median(list(off.values())) <= MEDIAN


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build")
    parser.add_argument("--target", default="native")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--record", action="store_true")
    args = parser.parse_args()
    if args.record:
        return record()
    import tally
    return tally.run([("resnet18", lambda: checks(args))])


if __name__ == "__main__":
    sys.exit(main())
