#!/usr/bin/env python3
"""Models that say themselves how they are trained (training_info), beside the same training in numpy.

    training_info.py --build build
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
import onnx.parser  # noqa: E402
import tally  # noqa: E402
from onnx import helper, numpy_helper  # noqa: E402
from product import Product  # noqa: E402

ROWS, FEATURES, STEPS, RATE = 4, 3, 5, 0.1
RNG = np.random.default_rng(5)
W, B = RNG.standard_normal((FEATURES, 2)).astype(np.float32), RNG.standard_normal(2).astype(np.float32)
X = RNG.standard_normal((STEPS, ROWS, FEATURES)).astype(np.float32)
T = RNG.standard_normal((STEPS, ROWS, 2)).astype(np.float32)

LOSS = "d = Sub(y, t) s = Mul(d, d) loss = ReduceMean <keepdims = 0> (s)"
GRADIENT = 'dW, dB = ai.onnx.preview.training.Gradient <xs = ["W", "B"], zs = ["x", "t"], y = "loss"> (W, B, x, t)'
SGD = ("sW = Mul(dW, rate) sB = Mul(dB, rate) newW = Sub(W, sW) newB = Sub(B, sB)", "W=newW B=newB", {})
MOMENTUM = ("newW, newB, newVW, newVB = ai.onnx.preview.training.Momentum <alpha = 0.9, beta = 1.0, norm_coefficient = 0.0,"
            ' mode = "standard"> (rate, count, W, B, dW, dB, VW, VB) newCount = Add(count, one)',
            "W=newW B=newB VW=newVW VB=newVB count=newCount",
            {"VW": np.zeros_like(W), "VB": np.zeros_like(B), "count": np.array(0, np.int64), "one": np.array(1, np.int64)})


def graph(text, initializers=None):
    parsed = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17, "ai.onnx.preview.training": 1]> {text}').graph
    parsed.initializer.extend(numpy_helper.from_array(value, name) for name, value in (initializers or {}).items())
    return parsed


def bind(entries, text):
    for pair in text.split():
        entries.add(key=pair.split("=")[0], value=pair.split("=")[1])


def make_model(update, bindings, extra, initialization=None, starts="", outputs="float loss", more=""):
    model = helper.make_model(graph("g (float[N,3] x) => (float[N,2] y) { p = MatMul(x, W) y = Add(p, B) }", {"W": W, "B": B}), ir_version=8,
                              opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.preview.training", 1)])
    info = model.training_info.add()
    info.algorithm.CopyFrom(graph(f"a (float[N,2] t) => ({outputs}) {{ {LOSS} {GRADIENT} {update} {more} }}",
                                  {"rate": np.array(RATE, np.float32), **extra}))
    bind(info.update_binding, bindings)
    if initialization:
        info.initialization.CopyFrom(graph(initialization))
        bind(info.initialization_binding, starts)
    return model


def compile_model(build, folder, model, *options):
    onnx.save(model, os.path.join(folder, "model.onnx"))
    return subprocess.run([f"{build}/tools/lapidary", "compile", f"{folder}/model.onnx", "--train", "-o", f"{folder}/model.so", *options],
                          capture_output=True, text=True)


def product(build, folder, model):
    done = compile_model(build, folder, model)
    assert done.returncode == 0 and "training_info" in done.stderr, done.stderr
    return Product(f"{folder}/model.so", "model", threads=2)


def expected(w, b, momentum):
    """Losses and parameters after the steps, in float64."""
    w, b, velocities, losses = w.astype(np.float64), b.astype(np.float64), [0, 0], []
    for x, t in zip(X, T):
        d = x @ w + b - t
        losses.append((d * d).mean())
        steps = [x.T @ (2 * d / d.size), (2 * d / d.size).sum(0)]
        velocities = [0.9 * v + g for v, g in zip(velocities, steps)] if momentum else steps
        w, b = w - RATE * velocities[0], b - RATE * velocities[1]
    return losses, w, b


def check_steps(build, folder, update, momentum):
    with product(build, folder, make_model(*update)) as model:
        losses, w, b = expected(W, B, momentum)
        for x, t, loss in zip(X, T, losses):
            found = model.call("train_step", {"x": x, "t": t})["loss"]
            assert abs(found - loss) <= 1e-5 * loss, (found, loss)
        assert np.allclose(model.state("W"), w, rtol=1e-5, atol=1e-6) and np.allclose(model.state("B"), b, rtol=1e-5, atol=1e-6)
        assert np.allclose(model.call("run", {"x": X[0]})["y"], X[0] @ w + b, rtol=1e-4, atol=1e-5)
        return model.states, model


def sgd(build, folder):
    states, _ = check_steps(build, folder, SGD, False)
    assert {name: kind for name, (_, kind, _, _) in states.items()} == {"W": 0, "B": 0, "step": 3}, states


def momentum(build, folder):
    states, _ = check_steps(build, folder, MOMENTUM, True)
    assert {name: kind for name, (_, kind, _, _) in states.items()} == {"W": 0, "B": 0, "VW": 2, "VB": 2, "count": 2, "step": 3}, states


def initialization(build, folder):
    """Run when the caller wants it; it may be run again."""
    start = "i () => (float[3,2] w0, float[2] b0) { w0 = RandomUniform <shape = [3, 2], seed = 3.0> () b0 = Constant <value = float[2] {0.5, 0.25}> () }"
    with product(build, folder, make_model(*SGD, start, "W=w0 B=b0")) as model:
        assert np.array_equal(model.state("W"), W)
        model.call("initialize", {})
        first = model.state("W")
        assert np.array_equal(model.state("B"), [0.5, 0.25]) and 0 <= first.min() and first.max() <= 1 and np.unique(first).size == first.size
        _, w, _ = expected(first, model.state("B"), False)
        for x, t in zip(X, T):
            model.call("train_step", {"x": x, "t": t})
        assert np.allclose(model.state("W"), w, rtol=1e-5, atol=1e-6)
        model.call("initialize", {})
        assert np.array_equal(model.state("W"), first)


def output_that_is_an_update(build, folder):
    """Values that become states are no outputs besides."""
    with product(build, folder, make_model(*SGD, outputs="float loss, float[3,2] newW")) as model:
        assert [name for name, _, _ in model.outputs] == ["y", "loss"], model.outputs
        assert abs(model.call("train_step", {"x": X[0], "t": T[0]})["loss"] - expected(W, B, False)[0][0]) < 1e-5


def two_algorithms(build, folder):
    """The one moves W, the other B."""
    model = make_model(SGD[0], "W=newW", {})
    model.training_info.add().CopyFrom(model.training_info[0])
    del model.training_info[1].update_binding[:]
    bind(model.training_info[1].update_binding, "B=newB")
    with product(build, folder, model) as compiled:
        compiled.call("train_step", {"x": X[0], "t": T[0]})
        w = compiled.state("W")
        assert not np.array_equal(w, W) and np.array_equal(compiled.state("B"), B)
        compiled.call("train_step_2", {"x": X[0], "t": T[0]})
        assert np.array_equal(compiled.state("W"), w) and not np.array_equal(compiled.state("B"), B)
        assert compiled.state("step") == 2 and len(compiled.states) == 3, compiled.states


def a_loss_of_the_caller_s(build, folder):
    done = compile_model(build, folder, make_model(*SGD), "--loss=mse", "--optimizer=sgd,lr=0.1")
    assert done.returncode == 0 and "training_info is left aside" in done.stderr, done.stderr
    with Product(f"{folder}/model.so", "model") as model:
        assert "labels" in [name for name, _, _ in model.inputs]


def options_that_are_the_algorithm_s(build, folder):
    done = compile_model(build, folder, make_model(*SGD), "--clip-norm=1")
    assert done.returncode == 2 and "--clip-norm" in done.stderr and "training_info" in done.stderr, (done.returncode, done.stderr)


def trained_by_command(build, folder):
    """Two epochs over the batches in their order, from the initialization."""
    start = "i () => (float[3,2] w0) { w0 = Constant <value = float[3,2] {1, 2, 3, 4, 5, 6}> () }"
    onnx.save(make_model(*MOMENTUM, start, "W=w0"), f"{folder}/model.onnx")
    np.savez(f"{folder}/data.npz", x=X.reshape(-1, FEATURES), t=T.reshape(-1, 2))
    done = subprocess.run([f"{build}/tools/lapidary", "train", "model.onnx", "--data", "data.npz", "--batch", str(ROWS), "--no-shuffle",
                           "-o", "trained.onnx", "--log", "log.csv"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    losses, w, _ = expected(np.arange(1, 7, dtype=np.float32).reshape(3, 2), B, True)
    logged = [float(line.split(",")[2]) for line in open(f"{folder}/log.csv").read().splitlines()[1:]]
    assert np.allclose(logged, losses, rtol=1e-4), (logged, losses)
    trained = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(f"{folder}/trained.onnx").graph.initializer}
    assert np.allclose(trained["W"], w, rtol=1e-5, atol=1e-6)
    info = onnx.load(f"{folder}/trained.onnx").training_info[0]
    assert {tensor.name: numpy_helper.to_array(tensor) for tensor in info.algorithm.initializer}["count"] == STEPS
    assert not info.initialization.node and not info.initialization_binding
    subprocess.run([f"{build}/tools/lapidary", "train", "-q", "trained.onnx", "--data", "data.npz", "--batch", str(ROWS), "--no-shuffle",
                    "--epochs", "1", "-o", "again.onnx", "--log", "again.csv"], cwd=folder, check=True)
    first = float(open(f"{folder}/again.csv").read().splitlines()[1].split(",")[2])
    d = X[0] @ w + trained["B"] - T[0]
    assert abs(first - (d * d).mean()) < 1e-4, "training goes on from what was trained"


def initialization_apart(build, folder):
    """In an entry of its own, beside the algorithm's."""
    model = make_model(*SGD)
    model.training_info.add().CopyFrom(make_model(*SGD, "i () => (float[2] b0) { b0 = Constant <value = float[2] {0.5, 0.25}> () }", "B=b0").training_info[0])
    del model.training_info[1].update_binding[:]
    with product(build, folder, model) as compiled:
        compiled.call("initialize_2", {})
        assert np.array_equal(compiled.state("B"), [0.5, 0.25]) and len(compiled.states) == 3


