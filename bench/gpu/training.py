"""Graphs of test/zoo/train as products that train on the device: beside the losses that PyTorch had on a CPU, from the same
weights on the same batches (train_cases.py), and against a second instance, bit by bit.

Large weights do not travel: they are drawn by numpy as materialize.py draws them. numpy may change what a generator
draws; so their sums, and those of the batches, travel, and other ones are said to be.
"""
import os
import sys
import zlib

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(HERE, "..", "..", "test", "zoo"))
import train_cases  # noqa: E402
from checks import output_values  # noqa: E402
from device import Buffer  # noqa: E402

ROUNDED_FIRST = 2e-3   # of the first loss, where products round their factors to 11 bits
SAME = 1e-6            # of the sum of magnitudes
ENTRY = "train_step"


def drawn_weight(graph, name, shape, mean, deviation):
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(f"{graph}/{name}".encode())))
    return rng.standard_normal(shape, dtype=np.float32) * np.float32(deviation) + np.float32(mean)


def total(array):
    return float(array.sum(dtype=np.float64))


def expect_total(what, array, expected):
    if not abs(total(array) - expected) <= SAME * float(np.abs(array).sum(dtype=np.float64)):
        raise ValueError(f"numpy {np.__version__} draws other numbers for {what}")


def save_weights(graph, path, zoo, folder):
    """Of the model at `path`: small ones in a file, of those that are drawn how, {name: (shape, mean, deviation, sum)}."""
    import onnx
    from onnx import numpy_helper
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    drawn = {}
    for tensor in onnx.load(os.path.join(zoo, "train", graph + ".onnx")).graph.initializer:
        if tensor.doc_string:
            kind, mean, deviation = tensor.doc_string.split()
            again = drawn_weight(graph, tensor.name, tuple(tensor.dims), mean, deviation)
            if kind != "normal" or not np.array_equal(again, values[tensor.name]):
                raise ValueError(f"{tensor.name} of {graph} is not what training.py draws")
            drawn[tensor.name] = (list(tensor.dims), mean, deviation, total(values.pop(tensor.name)))
    np.savez_compressed(os.path.join(folder, f"train_{graph}.npz"), **values)
    return drawn


def batch_totals(graph, steps):
    return [[total(part) for part in train_cases.batch(graph, step)] for step in range(steps)]


def weights(record, folder):
    """{name: array} of all that the graph holds."""
    with np.load(os.path.join(folder, f"train_{record['graph']}.npz")) as small:
        values = dict(small)
    for name, (shape, mean, deviation, expected) in record["drawn"].items():
        values[name] = drawn_weight(record["graph"], name, tuple(shape), mean, deviation)
        expect_total(name, values[name], expected)
    return values


class Training:
    """An instance with its weights, and the batches, on the device."""

    def __init__(self, device, product, record, folder):
        self.device, self.product, self.buffers = device, product, []
        self.entry = product.entry_index(ENTRY)
        self.loss = [name for name, _, _ in product.outputs].index("loss")
        given = weights(record, folder)
        for name, (_, kind, _, _) in product.states.items():
            if kind < 2:   # parameters and statistics
                product.set_state(name, given[name])
        self.batches = [self._batch(record["graph"], step, totals) for step, totals in enumerate(record["batches"])]
        for slot, (_, code, shape) in enumerate(product.outputs):   # the instance's own memory on the device
            product.bind_address(len(product.inputs) + slot, code, shape, None, 0, device=1)
        self.bind(0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for buffer in self.buffers:
            buffer.free()

    def _batch(self, graph, step, totals):
        """[(slot's type, shape, buffer)]"""
        arrays = [np.ascontiguousarray(part) for part in train_cases.batch(graph, step)]
        for array, expected in zip(arrays, totals):
            expect_total(f"batch {step}", array, expected)
        held = [Buffer.holding(self.device, array) for array in arrays]
        self.buffers += held
        return [(code, array.shape, buffer) for (_, code, _), array, buffer in zip(self.product.inputs, arrays, held)]

    def bind(self, step):
        for slot, (code, shape, buffer) in enumerate(self.batches[step]):
            self.product.bind_address(slot, code, shape, buffer.address, buffer.size, device=1)

    def step(self):
        self.product.step(entry=self.entry)

    def results(self):
        """The losses of all steps, and the states after them."""
        losses = []
        for step in range(len(self.batches)):
            self.bind(step)
            self.step()
            losses.append(float(output_values(self.device, self.product, self.loss)))
        self.product.wait()
        return losses, {name: self.product.state(name).tobytes() for name in self.product.states}

    def profile(self):
        self.product.profile_enable(True)
        self.step()
        steps = self.product.profiled_steps(self.entry)
        self.product.profile_enable(False)
        return steps


def judge(record, first, second):
    """What check_kernel answers, and the errors: of the first loss, and the largest."""
    losses, states = first
    errors = [abs(found - expected) / abs(expected) for found, expected in zip(losses, record["losses"])]
    largest = max(errors) if np.isfinite(errors).all() else float("inf")
    worst = max(errors[0] / record["first"], largest / record["bound"] if record["bound"] else 0)
    message = f"loss of step 1 is {errors[0]:.1e} off, of {len(errors)} steps {largest:.1e} at most"
    differ = ["the losses"] * (losses != second[0]) + [name for name in states if states[name] != second[1][name]]
    if differ:
        return {"worst": float("inf"), "message": f"trained again, {differ[0]} and {len(differ) - 1} more have other bits; {message}"}
    return {"worst": worst if np.isfinite(worst) else float("inf"), "message": message, "first_error": errors[0], "largest_error": largest}
