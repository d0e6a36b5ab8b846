#!/usr/bin/env python3
"""Losses, optimisers, schedules and what else training is told, on a small classifier beside a definition in numpy.

    options.py --build build

The model is y = tanh(x·W + b)·V; its losses and gradients are computed here in float64 (gradients by central differences),
and the parameters moved as PyTorch's documentation says. Parameters must agree within 2e-5 after five steps.
"""
import argparse
import os
import subprocess
import sys
import tempfile

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..")]
import onnx  # noqa: E402
import tally  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from product import Product, ProductError  # noqa: E402

STEPS, ROWS, FEATURES, HIDDEN, CLASSES = 5, 6, 5, 4, 3
RNG = np.random.default_rng(0)
PARAMETERS = {"W": RNG.standard_normal((FEATURES, HIDDEN)), "b": RNG.standard_normal(HIDDEN), "V": RNG.standard_normal((HIDDEN, CLASSES))}
PARAMETERS = {name: value.astype(np.float32) for name, value in PARAMETERS.items()}
X = RNG.standard_normal((STEPS, ROWS, FEATURES)).astype(np.float32)
LABELS = RNG.integers(0, CLASSES, (STEPS, ROWS))
SHARES = RNG.dirichlet(np.ones(CLASSES), (STEPS, ROWS)).astype(np.float32)
TARGETS = RNG.standard_normal((STEPS, ROWS, CLASSES)).astype(np.float32)


