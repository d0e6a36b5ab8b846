#!/usr/bin/env python3
"""Data-parallel training is training with the whole batch: several ranks, each with its share, beside one process.

    parallel.py --build build

First through the C interface, with ranks that are threads here and sum in Python; then `lapidary train` under mpirun.
Losses must agree within 1e-6 and parameters within 1e-5, whatever the shares, a share of nothing included.
"""
import argparse
import contextlib
import ctypes
import os
import sys
import tempfile
import threading

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, ".."), os.path.join(HERE, "..", "cuda")]
import emulate  # noqa: E402
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


class Checks:
    def __init__(self, build, folder):
        self.build, self.folder, self.count = build, folder, 0
        self.model = small.model(os.path.join(folder, "small.onnx"))

    def groups(self):
        return [("shares", self.shares), ("options", self.options), ("order", self.order), ("dropout", self.dropout), ("failures", self.failures),
                ("CUDA", self.cuda)]

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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return tally.run(Checks(args.build, folder).groups())


if __name__ == "__main__":
    sys.exit(main())
