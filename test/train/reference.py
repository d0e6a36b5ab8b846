#!/usr/bin/env python3
"""Trains the five graphs of test/zoo/train as products, and holds their losses and parameters to PyTorch's.

    reference.py --build build [--target T] [--threads N] [--steps N] [CASE …] [--optimizer sgd|adamw]

Bounds: the first loss within 1e-5 of PyTorch's; all losses and the parameters' norms at the end within BOUNDS, as far as
PyTorch itself repeats them: resnet18's later steps it does not, so it takes two of them.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, ".."), os.path.join(HERE, "..", "zoo")]
import materialize  # noqa: E402
import onnx  # noqa: E402
import tally  # noqa: E402
from onnx import numpy_helper  # noqa: E402
from product import Product  # noqa: E402
from train_cases import SHAPES, STEPS, batch  # noqa: E402

OPTIMIZERS = {"sgd": "sgd,lr=0.01,momentum=0.9", "adamw": "adamw,lr=1e-3,weight_decay=0.01"}
BOUNDS = {"mlp": 1e-3, "lstm": 1e-3, "transformer": 1e-3, "cnn_digits": 2e-2, "resnet18": None}    # None: chaotic
FIRST = 1e-5


def model_of(name, folder):
    path = os.path.join(folder, name + ".onnx")
    model = onnx.load(os.path.join(HERE, "..", "zoo", "train", name + ".onnx"))
    for tensor in model.graph.initializer:
        materialize.fill(tensor, name)
    for node in model.graph.node:    # the states that an LSTM begins with, whose zeros were left out
        for attribute in node.attribute:
            if attribute.t.dims and not attribute.t.raw_data:
                attribute.t.CopyFrom(numpy_helper.from_array(np.zeros(attribute.t.dims, np.float32)))
    onnx.save(model, path)
    return path


def compiled(args, model, optimizer, folder, *options):
    library = os.path.join(folder, f"{os.path.basename(model)[:-5]}_{optimizer}.so")
    subprocess.run([os.path.join(args.build, "tools", "lapidary"), "compile", model, "--train", "--optimizer", OPTIMIZERS[optimizer],
                    "--target", args.target, "-o", library, *options], check=True)
    return library


def relative(found, expected):
    return abs(found - expected) / max(abs(expected), 1e-12)


def trained(product, name, steps):
    losses = []
    for step in range(steps):
        x, labels = batch(name, step)
        losses.append(float(product.call("train_step", {product.inputs[0][0]: x, "labels": labels})["loss"]))
    return losses


def check(product, name, reference, steps):
    """What is wrong, as lines; and the figures."""
    losses = trained(product, name, steps)
    errors = [relative(found, expected) for found, expected in zip(losses, reference["losses"])]
    wrong = [f"loss of step 1 is {losses[0]}, expected {reference['losses'][0]}"] if not errors[0] <= FIRST else []
    text = f"first loss {errors[0]:.1e}, losses {max(errors):.1e}"
    if steps == STEPS:
        norms = {key: relative(float(np.linalg.norm(product.state(key).astype(np.float64))), of["l2"])
                 for key, of in reference["parameters"].items() if key in product.states}
        worst = max(norms, key=norms.get)
        text += f", norms {norms[worst]:.1e} ({worst})"
        bound = BOUNDS[name]
        if bound and not max(errors) <= bound:
            wrong.append(f"a loss is {max(errors):.1e} off, at most {bound}")
        if bound and not norms[worst] <= bound:
            wrong.append(f"the norm of {worst} is {norms[worst]:.1e} off, at most {bound}")
    return wrong, text


def checks(args, name, references):
    with tempfile.TemporaryDirectory() as folder:
        model = model_of(name, folder)
        for optimizer in args.optimizer or OPTIMIZERS:
            product = Product(compiled(args, model, optimizer, folder), threads=args.threads)
            wrong, text = check(product, name, references[optimizer], args.steps if BOUNDS[name] else min(args.steps, 2))
            yield f"{optimizer}: {'; '.join([text] + wrong)}", not wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True)
    parser.add_argument("--target", default="native")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--optimizer", choices=list(OPTIMIZERS), action="append")
    parser.add_argument("cases", nargs="*", default=list(SHAPES))
    args = parser.parse_args()
    with open(os.path.join(HERE, "..", "zoo", "train", "reference.json")) as file:
        references = json.load(file)
    return tally.run([(name, lambda name=name: checks(args, name, references[name])) for name in args.cases])


if __name__ == "__main__":
    sys.exit(main())
