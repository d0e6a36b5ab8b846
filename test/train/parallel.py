#!/usr/bin/env python3
"""Data-parallel training is training with the whole batch: several ranks, each with its share, beside one process.

    parallel.py --build build

First through the C interface, with ranks that are threads here and sum in Python; then `lapidary train` under mpirun.
Losses must agree within 1e-6 and parameters within 1e-5, whatever the shares, a share of nothing included.
"""
import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, ".."), os.path.join(HERE, "..", "cuda"), os.path.join(HERE, "..", "zoo")]
import emulate  # noqa: E402
import reference  # noqa: E402
import small  # noqa: E402
import tally  # noqa: E402
from product import DTYPES, Product, ProductError, Reducer  # noqa: E402

LOSS, STATE = 1e-6, 1e-5
STEPS, ROWS = 4, 9
PARALLEL = ("--data-parallel", "--bucket-bytes", 64)    # each gradient of the small model is a bucket, but for one


class Ranks:
    """Threads that sum: each start hands over what lies there, each finish waits for all and puts the sum in its place."""

    def __init__(self, count):
        self.count, self.turn = count, threading.Condition()
        self.given = {}    # number of the sum -> arrays of the ranks
        self.events = [[] for _ in range(count)]

    def reducer(self, rank):
        started = []    # (address, number) of those that are not finished

        def array(data, count, dtype):
            return np.frombuffer((ctypes.c_char * (count * np.dtype(DTYPES[dtype]).itemsize)).from_address(data), DTYPES[dtype])

        def start(_, data, count, dtype):
            with self.turn:
                number = sum(event == "start" for event, _ in self.events[rank])
                self.events[rank].append(("start", count))
                self.given.setdefault(number, {})[rank] = array(data, count, dtype).copy()
                started.append((data, number, array(data, count, dtype)))
                self.turn.notify_all()
            return 0

        def finish(_, data):
            with self.turn:
                for entry in [entry for entry in started if data in (None, entry[0])]:
                    parts = self.given[entry[1]]
                    if not self.turn.wait_for(lambda: len(parts) == self.count, 20):
                        return 1
                    self.events[rank].append(("finish", len(entry[2])))
                    entry[2][:] = sum(parts[r] for r in range(self.count))
                    started.remove(entry)
            return 0

        return Reducer(rank=rank, ranks=self.count, start=Reducer.START(start), finish=Reducer.FINISH(finish))


def dropout_model(path):
    """y = dropout(x) · w: its loss, the mean of y, says what was dropped."""
    nodes = [helper.make_node("Dropout", ["x", "half", "yes"], ["d"]), helper.make_node("MatMul", ["d", "w"], ["y"]),
             helper.make_node("ReduceMean", ["y"], ["mean"], keepdims=0)]
    tensors = [numpy_helper.from_array(np.ones((16, 1), np.float32), "w"), numpy_helper.from_array(np.float32(0.5), "half"),
               numpy_helper.from_array(np.bool_(True), "yes")]
    graph = helper.make_graph(nodes, "drops", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 16])],
                              [helper.make_tensor_value_info("mean", TensorProto.FLOAT, [])], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def batch(step, loss):
    x, labels = small.data(STEPS * ROWS)
    rows = slice(step * ROWS, step * ROWS + ROWS)
    targets = labels if "cross_entropy" in loss else np.random.default_rng(step).standard_normal((STEPS * ROWS, small.CLASSES)).astype(np.float32)
    return x[rows], targets[rows]


def steps(product, share, loss, entry="train_step", results=("loss", "correct")):
    found = []
    for step in range(STEPS):
        x, labels = (part[share] for part in batch(step, loss))
        outputs = product.call(entry, {"x": x, "labels": labels})
        found.append([float(outputs[name]) for name in results if name in outputs])
    return np.array(found)


