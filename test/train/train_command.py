#!/usr/bin/env python3
"""`lapidary train` from end to end: what it writes and says, and that a run which is broken off, by a signal, a full disk or
kill -9 at any moment, goes on from its checkpoint to the bits of one that was not.

    train_command.py --build build [--kills N]      N processes killed; 20 when not given
"""
import argparse
import json
import os
import pty
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..")]
import reference  # noqa: E402
import small  # noqa: E402
import tally  # noqa: E402
import train_cases  # noqa: E402

OPTIMIZER = ("--optimizer", "adamw,lr=0.01")


def merged(arguments):
    """Each option once, as it was said last; logs as often as they are said."""
    options = []
    for word in map(str, arguments):
        if word.startswith("-"):
            options.append([word])
        else:
            options[-1].append(word)
    last = {option[0]: option for option in options}
    return [word for option in options if option is last[option[0]] or option[0] == "--log" for word in option]


class Checks:
    def __init__(self, build, folder, kills):
        self.build, self.folder, self.kills = build, folder, kills
        self.model = small.model(os.path.join(folder, "small.onnx"))
        self.fixed = small.model(os.path.join(folder, "fixed.onnx"), batch=16)
        self.samples = self.save("data.npz", *small.data(100))
        os.environ["TMPDIR"] = os.path.join(folder, "tmp")    # of killed processes
        os.mkdir(os.environ["TMPDIR"])

    def groups(self):
        return [("results", self.results), ("digits", self.digits), ("PyTorch", self.same_as_pytorch), ("batches", self.batches), ("order", self.order), ("dropout", self.dropout), ("validation", self.validation),
                ("logs", self.logs), ("no number", self.no_number), ("gradients", self.gradients), ("what counts", self.what_counts), ("classes last", self.classes_last), ("step told", self.step_told), ("usage", self.usage), ("trained model", self.trained_model),
                ("resume", self.resume), ("interrupt", self.interrupt), ("ended early", self.ended_early), ("ignored", self.ignored_interrupt), ("full disk", self.full_disk), ("killed", self.killed)]

    def digits(self):
        """What scripts/demo trains."""
        at = lambda name: os.path.join(HERE, "..", "..", "examples", "digits", name)  # noqa: E731
        done = self.train("--validation-data", at("held_out.npz"), "--optimizer", "adam,lr=2e-3", "--epochs", 15, "--batch", 50, "--seed", 1,
                          model=at("untrained.onnx"), data=at("training.npz"))
        accuracy = float(done.stdout.split()[-1])
        yield f"held-out pictures told: {accuracy}", done.returncode == 0 and accuracy >= 0.97

    def path(self, name):
        return os.path.join(self.folder, name)

    def save(self, name, x, labels):
        np.savez(self.path(name), x=x, labels=labels)
        return self.path(name)

    def arguments(self, *arguments, model=None, data=None, output="trained.onnx"):
        return ("train", model or self.model,
                *merged(("--data", data or self.samples, *OPTIMIZER, "--threads", 1, "-o", self.path(output), *arguments)))

    def train(self, *arguments, output="trained.onnx", **options):
        if os.path.exists(self.path(output)):
            os.remove(self.path(output))
        return small.lapidary(self.build, *self.arguments(*arguments, output=output, **options), cwd=self.folder)

    def weights(self, output="trained.onnx"):
        path = self.path(output)
        return b"".join(array.tobytes() for array in small.initializers(path).values()) if os.path.exists(path) else None

    def rows(self, name="log.csv"):
        with open(self.path(name)) as file:
            return [line.split(",") for line in file.read().splitlines()[1:]]

    # --- what it makes

    def results(self):
        done = self.train("--epochs", 15, "--batch", 10)
        lines = done.stdout.splitlines()
        yield f"a line for each epoch, and nothing else: {done.stderr.strip()}", len(lines) == 15 and not done.stderr and done.returncode == 0
        accuracy = float(lines[-1].split("accuracy ")[1])
        yield f"it learns: {lines[0]}; {lines[-1]}", accuracy > 0.85
        x, labels = small.data(100)
        scores = onnxruntime.InferenceSession(self.path("trained.onnx")).run(None, {"x": x})[0]
        found = float(np.mean(scores.argmax(1) == labels))
        yield f"the model that it writes has that accuracy: {found}", abs(found - accuracy) < 0.1
        before, after = onnx.load(self.model), onnx.load(self.path("trained.onnx"))
        for model in (before, after):
            del model.graph.initializer[:]
        yield "all else is as it was", before.SerializeToString() == after.SerializeToString()
        done = small.lapidary(self.build, "train", self.model, "--data", self.samples, cwd=self.folder)
        yield f"without -o it is MODEL_trained.onnx: {done.stderr.strip()}", os.path.exists(self.path("small_trained.onnx"))

    def same_as_pytorch(self):
        """The losses that test/train/reference.py holds the library to, by way of a file of samples and a log."""
        with open(os.path.join(HERE, "..", "zoo", "train", "reference.json")) as file:
            expected = json.load(file)["mlp"]["adamw"]["losses"]
        batches = [train_cases.batch("mlp", step) for step in range(len(expected))]
        data = self.save("mlp.npz", np.concatenate([x for x, _ in batches]), np.concatenate([labels for _, labels in batches]))
        done = self.train("--no-shuffle", "--optimizer", "adamw,lr=1e-3,weight_decay=0.01", "--log", "log.csv", data=data,
                          model=reference.model_of("mlp", self.folder))
        errors = [abs(float(row[2]) / loss - 1) for row, loss in zip(self.rows(), expected)]
        yield f"20 losses of mlp, at most {max(errors):.1e} off: {done.stderr.strip()}", len(self.rows()) == len(expected) and max(errors) < 1e-3

    def batches(self):
        done = self.train("--log", "log.csv", "--batch", 30, "--epochs", 2)
        steps = [row[:2] for row in self.rows()]
        yield f"the last batch of 100 by 30 is smaller: {done.stderr.strip()}", steps == [[str(i + 1), str(i // 4 + 1)] for i in range(8)]
        done = self.train("--log", "log.csv", "--epochs", 2, model=self.fixed)
        yield f"a model of 16 leaves the last samples out, and says so: {done.stderr.strip()}", (
            len(self.rows()) == 12 and done.stderr.strip().endswith("the model's batch is 16: the last 4 of 100 samples of an epoch are left out"))
        done = self.train("--batch", 8, model=self.fixed)
        yield f"another batch than the model's: {done.stderr.strip()}", done.returncode == 2 and "batches of 16, not 8" in done.stderr

    def order(self):
        runs = {}
        for what, options in (("seed 1", ("--seed", 1)), ("seed 1 again", ("--seed", 1)), ("seed 2", ("--seed", 2)),
                              ("in order", ("--no-shuffle",)), ("in order, seed 2", ("--no-shuffle", "--seed", 2))):
            self.train("--epochs", 2, "--batch", 10, *options)
            runs[what] = self.weights()
        yield "one seed, the same bits", runs["seed 1"] == runs["seed 1 again"]
        yield "another seed, others", runs["seed 1"] != runs["seed 2"] and runs["seed 1"] != runs["in order"]
        yield "without shuffling the seed does nothing", runs["in order"] == runs["in order, seed 2"]

    def dropout(self):
        """What is dropped depends on the seed alone."""
        nodes = [helper.make_node("Dropout", ["x", "ratio", "training"], ["kept"]), helper.make_node("MatMul", ["kept", "w"], ["logits"])]
        graph = helper.make_graph(nodes, "dropout", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", small.FEATURES])],
                                  [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", small.CLASSES])],
                                  [numpy_helper.from_array(np.ones((small.FEATURES, small.CLASSES), np.float32), "w"),
                                   numpy_helper.from_array(np.float32(0.5), "ratio"), numpy_helper.from_array(np.array(True), "training")])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), self.path("dropout.onnx"))
        options, runs = ("--batch", 10, "--no-shuffle", "--epochs", 2), {}
        for what, more in (("seed 0", ()), ("seed 1", ("--seed", 1)), ("on 2 threads", ("--seed", 1, "--threads", 2)), ("seed 2", ("--seed", 2))):
            self.train(*options, *more, model=self.path("dropout.onnx"))
            runs[what] = self.weights()
        yield "one seed, the same bits", runs["seed 1"] == runs["on 2 threads"]
        yield "another seed, another training", len({runs["seed 0"], runs["seed 1"], runs["seed 2"]}) == 3
        self.remove_points()
        for epochs in (1, 2):
            self.train(*options, "--seed", 1, "--epochs", epochs, "--checkpoint", "point", "--resume", model=self.path("dropout.onnx"))
        yield "broken off, the same bits", runs["seed 1"] == self.weights()
        self.remove_points()

    def validation(self):
        done = self.train("--epochs", 2, "--validation", 0.2, "--batch", 10, "--log", "log.csv")
        yield f"--validation: {done.stdout.splitlines()}", done.stdout.count("validation loss") == 2 and len(self.rows()) == 16
        other = self.save("other.npz", *small.data(50))
        done = self.train("--epochs", 2, "--validation-data", other, "--batch", 10, "--log", "log.csv")
        yield f"--validation-data: {done.stdout.splitlines()}", done.stdout.count("validation accuracy") == 2 and len(self.rows()) == 20
        x, labels = small.data(50)
        wrong = self.save("wrong.npz", x, np.where(np.arange(50) < 15, labels + 1, labels) % small.CLASSES)    # soon too sure of itself
        done = self.train("--epochs", 40, "--validation-data", wrong, "--early-stop", 3, "--batch", 10, "--log", "log.csv")
        epochs = done.stdout.count("epoch ")
        yield f"--early-stop ends after {epochs} epochs: {done.stderr.strip()}", epochs < 20 and "3 epochs without a better" in done.stderr and self.weights()
        yield "and writes the best epoch's model", f"'{self.path('trained.onnx')}' is of epoch {epochs - 3}, " in done.stderr
        best = self.weights()
        options = ("--validation-data", wrong, "--batch", 10)
        yield "which is that of so many epochs", self.train(*options, "--epochs", epochs - 3) and best == self.weights()
        yield "or with --keep best", self.train(*options, "--epochs", epochs, "--keep", "best") and best == self.weights()
        self.train(*options, "--epochs", 40, "--early-stop", 3, "--keep", "last")
        last = self.weights()
        yield "--keep last: the last", self.train(*options, "--epochs", epochs) and last == self.weights() != best
        diverging = ("--validation-data", wrong, "--batch", 10, "--keep", "best", "--schedule", "step,every=10,gamma=1e25")
        self.train(*diverging, "--epochs", 1)
        first = self.weights()
        done = self.train(*diverging, "--epochs", 9)
        yield f"what diverges leaves the best: {done.stderr.strip()}", done.returncode == 1 and "is of epoch 1, " in done.stderr and first == self.weights()
        yield from self.best_resumed((*options, "--early-stop", 3, "--checkpoint", "point"), epochs, best)
        done = self.train("--validation-data", self.save("wrong.npz", x, labels + 1))
        yield f"wrong labels there: {done.stderr.strip()}", done.returncode == 1 and "wrong.npz: array 'labels': label" in done.stderr

    def best_resumed(self, options, epochs, best):
        for every, first in ((10, epochs - 4), (10, epochs - 1), (7, epochs - 1)):
            self.remove_points()
            self.train(*options, "--checkpoint-every", every, "--epochs", first)
            self.train(*options, "--checkpoint-every", every, "--epochs", 40, "--resume")
            yield f"on from epoch {first}: the same model", self.weights() == best
        self.remove_points()
        self.train(*options, "--epochs", epochs - 4)
        older = open(self.path("point"), "rb").read()
        self.train(*options, "--epochs", epochs - 3, "--resume")
        for times in (1, 2):    # as if it had ended between the best states and the checkpoint, once more
            with open(self.path("point"), "wb") as file:
                file.write(older)
            done = self.train(*options, "--epochs", epochs - 4, "--resume")
            yield f"a checkpoint of before, {times}: {done.stderr.strip()}", f"of epoch {epochs - 4}, " in done.stderr
        done = self.train(*options, "--epochs", 40, "--resume")
        yield "goes on to the same model", self.weights() == best
        for name in ("point.best", "point.best.previous"):
            if os.path.exists(self.path(name)):
                os.remove(self.path(name))
        done = self.train(*options, "--epochs", 41, "--resume")
        yield f"without its best states: {done.stderr.strip()}", done.returncode == 1 and "'point.best' is missing" in done.stderr
        done = self.train(*options, "--epochs", 41, "--resume", "--keep", "last")
        yield f"but the last goes on: {done.stderr.strip()}", done.returncode == 0
        self.remove_points()

    def logs(self):
        done = self.train("--epochs", 3, "--batch", 25, "--log", "log.csv", "--log", "log.json", "--plot", "curve.svg", "--validation", 0.25,
                          "--schedule", "linear,total=9,end=0")
        with open(self.path("log.csv")) as file:
            header = file.readline()
        yield f"the columns of .csv: {done.stderr.strip()}", header == "step,epoch,loss,learning_rate,accuracy\n"
        rates = [float(row[3]) for row in self.rows()]
        yield f"the learning rate: {rates}", np.allclose(rates, [0.01 * (1 - i / 9) for i in range(9)], atol=1e-8)
        log = json.load(open(self.path("log.json")))
        yield "steps and epochs of .json", len(log["steps"]) == 9 and len(log["epochs"]) == 3
        last = done.stdout.splitlines()[-1]
        yield f"what was printed: {last}", f"validation loss {log['epochs'][-1]['validation_loss']:.6g}" in last
        plot = open(self.path("curve.svg")).read()
        yield "two curves", plot.startswith("<svg xmlns=") and plot.count("<path") == 2
        done = self.train("--loss", "mse", data=self.save("mse.npz", small.data(100)[0], np.eye(3, dtype=np.float32)[small.data(100)[1]]))
        yield f"no accuracy where there are no classes: {done.stdout.splitlines()}", "loss" in done.stdout and "accuracy" not in done.stdout
        master, slave = pty.openpty()
        process = subprocess.Popen([os.path.join(os.path.abspath(self.build), "tools", "lapidary"), *map(str, self.arguments("--epochs", 3))],
                                   stdout=subprocess.DEVNULL, stderr=slave)
        os.close(slave)
        process.wait(60)
        shown = os.read(master, 65536).decode()
        os.close(master)
        yield f"a line of progress on a terminal: {shown[:60]!r}", "epoch 1/3, step 1/12, loss " in shown

    def no_number(self):
        x, labels = small.data(100)
        target = np.eye(small.CLASSES, dtype=np.float32)[labels]
        target[50] = 1e30
        options = ("--batch", 10, "--no-shuffle", "--loss", "mse")
        data = self.save("large.npz", x, target)
        done = self.train(*options, "--log", "log.csv", data=data)
        yield f"stop: {done.stderr.strip()}", done.returncode == 1 and done.stderr.startswith("step 6: the loss is inf") and self.weights() is None
        yield "the log holds that step", len(self.rows()) == 6
        done = self.train(*options, "--on-nan", "skip", "--log", "log.csv", data=data)
        said = done.stderr.splitlines()
        yield f"skip: {said}", done.returncode == 0 and said[0].startswith("warning: step 6: the loss is inf") and len(said) == 2
        skipped = self.weights()
        self.train(*options, data=self.save("rest.npz", np.delete(x, range(50, 60), 0), np.delete(target, range(50, 60), 0)))
        yield "as if that batch had not been there", skipped is not None and skipped == self.weights()
        done = self.train(*options, "--on-nan", "skip", "--epochs", 20, data=self.save("all.npz", x, target * 0 + np.float32(1e30)))
        yield f"nothing but such steps: {done.stderr.splitlines()[-1]}", done.returncode == 1 and "as in the steps before" in done.stderr

    def gradients(self):
        """sqrt(|w·0|): a loss that is a number, with a gradient that is none."""
        nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Sub", ["h", "h"], ["zero"]),
                 helper.make_node("Sqrt", ["zero"], ["root"]), helper.make_node("Add", ["h", "root"], ["logits"])]
        graph = helper.make_graph(nodes, "root", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", small.FEATURES])],
                                  [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", small.CLASSES])],
                                  [numpy_helper.from_array(np.ones((small.FEATURES, small.CLASSES), np.float32), "w")])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), self.path("root.onnx"))
        for options in ((), ("--clip-norm", 1)):
            done = self.train("--batch", 100, *options, model=self.path("root.onnx"))
            yield f"{options}: {done.stderr.strip()}", (
                done.returncode == 1 and done.stderr.startswith("step 1: a gradient is not finite") and self.weights() is None)
        done = self.train("--batch", 100, "--on-nan", "skip", model=self.path("root.onnx"))
        yield f"skipped: {done.stderr.strip()}", done.returncode == 0 and np.all(small.initializers(self.path("trained.onnx"))["w"] == 1)
        done = self.train("--batch", 100, "--no-check-gradients", model=self.path("root.onnx"))
        yield f"unseen, it is not written: {done.stderr.strip()}", (
            done.returncode == 1 and "'w' is not finite any more" in done.stderr and self.weights() is None)
        x, labels = small.data(20)
        target = np.full((20, small.CLASSES), 1e30, np.float32)
        done = self.train("--loss", "mse", "--validation-data", self.save("far.npz", x, target), data=self.save("near.npz", x, target * 0), *("--batch", 10))
        yield f"a validation loss: {done.stderr.strip()}", done.returncode == 1 and "epoch 1: the validation loss is inf" in done.stderr

    def what_counts(self):
        x, labels = small.data(100)
        for ignored in (50, 100):
            data = self.save("ignored.npz", x, np.where(np.arange(100) < ignored, -100, labels))
            done = self.train("--batch", 10, "--epochs", 40, "--log", "log.json", "--no-shuffle", data=data)
            last = json.load(open(self.path("log.json")))["epochs"][-1]
            yield f"{ignored} of 100 are ignored: {last} {done.stderr}", done.returncode == 0 and (
                last["accuracy"] is None and last["loss"] is None if ignored == 100 else last["accuracy"] > 0.7 and last["loss"] > 0)
        done = self.train("--batch", 10, "--accumulate", 4)
        yield f"what does not come out even: {done.stderr.strip()}", "the last 2 steps moved nothing" in done.stderr

    def classes_last(self):
        """Scores [N, 4, C], as a language model gives them."""
        nodes = [helper.make_node("MatMul", ["x", "w"], ["logits"])]
        graph = helper.make_graph(nodes, "places", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4, small.FEATURES])],
                                  [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 4, small.CLASSES])],
                                  [numpy_helper.from_array(np.ones((small.FEATURES, small.CLASSES), np.float32), "w")])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), self.path("places.onnx"))
        x, labels = small.data(100)
        x, labels = x.reshape(25, 4, -1), labels.reshape(25, 4)
        options = ("--loss", "softmax_cross_entropy,class_axis=-1", "--epochs", 40, "--batch", 5)
        done = self.train(*options, data=self.save("places.npz", x, labels), model=self.path("places.onnx"))
        yield f"it learns: {done.stdout.splitlines()[-1:]} {done.stderr.strip()}", float(done.stdout.split("accuracy ")[-1]) > 0.85
        labels[2, 3] = small.CLASSES
        done = self.train(*options, data=self.save("places.npz", x, labels), model=self.path("places.onnx"))
        yield f"no such class: {done.stderr.strip()}", done.returncode == 1 and "label 11 is 3, the model has 3 classes" in done.stderr

    def step_told(self):
        """A row of an embedding that is not there."""
        nodes = [helper.make_node("Gather", ["table", "x"], ["logits"])]
        graph = helper.make_graph(nodes, "rows", [helper.make_tensor_value_info("x", TensorProto.INT64, ["N"])],
                                  [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", small.CLASSES])],
                                  [numpy_helper.from_array(np.ones((5, small.CLASSES), np.float32), "table")])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), self.path("rows.onnx"))
        index = np.zeros(20, np.int64)
        index[13] = 7
        data = self.save("rows.npz", index, np.zeros(20, np.int64))
        done = self.train("--batch", 2, "--no-shuffle", "--log", "log.csv", data=data, model=self.path("rows.onnx"))
        yield f"its place: {done.stderr.strip()}", done.returncode == 1 and done.stderr.startswith("train_step 7, samples 12, 13 of the data: ")
        yield "the log holds the steps before", len(self.rows()) == 6

    def usage(self):
        for what, arguments, expected in (
                ("--early-stop alone", ("--early-stop", 2), "--early-stop needs --validation"),
                ("--keep best alone", ("--keep", "best"), "--keep best needs --validation"),
                ("--learning-rate alone", ("--learning-rate", 0.1), "--learning-rate needs --resume"),
                ("--resume alone", ("--resume",), "need --checkpoint"),
                ("two validations", ("--validation", 0.1, "--validation-data", self.samples), "only one of them"),
                ("--scale", ("--scale", "1/0"), "--scale takes a number or 1/255"),
                ("a log of another kind", ("--log", "log.txt"), "--log takes a .csv or .json file"),
                ("the model would be overwritten", ("-o", self.model), "would be overwritten"),
                ("one file twice", ("--log", "x.csv", "--log", "x.csv"), "'x.csv' would be written twice"),
                ("one file by two paths", ("--plot", "./x.onnx", "-o", os.path.join(self.folder, "x.onnx")), "would be written twice"),
                ("nesterov alone", ("--optimizer", "sgd,nesterov=1"), "nesterov needs a momentum"),
                ("a negative weight", ("--class-weights", "1,-1,1"), "-1 is no weight"),
                ("no weight at all", ("--class-weights", "0,0,0"), "all are 0"),
                ("the model where the checkpoint is", ("--checkpoint", "x.onnx", "-o", "x.onnx"), "'x.onnx' would be written twice"),
                ("no epochs", ("--epochs", 0), "--epochs"),
                ("no such loss", ("--loss", "none_such"), "no loss 'none_such'")):
            done = self.train(*arguments)
            yield f"{what}: {done.stderr.strip()}", done.returncode == 2 and expected in done.stderr and done.stderr.count("\n") == 1
        done = self.train("--checkpoint", self.model)
        yield f"the model as a checkpoint: {done.stderr.strip()}", done.returncode == 2 and "would be overwritten" in done.stderr
        for option, name in (("-o", "x.onnx"), ("--log", "x.csv"), ("--plot", "x.svg"), ("--checkpoint", "x")):
            done = self.train("--epochs", 1000000, option, os.path.join("no", name))
            yield f"no folder for {option}: {done.stderr.strip()}", done.returncode == 4 and f"cannot write 'no/{name}'" in done.stderr

    def trained_model(self):
        self.train("--batch", 10)
        expected = self.weights()
        os.makedirs(self.path("apart"), exist_ok=True)
        outside = small.model(self.path("apart/small.onnx"), external="weights.bin")
        done = self.train("--batch", 10, model=outside)
        yield f"weights beside the model are inside of the trained one: {done.stderr.strip()}", self.weights() == expected
        rng = np.random.default_rng(2)
        weight = {"w": rng.standard_normal((small.CLASSES, small.FEATURES)), "scale": np.ones(small.CLASSES), "offset": np.zeros(small.CLASSES),
                  "mean": np.zeros(small.CLASSES), "variance": np.ones(small.CLASSES)}
        nodes = [helper.make_node("Gemm", ["x", "w"], ["h"], transB=1),
                 helper.make_node("BatchNormalization", ["h", "scale", "offset", "mean", "variance"],
                                  ["logits", "new_mean", "new_variance"], training_mode=1)]
        graph = helper.make_graph(nodes, "normed", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", small.FEATURES])],
                                  [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", small.CLASSES])],
                                  [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weight.items()])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), self.path("normed.onnx"))
        done = self.train("--batch", 10, "--epochs", 3, "--freeze", "scale", model=self.path("normed.onnx"))
        found = small.initializers(self.path("trained.onnx")) if done.returncode == 0 else {}
        moved = {name for name, value in found.items() if not np.array_equal(value, weight[name].astype(np.float32))}
        yield f"statistics move, what is frozen does not: {sorted(moved)} {done.stderr}", moved == set(weight) - {"scale"}

    # --- broken off

    RUN = ("--epochs", 6, "--batch", 7, "--seed", 5, "--validation", 0.1, "--checkpoint", "point", "--checkpoint-every", 4)

    def remove_points(self):
        for name in os.listdir(self.folder):
            if name.startswith("point"):
                os.remove(self.path(name))

    @staticmethod
    def log_files(name):
        return "--log", name + ".csv", "--log", name + ".json", "--plot", name + ".svg"

    def unbroken(self):
        self.remove_points()
        done = self.train(*self.RUN, *self.log_files("whole"), output="whole.onnx")
        assert done.returncode == 0, done.stderr
        return self.weights("whole.onnx"), done.stdout

    def resume(self):
        expected, said = self.unbroken()
        for epochs in (1, 3, 5):
            self.remove_points()
            first = self.train(*self.RUN, *self.log_files("log"), "--epochs", epochs)
            second = self.train(*self.RUN, *self.log_files("log"), "--resume")
            yield f"after {epochs} of 6 epochs: the same bits: {second.stderr.strip()}", self.weights() == expected
            yield "the same lines", first.stdout.replace(f"/{epochs},", "/6,") + second.stdout == said
            yield "the same logs and plot", all(open(self.path("log" + kind)).read() == open(self.path("whole" + kind)).read()
                                                for kind in (".csv", ".json", ".svg"))
            second = self.train(*self.RUN, *self.log_files("log")[:2], "--resume")
            yield "the same .csv log alone", open(self.path("log.csv")).read() == open(self.path("whole.csv")).read()
        again = self.train(*self.RUN, "--resume")
        yield f"nothing is left to do: {again.stderr}", again.returncode == 0 and not again.stdout and self.weights() == expected
        for what, options in (("--seed", ("--seed", 6)), ("--batch", ("--batch", 8)), ("--shuffle", ("--no-shuffle",)),
                              ("samples", ("--validation", 0.2))):
            done = self.train(*self.RUN, *options, "--resume")
            yield f"another {what}: {done.stderr.strip()}", done.returncode == 2 and what in done.stderr
        x, labels = small.data(100)
        for what, options in (("--optimizer", ("--optimizer", "adamw,lr=0.02")), ("--loss", ("--loss", "softmax_cross_entropy,label_smoothing=0.1")),
                              ("--schedule", ("--schedule", "cosine,total=50")), ("--clip-norm", ("--clip-norm", 1)), ("--numerics", ("--numerics", "strict")), ("data", ())):
            data = self.save("moved.npz", -x, labels) if what == "data" else self.samples
            done = self.train(*self.RUN, *options, "--resume", data=data)
            yield f"another {what}: {done.stderr.strip()}", done.returncode == 2 and f"of a run with {what} " in done.stderr
        done = self.train(*self.RUN, "--resume", "--epochs", 7, "--learning-rate", 0.5, *self.log_files("log")[:4])
        rates = [row[3] for row in self.rows()]
        yield f"another learning rate: {done.stderr.strip()}", "the learning rate is 0.5 from here on, and was 0.01" in done.stderr and rates[-13:] == ["0.5"] * 13
        self.train(*self.RUN, "--resume", "--epochs", 8, *self.log_files("log")[:4])
        yield "which it keeps", [row[3] for row in self.rows()] == rates + ["0.5"] * 13
        self.train(*self.RUN)
        done = self.train(*self.RUN, "--resume", "--optimizer", "sgd")
        yield f"another optimizer: {done.stderr.strip()}", done.returncode == 1 and "another model or optimizer" in done.stderr
        with open(self.path("point"), "r+b") as file:
            file.truncate(500)
        done = self.train(*self.RUN, "--resume")
        yield f"a damaged checkpoint: {done.stderr.strip()}", "loaded the one before it" in done.stderr and self.weights() == expected
        self.remove_points()
        done = self.train(*self.RUN, "--resume")
        yield f"none yet: {done.stderr.strip()}", "training begins" in done.stderr and self.weights() == expected

    def started(self, *arguments, **options):
        return subprocess.Popen([os.path.join(os.path.abspath(self.build), "tools", "lapidary"), *map(str, self.arguments(*arguments))],
                                cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)

    def interrupt(self):
        long = ("--epochs", 3000, "--batch", 7, "--checkpoint", "point", "--log", "log.csv")
        for number in (signal.SIGINT, signal.SIGTERM):
            self.remove_points()
            if os.path.exists(self.path("trained.onnx")):
                os.remove(self.path("trained.onnx"))
            process = self.started(*long, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))    # whatever this one was given
            process.stdout.readline()
            process.send_signal(number)
            _, said = process.communicate(timeout=60)
            yield f"{number.name}: {process.returncode}, {said.strip()}", (
                process.returncode == 130 and "\ninterrupted: " in said and self.weights() and os.path.exists(self.path("point")))
            steps = len(self.rows())
            done = self.train(*long[2:], "--epochs", steps // 15 + 2, "--resume")
            broken_off = self.weights()
            self.remove_points()
            self.train(*long[2:], "--epochs", steps // 15 + 2)
            yield f"goes on behind step {steps}: {done.stderr.strip()}", f"behind step {steps}" in done.stderr and broken_off == self.weights()

    def ended_early(self):
        """Before training begins a signal ends the process at once; the library that it compiles is not left."""
        folder = os.environ["TMPDIR"]
        for number in (signal.SIGINT, signal.SIGTERM):
            for _ in range(10):    # until it was no later than that
                process = self.started("--epochs", 300000, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
                while process.poll() is None and not os.listdir(folder):
                    pass
                process.send_signal(number)
                process.communicate(timeout=60)
                if process.returncode == -number:
                    break
            left = os.listdir(folder)
            yield f"{number.name}: {process.returncode}, left {left}", process.returncode == -number and not left

    def ignored_interrupt(self):
        """As nohup starts it."""
        process = self.started("--epochs", 300, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        left = os.listdir(os.environ["TMPDIR"])
        said, wrong = process.communicate(timeout=60)
        yield f"it goes on: {process.returncode} {wrong}", process.returncode == 0 and "epoch 300/300" in said
        yield f"the compiled library is in no file meanwhile: {left}", not left

    def full_disk(self):
        expected, _ = self.unbroken()
        self.remove_points()
        self.train(*self.RUN, "--epochs", 2)
        size = os.path.getsize(self.path("point"))
        process = self.started(*self.RUN, "--epochs", 1000, "--resume", preexec_fn=lambda: signal.signal(signal.SIGXFSZ, signal.SIG_IGN))
        process.stdout.readline()    # steps are made
        if os.path.exists(self.path("trained.onnx")):
            os.remove(self.path("trained.onnx"))
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size // 2, size // 2))
        _, said = process.communicate(timeout=60)
        yield f"warnings say so: {said.splitlines()[-1:]}", "checkpoint 'point': File too large" in said
        yield f"the trained model is written all the same: {process.returncode}", process.returncode == 4 and self.weights() is not None
        yield f"nothing half-made is left: {os.listdir(self.folder)}", not [name for name in os.listdir(self.folder) if name.endswith((".new", ".old"))]
        done = self.train(*self.RUN, "--epochs", 1, "--resume")
        yield f"the checkpoint is whole: {done.stderr.strip()}", done.returncode == 0 and "loaded the one before" not in done.stderr
        self.remove_points()
        self.train(*self.RUN, "--epochs", 2)
        self.train(*self.RUN, "--resume")
        yield "and with room it goes on to the same bits", self.weights() == expected

    def killed(self):
        options = (*self.RUN, "--epochs", 25, "--checkpoint-every", 1, "--resume")
        self.remove_points()
        process = self.started(*options)
        process.stdout.readline()
        start = time.time()
        process.communicate()
        length, expected = time.time() - start, self.weights()
        rng, wrong, fallen_back, resumed = random.Random(9), [], 0, 0
        self.remove_points()
        for number in range(self.kills):
            process = self.started(*options)
            process.stdout.readline()    # steps are made
            time.sleep(rng.uniform(0, 0.9) * length)
            process.kill()
            process.communicate()
            if rng.random() < 0.4:    # and again from there
                continue
            done = self.train(*options)
            resumed += "going on" in done.stderr
            fallen_back += "loaded the one before" in done.stderr
            if self.weights() != expected:
                wrong.append((number, done.stderr))
            self.remove_points()
        done = self.train(*options)
        yield f"{self.kills} processes killed, {resumed} went on, {fallen_back} from the checkpoint before: {wrong}", (
            not wrong and resumed > 0 and self.weights() == expected)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--only", help="groups whose name holds this text")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        groups = Checks(args.build, folder, args.kills).groups()
        return tally.run([group for group in groups if not args.only or args.only in group[0]])


if __name__ == "__main__":
    sys.exit(main())