def nothing_updated(build, folder):
    model = make_model(*SGD)
    del model.training_info[0].update_binding[:]
    done = compile_model(build, folder, model)
    assert done.returncode == 1 and "updates nothing" in done.stderr, (done.returncode, done.stderr)


def refused(said, **changes):
    def case(build, folder):
        model = make_model(*SGD)
        info = model.training_info[0]
        for field, text in changes.items():
            bind(getattr(info, field), text)
        done = compile_model(build, folder, model)
        assert done.returncode == 1 and said in done.stderr and not os.path.exists(f"{folder}/model.so"), (done.returncode, done.stderr)
    return case


CASES = {
    "gradient descent": sgd,
    "momentum, with states and a count of its own": momentum,
    "initialization": initialization,
    "an output that is an update": output_that_is_an_update,
    "two algorithms": two_algorithms,
    "a loss of the caller's": a_loss_of_the_caller_s,
    "options that are the algorithm's": options_that_are_the_algorithm_s,
    "by lapidary train": trained_by_command,
    "an initialization of its own": initialization_apart,
    "no updates": nothing_updated,
    "an update of no initializer": refused("names 'p', which is no initializer", update_binding="p=newW"),
    "an update by no value": refused("'rate' is to be 'nothing'", update_binding="rate=nothing"),
    "an update of another shape": refused("'rate' is to be 'newW'", update_binding="rate=newW"),
    "an update given twice": refused("has 'W' twice", update_binding="W=newW"),
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    build = os.path.abspath(parser.parse_args().build)

    def checks(case):
        with tempfile.TemporaryDirectory() as folder:
            case(build, folder)
        yield "as it should be", True

    return tally.run((name, lambda case=case: checks(case)) for name, case in CASES.items())


if __name__ == "__main__":
    sys.exit(main())