def at_once(functions):
    """What each gives, in threads of their own; the first error is everybody's."""
    results, errors = [None] * len(functions), []

    def call(i):
        try:
            results[i] = functions[i]()
        except Exception as error:
            errors.append(error)
    threads = [threading.Thread(target=call, args=(i,)) for i in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


def normed_model(path):
    """x [N, 4, 5] → batch normalisation, which trains, and a product."""
    rng = np.random.default_rng(5)
    weights = {"scale": np.ones(4), "shift": np.zeros(4), "mean": np.zeros(4), "variance": np.ones(4), "w": rng.standard_normal((20, small.CLASSES))}
    nodes = [helper.make_node("BatchNormalization", ["x", "scale", "shift", "mean", "variance"], ["n", "new_mean", "new_variance"], training_mode=1),
             helper.make_node("Flatten", ["n"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"])]
    graph = helper.make_graph(nodes, "normed", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4, 5])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", small.CLASSES])],
                              [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


class Checks:
    def __init__(self, build, folder):
        self.build, self.folder, self.count = os.path.abspath(build), folder, 0
        self.model = small.model(os.path.join(folder, "small.onnx"))
        self.program = os.path.join(self.build, "tools", "lapidary")
        self.data = self.save("data.npz", *small.data(100))

    def groups(self):
        return [("shares", self.shares), ("options", self.options), ("order", self.order), ("dropout", self.dropout), ("failures", self.failures),
                ("models", self.models), ("CUDA", self.cuda), ("mpirun", self.same_under_mpirun), ("batch normalisation", self.statistics), ("going on", self.resume),
                ("devices", self.devices), ("errors", self.errors), ("breaking off", self.breaking_off)]

    def library(self, *options, model=None):
        self.count += 1
        path = os.path.join(self.folder, f"m{self.count}.so")
        emulate.lapidary(self.build, "compile", "-q", model or self.model, "-o", path, "--train", *map(str, options))
        return path

    @contextlib.contextmanager
    def instances(self, libraries, ranks):
        with contextlib.ExitStack() as stack:
            yield [stack.enter_context(Product(library, threads=1, reducer=ranks.reducer(rank))) for rank, library in enumerate(libraries)]

    def same(self, sizes, *options, loss_bound=LOSS, state_bound=STATE):
        """(text, holds): ranks with shares of these sizes beside one process."""
        loss = options[options.index("--loss") + 1] if "--loss" in options else "softmax_cross_entropy"
        ends = np.cumsum(sizes)
        shares = [slice(end - size, end) for end, size in zip(ends, sizes)]
        ranks, library = Ranks(len(sizes)), self.library(*PARALLEL, *options)
        with Product(self.library(*options), threads=1) as alone, self.instances([library] * len(sizes), ranks) as products:
            expected = np.vstack([steps(alone, slice(None), loss), steps(alone, slice(None), loss, "eval_step")])
            found = at_once([lambda p=p, s=s: np.vstack([steps(p, s, loss), steps(p, s, loss, "eval_step")]) for p, s in zip(products, shares)])
            losses = max(np.abs(each - expected).max() for each in found)
            states = max(np.abs(p.state(name) - alone.state(name)).max() for p in products for name in alone.states)
            equal = all(np.array_equal(products[0].state(name), p.state(name)) for p in products for name in alone.states)
        return f"losses {losses:.0e}, states {states:.0e} off", losses <= loss_bound and states <= state_bound and equal

    def shares(self):
        for sizes in ((5, 4), (8, 1), (9, 0), (0, 9), (4, 3, 2)):
            text, holds = self.same(sizes, "--optimizer", "adamw,lr=0.01")
            yield f"{sizes}: {text}", holds

    def options(self):
        for options in (("--optimizer", "sgd,lr=0.1,momentum=0.9"), ("--optimizer", "sgd,lr=0.1", "--clip-norm", 0.1),
                        ("--optimizer", "adamw,lr=0.01", "--accumulate", 2, "--clip-norm", 0.2),
                        ("--loss", "softmax_cross_entropy,ignore_index=1"), ("--loss", "softmax_cross_entropy,label_smoothing=0.1"),
                        ("--class-weights", "1,3,0.5"), ("--loss", "mse"), ("--loss", "huber,delta=0.5"), ("--loss", "bce_with_logits"),
                        ("--loss", "l1")):
            text, holds = self.same((6, 3), *options)
            yield f"{' '.join(map(str, options))}: {text}", holds
        text, holds = self.same((6, 3), "--optimizer", "sgd,lr=0.1", "--precision", "f16", loss_bound=1e-4, state_bound=1e-4)
        yield f"gradients rounded to f16: {text}", holds

    def order(self):
        """Of a step's sums: count of what counts, loss, correct, then the buckets, each on its way before the next is there."""
        ranks, library = Ranks(2), self.library(*PARALLEL)
        x, labels = batch(0, "softmax_cross_entropy")
        with self.instances([library] * 2, ranks) as products:
            at_once([lambda p=p: p.call("train_step", {"x": x, "labels": labels}) for p in products])
        events = ranks.events[0]
        starts = [count for event, count in events if event == "start"]
        yield f"starts {starts}, the same on both", starts == [1, 1, 1, 27, 8 + 48] and events == ranks.events[1]
        first_wait = next(i for i, event in enumerate(events) if event == ("finish", 27))
        yield "all are on their way before one is waited for", sum(event == "start" for event, _ in events[:first_wait]) == 5
        yield "what is reported is awaited last", [count for event, count in events if event == "finish"][-2:] == [1, 1]

    def dropout(self):
        model = dropout_model(os.path.join(self.folder, "drops.onnx"))
        options = ("--loss", "none", "--optimizer", "sgd,lr=0")
        x = np.ones((4, 16), np.float32)
        both, ranks = np.concatenate([x, x]), Ranks(2)
        with Product(self.library(*options, model=model)) as alone, self.instances([self.library(*PARALLEL, *options, model=model)] * 2, ranks) as products:
            one = [float(alone.call("train_step", {"x": x})["loss"]) for _ in range(6)]
            two = at_once([lambda p=p: [float(p.call("train_step", {"x": x})["loss"]) for _ in range(6)] for p in products])
            own = [2 * mean - first for mean, first in zip(two[0], one)]    # of rank 1
            yield f"rank 0 drops as one process does, rank 1 otherwise: {one[:3]}, {own[:3]}", (
                two[0] == two[1] and all(8 * mean % 1 == 0 and 0 < mean < 32 for mean in own) and own != one)
            found = at_once([lambda p=p: float(p.call("eval_step", {"x": both})["loss"]) for p in products])
            yield f"a loss of the model's own is a mean over samples: {found}", found == [16, 16]

    def models(self):
        """Two ranks with one and the same batch do what one does, to the bit: twice a sum, over twice the count."""
        for name in ("cnn_digits", "transformer"):
            model = reference.model_of(name, self.folder)
            x, labels = reference.batch(name, 0)

            def losses(product):
                return [float(product.call("train_step", {product.inputs[0][0]: x, "labels": labels})["loss"]) for _ in range(2)]
            ranks, library = Ranks(2), self.library("--data-parallel", "--bucket-bytes", 100000, model=model)
            with Product(self.library(model=model), threads=1) as alone, self.instances([library] * 2, ranks) as products:
                expected, found = losses(alone), at_once([lambda p=p: losses(p) for p in products])
                same = all(np.array_equal(alone.state(name), p.state(name)) for p in products for name in alone.states)
                sums = sum(event == "start" for event, _ in ranks.events[0]) // 2
            yield f"{name}, {sums} sums a step: {found[0]}", found == [expected] * 2 and same and sums > 4

    def failures(self):
        def status(action):
            try:
                action()
            except ProductError as error:
                return error.args
            return (0, "")
        plain, parallel = self.library(), self.library(*PARALLEL)
        yield "a reducer for a product that sums nothing", status(lambda: Product(plain, reducer=Ranks(1).reducer(0)))[0] == 1
        wrong = Ranks(1).reducer(0)
        wrong.rank = 1
        yield "rank 1 of 1", status(lambda: Product(parallel, reducer=wrong))[0] == 1
        wrong = Ranks(1).reducer(0)
        wrong.on_device = 1
        yield "one on a device for a product without", status(lambda: Product(parallel, reducer=wrong))[0] == 1
        x, labels = batch(0, "softmax_cross_entropy")
        for what in ("start", "finish"):
            failing = Ranks(1).reducer(0)
            setattr(failing, what, getattr(Reducer, what.upper())(lambda *_: 1))
            with Product(parallel, reducer=failing) as product:
                code, text = status(lambda: product.call("train_step", {"x": x, "labels": labels}))
            yield f"{what} fails: {text}", code == 7 and f"{what}ing a sum over 1 ranks failed" in text
        with Product(parallel) as alone:
            yield "without a reducer it is one rank", np.isfinite(alone.call("train_step", {"x": x, "labels": labels})["loss"])

    def cuda(self):
        """A device's rank beside a CPU's, on the stand-in driver with emulated kernels."""
        emulate.Driver(self.build)
        options = ("--optimizer", "sgd,lr=0.1,momentum=0.9")
        target = ("--target", "cuda:sm_80")
        emulate.use_kernels(self.model, self.build, target[1], ["--train", *map(str, PARALLEL), *options])
        ranks = Ranks(2)
        with Product(self.library(*options), threads=1) as alone, self.instances(
                [self.library(*PARALLEL, *options, *target), self.library(*PARALLEL, *options)], ranks) as products:
            expected = steps(alone, slice(None), "softmax_cross_entropy")
            found = at_once([lambda p=p, s=s: steps(p, s, "softmax_cross_entropy") for p, s in zip(products, (slice(0, 5), slice(5, 9)))])
            off = np.abs(found[0] - expected).max()
            yield f"losses {off:.0e} off", off <= LOSS and np.array_equal(*found)
            off = max(np.abs(p.state(name) - alone.state(name)).max() for p in products for name in alone.states)
            yield f"states {off:.0e} off", off <= STATE

    # --- lapidary train under mpirun

    def path(self, name):
        return os.path.join(self.folder, name)

    def save(self, name, x, labels):
        np.savez(self.path(name), x=x, labels=labels)
        return self.path(name)

    def arguments(self, output, *options, model=None, data=None):
        return [str(word) for word in (self.program, "train", model or self.model, "--data", data or self.data, "--threads", 1, "-o",
                                       self.path(output), *options)]

    def alone(self, output, *options, **files):
        return small.without_count(subprocess.run(self.arguments(output, *options, **files), capture_output=True, text=True, timeout=120, cwd=self.folder))

    @staticmethod
    def mpirun(ranks):
        return ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-np", str(ranks)]

    def together(self, output, *options, ranks=2, environment=None, **files):
        command = [*self.mpirun(ranks), *self.arguments(output, "--data-parallel", "--bucket-bytes", 64, *options, **files)]
        return small.without_count(subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=self.folder,
                                                  env=dict(os.environ, **(environment or {}))))

    def losses(self, name):
        with open(self.path(name)) as file:
            return np.array([float(line.split(",")[2]) for line in file.read().splitlines()[1:]])

    def compared(self, alone, together):
        """(text, holds) of the logs and models of these names."""
        one, two = self.losses(alone + ".csv"), self.losses(together + ".csv")
        losses = np.abs(one / two - 1).max() if len(one) == len(two) > 0 else np.inf
        before, after = (small.initializers(self.path(name + ".onnx")) for name in (alone, together))
        weights = max(np.abs(after[name] - value).max() for name, value in before.items())
        return f"{len(two)} losses {losses:.0e}, weights {weights:.0e} off", losses <= LOSS and weights <= STATE

    def same_under_mpirun(self):
        x, labels = small.data(100)
        labels[np.arange(100) % 30 < 15] = 1    # of each batch of 30 what the first rank gets
        ignoring = self.save("ignoring.npz", x, labels)
        cases = [(2, ("--optimizer", "sgd,lr=0.1", "--batch", 30), {}), (2, ("--optimizer", "adamw,lr=0.01", "--batch", 33), {}),
                 (3, ("--optimizer", "sgd,lr=0.1,momentum=0.9", "--clip-norm", 0.1, "--batch", 30), {}),
                 (2, ("--optimizer", "adamw,lr=0.01", "--accumulate", 2, "--clip-norm", 0.2, "--batch", 15), {}),
                 (2, ("--loss", "softmax_cross_entropy,ignore_index=1", "--no-shuffle", "--batch", 30), {"data": ignoring})]
        for ranks, options, files in cases:
            both = (*options, "--epochs", 3, "--validation", 0.1)
            one = self.alone("one.onnx", *both, "--log", "one.csv", **files)
            two = self.together("two.onnx", *both, "--log", "two.csv", ranks=ranks, **files)
            text, holds = self.compared("one", "two")
            yield f"{ranks} ranks, {' '.join(map(str, options))}: {text}", holds
            yield f"and says the same once: {two.stderr.strip()}", two.stdout == one.stdout and two.returncode == 0 and not two.stderr
        one = self.alone("one.onnx", "--log", "one.csv", model=small.model(self.path("sixteen.onnx"), batch=16))
        two = self.together("two.onnx", "--log", "two.csv", "--batch", 16, model=small.model(self.path("eight.onnx"), batch=8))
        text, holds = self.compared("one", "two")
        yield f"a model of batches of 8 on two ranks is one of 16: {text}", holds and one.stderr == two.stderr

    def statistics(self):
        """Of all ranks the first one's are kept; validation is with those."""
        rng, model = np.random.default_rng(3), normed_model(self.path("normed.onnx"))
        data = self.save("normed.npz", rng.standard_normal((60, 4, 5)).astype(np.float32), rng.integers(0, small.CLASSES, 60))
        done = self.together("two.onnx", "--batch", 20, "--epochs", 2, "--validation-data", data, "--no-shuffle", model=model, data=data)
        trained = small.initializers(self.path("two.onnx"))
        with np.load(data) as arrays:
            mean, start = trained["mean"], np.zeros(4)
            for _ in range(2):
                for first in range(0, 60, 20):    # of rank 0's half
                    start = 0.9 * start + 0.1 * arrays["x"][first:first + 10].mean((0, 2))
            yield f"the mean that moved is rank 0's: {done.stderr.strip()}", np.abs(mean - start).max() < 1e-5
            x = (arrays["x"] - mean[:, None]) / np.sqrt(trained["variance"][:, None] + 1e-5) * trained["scale"][:, None] + trained["shift"][:, None]
            y = x.reshape(60, 20) @ trained["w"]
            loss = np.mean(np.log(np.exp(y).sum(1)) - y[np.arange(60), arrays["labels"]])
        said = float(done.stdout.splitlines()[-1].split("validation loss ")[1].split(",")[0])
        yield f"the validation loss {said} is the written model's, {loss:.6f}", abs(said - loss) < 1e-4

    def resume(self):
        rng, model = np.random.default_rng(3), self.path("normed.onnx")
        data = self.save("normed.npz", rng.standard_normal((60, 4, 5)).astype(np.float32), rng.integers(0, small.CLASSES, 60))
        options = ("--optimizer", "adamw,lr=0.01", "--batch", 20)
        self.together("whole.onnx", *options, "--epochs", 4, model=model, data=data)
        self.together("part.onnx", *options, "--epochs", 2, "--checkpoint", "run.checkpoint", model=model, data=data)
        done = self.together("part.onnx", *options, "--epochs", 4, "--checkpoint", "run.checkpoint", "--resume", model=model, data=data)
        yield f"to the same bits: {done.stderr.strip()}", (
            done.stderr.strip() == "note: going on behind step 6" and
            open(self.path("part.onnx"), "rb").read() == open(self.path("whole.onnx"), "rb").read())
        done = self.together("part.onnx", *options, "--seed", 2, "--checkpoint", "run.checkpoint", "--resume", model=model, data=data)
        yield f"another seed: {self.ours(done)}", done.returncode == 2 and len(self.ours(done)) == 1 and "--seed 0, not 2" in done.stderr

    def devices(self):
        """Two processes, each with a device of its own, which a stand-in plays: sums by NCCL where there is one, or by MPI."""
        options = ("--optimizer", "sgd,lr=0.1,momentum=0.9")
        target = ("--target", "cuda:sm_80")
        emulate.use_kernels(self.model, self.build, target[1], ["--train", *map(str, PARALLEL), *options])
        for folder, source in (("no_nccl", os.devnull), ("nccl", os.path.join(HERE, "standin_nccl.c"))):
            os.mkdir(self.path(folder))
            subprocess.run(["mpicc", "-shared", "-fPIC", "-o", self.path(folder + "/libnccl.so.2"), "-x", "c", source], check=True)
        self.alone("one.onnx", *options, "--batch", 30, "--log", "one.csv")
        driver = os.path.join(self.build, "test", "cuda")
        for says, folder in (("note: libnccl.so.2 lacks functions of NCCL 2: gradients are summed in the host's memory", "no_nccl"),
                             ("20 sums by NCCL", "nccl")):
            done = self.together("two.onnx", *options, "--no-check-gradients", *target, "--batch", 30, "--log", "two.csv",
                                 environment={"STANDIN_DEVICES": "2", "LD_LIBRARY_PATH": f"{driver}:{self.path(folder)}"})
            text, holds = self.compared("one", "two")
            yield f"{text}; {done.stderr.strip()}", holds and says in done.stderr

    @staticmethod
    def ours(done):
        """The lines of an error output that mpirun does not add."""
        lines, of_mpirun = [], False
        for line in done.stderr.splitlines():
            if line.startswith("-----"):
                of_mpirun = not of_mpirun
            elif line and not of_mpirun:
                lines.append(line)
        return lines

    def differing(self, first, others, *options):
        """The first rank is told `first`, the others something else."""
        script = 'first="$1"; others="$2"; shift 2; if [ "$OMPI_COMM_WORLD_RANK" = 0 ]; then exec "$@" $first; else exec "$@" $others; fi'
        command = [*self.mpirun(2), "bash", "-c", script, "-", first, others, *self.arguments("x.onnx", "--data-parallel", *options)]
        return small.without_count(subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=self.folder))

    def errors(self):
        lonely = os.path.join(self.folder, "lonely")
        os.mkdir(lonely)
        shutil.copy(self.program, lonely)
        done = subprocess.run([os.path.join(lonely, "lapidary"), *self.arguments("x.onnx", "--data-parallel")[1:]], capture_output=True, text=True, timeout=60)
        yield f"no library for MPI: {done.stderr.strip()}", done.returncode == 4 and "lonely/lapidary_mpi.so', which is built where MPI is found" in done.stderr
        done = self.alone("x.onnx", "--data-parallel", "--reducer", self.data)
        yield f"a reducer that is none: {done.stderr.strip()}", done.returncode == 4 and "cannot be opened" in done.stderr
        done = self.alone("x.onnx", "--reducer", "x.so")
        yield f"a reducer alone: {done.stderr.strip()}", done.returncode == 2 and "needs --data-parallel" in done.stderr
        done = self.together("x.onnx", "--loss", "mse")
        yield f"what all ranks find wrong, one says: {self.ours(done)}", done.returncode == 1 and len(self.ours(done)) == 1
        done = self.together("x.onnx", "--batch", 2, ranks=3)
        yield f"fewer samples than ranks: {self.ours(done)}", done.returncode == 2 and len(self.ours(done)) == 1
        done = self.together("x.onnx", "--optimizer", "sgd,lr=1e38", "--epochs", 4)
        yield f"a loss that is no number: {self.ours(done)}", done.returncode == 1 and len(self.ours(done)) == 1 and "the loss is" in done.stderr
        done = self.differing("--seed 1", "--validation-data nowhere.npz")
        yield f"what rank 1 finds wrong ends both: {self.ours(done)}", done.returncode == 4 and len(self.ours(done)) == 1 and "nowhere" in done.stderr
        done = self.differing("--seed 1", "--seed 2")
        yield f"ranks that were told otherwise: {self.ours(done)}", done.returncode == 2 and self.ours(done) == ["the ranks differ in data, options or checkpoint"]

    @contextlib.contextmanager
    def long_run(self, *options):
        """The running mpirun, and the processes' numbers, once training goes on."""
        script = 'echo $$ > "pid.$OMPI_COMM_WORLD_RANK"; exec "$@"'
        arguments = self.arguments("long.onnx", "--data-parallel", "--epochs", 1000000, "--checkpoint", "long/run.checkpoint", *options)
        shutil.rmtree(self.path("long"), ignore_errors=True)
        os.mkdir(self.path("long"))
        process = subprocess.Popen([*self.mpirun(2), "bash", "-c", script, "-", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                   text=True, cwd=self.folder)
        try:
            until = time.monotonic() + 60
            while not os.path.exists(self.path("long/run.checkpoint")) and process.poll() is None and time.monotonic() < until:
                time.sleep(0.05)
            yield process, [int(open(self.path(f"pid.{rank}")).read()) for rank in range(2)]
        finally:
            if process.poll() is None:
                process.kill()

    def ended(self, process):
        stderr = process.communicate(timeout=60)[1]
        return small.without_count(subprocess.CompletedProcess([], process.returncode, "", stderr))

    def breaking_off(self):
        with self.long_run() as (process, ranks):
            os.kill(ranks[1], signal.SIGTERM)
            done = self.ended(process)
        yield f"one rank is told to end: {self.ours(done)}", done.returncode == 130 and len(self.ours(done)) == 1 and os.path.exists(self.path("long.onnx"))
        os.remove(self.path("long.onnx"))
        with self.long_run() as (process, ranks):
            process.send_signal(signal.SIGINT)
            done = self.ended(process)
        yield f"mpirun is told to end: {self.ours(done)}", done.returncode != 0 and os.path.exists(self.path("long.onnx"))
        with self.long_run() as (process, ranks):
            os.rename(self.path("long"), self.path("gone"))    # where rank 0 alone writes: training goes on
            time.sleep(1)
            os.kill(ranks[1], signal.SIGTERM)
            done = self.ended(process)
        yield f"rank 0 cannot write: {self.ours(done)[:2]}", done.returncode != 0 and any("warning" in line and "run.checkpoint" in line for line in self.ours(done))
        with self.long_run() as (process, ranks):
            os.kill(ranks[1], signal.SIGKILL)
            done = self.ended(process)
        yield f"a rank is killed: status {done.returncode}", done.returncode != 0


if __name__ == "__main__":
    sys.exit(tally.run_in_folder(Checks, __doc__))