def save_model(path, last=None, places=()):
    """last: (operator, attributes) that its scores go through; places: the extents between a sample's axis and its classes."""
    nodes = [helper.make_node("MatMul", ["x", "W"], ["xw"]), helper.make_node("Add", ["xw", "b"], ["s"]),
             helper.make_node("Tanh", ["s"], ["h"]), helper.make_node("MatMul", ["h", "V"], ["scores" if last else "y"])]
    if last:
        nodes.append(helper.make_node(last[0], ["scores"], ["y"], **last[1]))
    graph = helper.make_graph(nodes, "small", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *places, FEATURES])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", *places, CLASSES])],
                              [numpy_helper.from_array(value, name) for name, value in PARAMETERS.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def forward(p, x):
    return np.tanh(x @ p["W"] + p["b"]) @ p["V"]


def log_softmax(y):
    return y - y.max(1, keepdims=True) - np.log(np.exp(y - y.max(1, keepdims=True)).sum(1, keepdims=True))


def cross_entropy(y, labels, ignore=-100, smoothing=0.0, weights=None):
    logs, weights = log_softmax(y), np.ones(CLASSES) if weights is None else np.asarray(weights)
    counted = labels != ignore
    each = weights[np.where(counted, labels, 0)] * counted
    hard = -(logs[np.arange(len(labels)), np.where(counted, labels, 0)] * each).sum() / each.sum()
    smooth = -((logs * weights).sum(1) * counted).sum() / each.sum() / CLASSES
    return (1 - smoothing) * hard + smoothing * smooth


def soft_cross_entropy(y, shares):
    return -(shares * log_softmax(y)).sum(1).mean()


def huber(d, delta):
    return np.where(np.abs(d) <= delta, d * d / 2, delta * (np.abs(d) - delta / 2)).mean()


LOSSES = {    # option -> (loss of y and the step's target, which targets)
    "softmax_cross_entropy": (cross_entropy, LABELS),
    "softmax_cross_entropy,label_smoothing=0.1": (lambda y, t: cross_entropy(y, t, smoothing=0.1), LABELS),
    "softmax_cross_entropy,ignore_index=1": (lambda y, t: cross_entropy(y, t, ignore=1), LABELS),
    "soft_cross_entropy": (lambda y, t: soft_cross_entropy(y, t), SHARES),
    "soft_cross_entropy,label_smoothing=0.2": (lambda y, t: soft_cross_entropy(y, 0.8 * t + 0.2 / CLASSES), SHARES),
    "mse": (lambda y, t: ((y - t) ** 2).mean(), TARGETS),
    "l1": (lambda y, t: np.abs(y - t).mean(), TARGETS),
    "huber,delta=0.7": (lambda y, t: huber(y - t, 0.7), TARGETS),
    "bce_with_logits": (lambda y, t: (np.maximum(y, 0) - y * t + np.log1p(np.exp(-np.abs(y)))).mean(), TARGETS),
}


def gradients(p, loss):
    found = {}
    for name, value in p.items():
        found[name] = np.zeros_like(value)
        for index in np.ndindex(value.shape):
            moved = [dict(p, **{name: value + sign * 1e-6 * (np.indices(value.shape) == np.reshape(index, (-1,) + (1,) * value.ndim)).all(0)})
                     for sign in (1, -1)]
            found[name][index] = (loss(moved[0]) - loss(moved[1])) / 2e-6
    return found


def sgd(p, g, s, t, lr, momentum=0, dampening=0, nesterov=0, weight_decay=0):
    g = g + weight_decay * p
    if momentum:
        s["m"] = momentum * s["m"] + (1 - dampening) * g if "m" in s else g
        g = g + momentum * s["m"] if nesterov else s["m"]
    return p - lr * g


def adam(p, g, s, t, lr, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0, amsgrad=0, apart=False):
    p, g = (p * (1 - lr * weight_decay), g) if apart else (p, g + weight_decay * p)
    s["m"] = beta1 * s.get("m", 0) + (1 - beta1) * g
    s["v"] = beta2 * s.get("v", 0) + (1 - beta2) * g * g
    s["greatest"] = np.maximum(s["v"], s.get("greatest", 0))
    v = s["greatest"] if amsgrad else s["v"]
    return p - lr * (s["m"] / (1 - beta1 ** t)) / (np.sqrt(v / (1 - beta2 ** t)) + eps)


def adagrad(p, g, s, t, lr, lr_decay=0, eps=1e-10, weight_decay=0):
    g = g + weight_decay * p
    s["v"] = s.get("v", 0) + g * g
    return p - lr / (1 + (t - 1) * lr_decay) * g / (np.sqrt(s["v"]) + eps)


def rmsprop(p, g, s, t, lr, alpha=0.99, eps=1e-8, weight_decay=0, momentum=0, centered=0):
    g = g + weight_decay * p
    s["v"] = alpha * s.get("v", 0) + (1 - alpha) * g * g
    s["g"] = alpha * s.get("g", 0) + (1 - alpha) * g
    s["m"] = momentum * s.get("m", 0) + g / (np.sqrt(s["v"] - centered * s["g"] ** 2) + eps)
    return p - lr * s["m"]


def lion(p, g, s, t, lr, beta1=0.9, beta2=0.99, weight_decay=0):
    p, m = p * (1 - lr * weight_decay), s.get("m", 0)
    s["m"] = beta2 * m + (1 - beta2) * g
    return p - lr * np.sign(beta1 * m + (1 - beta1) * g)


OPTIMIZERS = {"sgd": sgd, "adam": adam, "adamw": lambda *a, weight_decay=0.01, **k: adam(*a, weight_decay=weight_decay, apart=True, **k),
              "adagrad": adagrad, "rmsprop": rmsprop, "lion": lion}
UPDATES = ["sgd,lr=0.1", "sgd,lr=0.1,momentum=0.9", "sgd,lr=0.1,momentum=0.9,nesterov=1,weight_decay=0.1", "adam,lr=0.01,weight_decay=0.1",
           "adamw,lr=0.01,beta1=0.8,beta2=0.9,eps=1e-6,weight_decay=0.2", "adagrad,lr=0.1,lr_decay=0.1,weight_decay=0.1",
           "rmsprop,lr=0.01,alpha=0.9,momentum=0.5,weight_decay=0.1", "rmsprop,lr=0.01", "sgd,lr=0.1,momentum=0.9,dampening=0.3",
           "adam,lr=0.01,beta2=0.5,amsgrad=1,weight_decay=0.1", "adamw,lr=0.01,beta2=0.5,amsgrad=true", "rmsprop,lr=0.01,alpha=0.9,centered=1",
           "rmsprop,lr=0.01,alpha=0.9,centered=1,momentum=0.5", "lion,lr=0.01,weight_decay=0.1"]


def cosine(t, warmup, total, end):
    share = min(max((t - warmup) / (total - warmup), 0), 1)
    return end + (1 - end) / 2 * (1 + np.cos(np.pi * share))


SCHEDULES = {    # factor of step t, counted from 0
    "step,every=2,gamma=0.3": lambda t: 0.3 ** (t // 2),
    "step,every=2,gamma=0.5": lambda t: 0.5 ** (t // 2),
    "step,every=2,gamma=2": lambda t: 2.0 ** (t // 2),
    "step,every=4,gamma=10": lambda t: 10.0 ** (t // 4),
    "cosine,total=4,end=0.1": lambda t: cosine(t, 0, 4, 0.1),
    "linear,total=4": lambda t: 1 - min(t / 4, 1),
    "cosine,warmup=2,total=6": lambda t: cosine(t, 2, 6, 0) * min((t + 1) / 2, 1),
}


def numbers(text):
    return {key: float(value == "true" or value) for key, value in (part.split("=") for part in text.split(",")[1:])}


def expected(loss="softmax_cross_entropy", optimizer="sgd,lr=0.1", factor=lambda t: 1, clip=0, frozen=()):
    """Losses of the steps, and the parameters after the last."""
    of, targets = LOSSES[loss]
    update, given = OPTIMIZERS[optimizer.split(",")[0]], numbers(optimizer)
    p, slots, losses = {name: value.astype(np.float64) for name, value in PARAMETERS.items()}, {name: {} for name in PARAMETERS}, []
    for t in range(STEPS):
        def at(q):
            return of(forward(q, X[t].astype(np.float64)), targets[t])
        losses.append(at(p))
        g = gradients(p, at)
        if clip:
            norm = np.sqrt(sum((part ** 2).sum() for name, part in g.items() if name not in frozen))
            g = {name: part * min(1, clip / (norm + 1e-6)) for name, part in g.items()}
        p = {name: p[name] if name in frozen else update(p[name], g[name], slots[name], t + 1, **dict(given, lr=given["lr"] * factor(t))) for name in p}
    return losses, p


class Case:
    def __init__(self, build, folder):
        self.build, self.folder, self.count = build, folder, 0
        self.model = os.path.join(folder, "small.onnx")
        save_model(self.model)

    def product(self, loss="softmax_cross_entropy", optimizer="sgd,lr=0.1", *options, model=None):
        self.count += 1
        library = os.path.join(self.folder, f"small{self.count}.so")
        done = subprocess.run([os.path.join(self.build, "tools", "lapidary"), "compile", model or self.model, "--train", "--loss", loss,
                               "--optimizer", optimizer, "-o", library, *options], stderr=subprocess.PIPE, text=True)
        assert done.returncode == 0, done.stderr
        self.said = done.stderr.splitlines()
        return Product(library, threads=1)

    def agrees(self, product, reference, loss="softmax_cross_entropy", repeat=1, bound=2e-5, places=()):
        def placed(array, each=()):
            return array.reshape(-1, *places, *each)

        losses, parameters = reference
        found = []
        for t in range(STEPS):
            for _ in range(repeat):
                found.append(float(product.call("train_step", {"x": placed(X[t], (FEATURES,)), "labels": placed(LOSSES[loss][1][t], LOSSES[loss][1][t].shape[1:])})["loss"]))
        found = found[::repeat]
        errors = [abs(a - b) / max(abs(b), 1) for a, b in zip(found, losses)]
        errors += [np.abs(product.state(name) - parameters[name]).max() for name in parameters]
        return f"{max(errors):.1e}", max(errors) <= bound


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        case = Case(args.build, folder)

        def losses():
            for loss in LOSSES:
                text, holds = case.agrees(case.product(loss), expected(loss), loss)
                yield f"{loss}: {text}", holds

        def weighted():
            LOSSES["weighted"] = (lambda y, t: cross_entropy(y, t, weights=[1, 2, 0.5]), LABELS)
            text, holds = case.agrees(case.product("softmax_cross_entropy", "sgd,lr=0.1", "--class-weights", "1,2,0.5"), expected("weighted"))
            yield f"class weights: {text}", holds

        def class_axis():
            """Rows of [N, 3, C] are as good as rows of [N, C]."""
            model, softmax, places = os.path.join(folder, "places.onnx"), ("Softmax", {"axis": -1}), (3,)
            LOSSES["ignoring, weighted"] = (lambda y, t: cross_entropy(y, t, ignore=1, weights=[1, 2, 0.5]), LABELS)
            for loss, key, last, options in (
                    ("softmax_cross_entropy,class_axis=-1", "softmax_cross_entropy", None, ()), ("softmax_cross_entropy,class_axis=2", "softmax_cross_entropy", None, ()),
                    ("softmax_cross_entropy,class_axis=-1,label_smoothing=0.1", "softmax_cross_entropy,label_smoothing=0.1", softmax, ()),
                    ("softmax_cross_entropy,class_axis=-1,ignore_index=1", "ignoring, weighted", None, ("--class-weights", "1,2,0.5")),
                    ("nll,class_axis=-1", "softmax_cross_entropy", ("LogSoftmax", {"axis": -1}), ()),
                    ("soft_cross_entropy,class_axis=-1,label_smoothing=0.2", "soft_cross_entropy,label_smoothing=0.2", None, ())):
                save_model(model, last, places)
                text, holds = case.agrees(case.product(loss, "sgd,lr=0.1", *options, model=model), expected(key), key, places=places)
                yield f"{loss}: {text}, {case.said[1:]}", holds and len(case.said) == 1 + (last == softmax)
            for loss, error in (("softmax_cross_entropy,class_axis=3", "class_axis=3 of scores of rank 3"), ("nll,class_axis=0", "class_axis=0"),
                                ("mse,class_axis=1", "mse has no 'class_axis=1'")):
                try:
                    case.product(loss, model=model)
                    yield f"{loss} is refused", False
                except AssertionError as said:
                    yield f"{loss} is refused: {said}", error in str(said)

        def optimizers():
            for optimizer in UPDATES:
                text, holds = case.agrees(case.product("softmax_cross_entropy", optimizer), expected(optimizer=optimizer))
                yield f"{optimizer}: {text}", holds

        def schedules():
            for schedule, factor in SCHEDULES.items():
                product = case.product("softmax_cross_entropy", "sgd,lr=0.1", "--schedule", schedule)
                text, holds = case.agrees(product, expected(factor=factor))
                yield f"{schedule}: {text}", holds

        def others():
            plain = expected(optimizer="adamw,lr=0.01")
            text, holds = case.agrees(case.product("softmax_cross_entropy", "adamw,lr=0.01", "--accumulate", "2"), plain, repeat=2)
            yield f"two steps of one batch are one of it: {text}", holds
            text, holds = case.agrees(case.product("softmax_cross_entropy", "sgd,lr=0.1", "--clip-norm", "0.2"), expected(clip=0.2))
            yield f"gradients of a norm of 0.2: {text}", holds
            text, holds = case.agrees(case.product("softmax_cross_entropy", "sgd,lr=0.1", "--freeze", "[Vb]"), expected(frozen=("V", "b")))
            yield f"frozen by a pattern: {text}", holds
            text, holds = case.agrees(case.product("softmax_cross_entropy", "sgd,lr=0.1", "--train-only", "W"), expected(frozen=("V", "b")))
            yield f"only those of a pattern: {text}", holds
            product = case.product("softmax_cross_entropy", "sgd,lr=0.1", "--check-gradients")
            for factor, finite in ((1, True), (np.inf, False)):
                result = product.call("train_step", {"x": (X[0] * factor).astype(np.float32), "labels": LABELS[0]})
                yield f"gradients looked through: {bool(result['finite'])}", bool(result["finite"]) == finite
            for precision in ("bf16", "f16"):
                product = case.product("softmax_cross_entropy", "sgd,lr=0.1", "--precision", precision)
                text, holds = case.agrees(product, expected(), bound=2e-2)
                yield f"products in {precision}: {text}", holds

        def overflow():
            product = case.product("softmax_cross_entropy", "sgd,lr=0.1", "--precision", "f16")
            product.set_state("loss_scale", 1e30)
            product.call("train_step", {"x": X[0], "labels": LABELS[0]})
            yield "nothing moves when a gradient overflows", all((product.state(name) == value).all() for name, value in PARAMETERS.items())
            yield "the scale is halved", float(product.state("loss_scale")) == np.float32(1e30) / 2
            product.set_state("loss_scale", 1024)
            product.call("train_step", {"x": X[0], "labels": LABELS[0]})
            yield "then it moves", not (product.state("W") == PARAMETERS["W"]).all()
            product = case.product("mse", "sgd,lr=0.1", "--precision", "f16")
            for name, value in PARAMETERS.items():
                product.set_state(name, value * 0)    # so that gradients are 0, whatever they are scaled by
            for scale, grown in ((2.0 ** 126, 2.0 ** 127), (2.0 ** 127, 2.0 ** 127)):
                product.set_state("loss_scale", scale)
                product.set_state("steps_since_scaled", 1999)
                product.call("train_step", {"x": X[0], "labels": TARGETS[0] * 0})
                yield f"the scale grows from {scale:g} to {grown:g}", float(product.state("loss_scale")) == grown

        def overflow_counts():
            """Steps that overflow are none for Adam; one of them spoils the mean that it is part of, and nothing after it."""
            def step(product, at, overflows=False):
                product.set_state("loss_scale", 1e30 if overflows else 1024)
                product.call("train_step", {"x": X[at], "labels": LABELS[at]})

            def agree(one, other):
                return all((one.state(name) == other.state(name)).all() for name in PARAMETERS)

            options = ("softmax_cross_entropy", "adam,lr=0.01", "--precision", "f16")
            first, second = case.product(*options), case.product(*options)
            step(first, 0), step(first, 1)
            for at, overflows in ((2, True), (0, False), (3, True), (2, True), (1, False)):
                step(second, at, overflows)
            yield "Adam's moments begin with the first step that moves", agree(first, second)
            options = (*options, "--accumulate", "2")
            first, second = case.product(*options), case.product(*options)
            step(first, 0), step(first, 1)
            for which in (0, 1):
                step(second, 2, which == 0), step(second, 3, which == 1)
                yield f"step {which} of 2 overflows: nothing moves", all((second.state(name) == value).all() for name, value in PARAMETERS.items())
                yield "nothing is kept", not second.state("W.gradient").any()
            step(second, 0), step(second, 1)
            yield "the next two are as without", agree(first, second)

        def rates():
            product = case.product()
            product.set_state("learning_rate", 0)
            product.call("train_step", {"x": X[0], "labels": LABELS[0]})
            yield "a learning rate of 0 moves nothing", (product.state("W") == PARAMETERS["W"]).all()
            yield "steps are counted", int(product.state("step")) == 1
            found = product.call("eval_step", {"x": X[0], "labels": LABELS[0]})
            y = forward({name: value.astype(np.float64) for name, value in PARAMETERS.items()}, X[0])
            yield "eval_step's loss", abs(float(found["loss"]) - cross_entropy(y, LABELS[0])) < 1e-6
            yield "eval_step counts who is right", int(found["correct"]) == int((y.argmax(1) == LABELS[0]).sum())
            for label in (CLASSES, -1):
                try:
                    product.call("train_step", {"x": X[0], "labels": np.full_like(LABELS[0], label)})
                    yield f"label {label} is refused", False
                except ProductError as error:
                    yield f"label {label} is refused: {error}", error.args[0] == 2 and "labels" in str(error)
            product.call("train_step", {"x": X[0], "labels": np.full_like(LABELS[0], -100)})
            yield "what is ignored need be no class, and is a loss of nothing", float(product.call(
                "train_step", {"x": X[0], "labels": np.full_like(LABELS[0], -100)})["loss"]) == 0
            yield "run gives what eval_step does", np.array_equal(product.call("run", {"x": X[0]})["y"], found["y"])

        def said():
            for options, line in (((), "note: trains 3 parameters of 36 numbers"), (("--freeze", "V"), "note: trains 2 parameters of 24 numbers; 1 frozen"),
                                  (("-q",), None)):
                case.product("softmax_cross_entropy", "sgd,lr=0.1", *options)
                yield f"{options}: {case.said}", case.said == ([line] if line else [])

        def probabilities():
            """Of a model that ends in what makes scores probabilities, the loss is of the scores, which a line says."""
            model = os.path.join(folder, "probabilities.onnx")
            for last, loss in ((("Softmax", {"axis": 1}), "softmax_cross_entropy"), (("Sigmoid", {}), "bce_with_logits")):
                save_model(model, last)
                text, holds = case.agrees(case.product(loss, model=model), expected(loss), loss)
                yield f"{loss} behind {last[0]}: {text}, {case.said[1:]}", holds and case.said[1:] == [
                    f"note: the loss is of the scores that the model's {last[0].lower()} takes"]
            save_model(model, ("Softmax", {"axis": 1}))
            case.product("nll", model=model)
            yield f"nll of probabilities: {case.said[1:]}", len(case.said) == 2 and case.said[1].startswith("warning: nll takes logarithms")
            save_model(model, ("LogSoftmax", {"axis": 1}))
            text, holds = case.agrees(case.product("nll", model=model), expected())
            yield f"nll of their logarithms: {text}", holds and len(case.said) == 1

        groups = {"notes": said, "probabilities": probabilities, "losses": losses, "weights": weighted, "classes last": class_axis, "optimisers": optimizers, "schedules": schedules, "options": others,
                  "overflow": overflow, "overflows among others": overflow_counts, "states": rates}
        return tally.run(groups.items())


if __name__ == "__main__":
    sys.exit(main())
