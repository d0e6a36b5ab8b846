"""Results of products on the device against float64, each element within its bound; of networks against what
prepare.py brought along. An output's memory is NaN before each run; the second run of the same shapes is a replayed
graph and gives the same bits."""
import numpy as np

import work
from cases import model_inputs
from device import Buffer
from elements import CODES, STORED, TYPES, ULP, all_finite, decode

# Relative L2 of a network in f16 from the same in f32. Products for a CPU, which round after every operation, are off by
# 0.0004 (BERT) to 0.004 (GPT-2).
MODEL_BOUND = 0.01
SAMPLE = {"conv": 4, "attention": 2}   # rows that are compared where there are more
SAMPLE_ROWS = 256                      # of other kinds


class Rows:
    """A kernel's product with its tensors on the device for one M."""

    def __init__(self, device, product, case, m):
        self.device, self.product, self.case, self.m = device, product, case, m
        self.arrays = work.inputs(case, m)
        self.buffers = []
        for slot, (name, code, _) in enumerate(product.inputs):
            self._bind(slot, code, self.arrays[name].shape, Buffer.holding(device, self.arrays[name]))
        self.shape = work.output_shape(case, m)
        self.output = Buffer(device, int(np.prod(self.shape)) * STORED[case.dtype]().itemsize)
        self._bind(len(product.inputs), CODES[case.dtype], self.shape, self.output)

    def _bind(self, slot, code, shape, buffer):
        self.buffers.append(buffer)
        self.product.bind_address(slot, code, shape, buffer.address, buffer.size, device=1)

    def run(self):
        self.output.poison()
        self.product.step()
        return self.output.read(self.shape, STORED[self.case.dtype])

    def picked(self, rows):
        """The inputs in float64, of those with rows these."""
        per_row = work.row_shapes(self.case, self.m)
        return {name: array[rows] if name in per_row else array for name, array in self.arrays.items()}

    def free(self):
        for buffer in self.buffers:
            buffer.free()


class NumpyReference:
    name = "numpy float64"

    def __call__(self, case, arrays):
        return work.reference(np, case, {name: decode(array, case.dtype) for name, array in arrays.items()})


def excess(got, result, bound):
    """The largest error in units of what is allowed; NaN and infinities are infinite."""
    if not np.isfinite(got).all():
        return float("inf")
    return float(np.max(np.abs(got - result) / bound)) if got.size else 0.0


def sample(m, most):
    if m <= most:
        return np.arange(m)
    spread = np.unique(np.linspace(0, m - 1, most // 2).astype(int))
    return np.unique(np.concatenate([spread, work.hashed(most // 2, m) % m]))


def check_kernel(rows, reference, most):
    """(worst, message): fine when it is at most 1. most: rows that are compared; of the others it is seen that they were
    written."""
    first, second = rows.run(), rows.run()
    if not np.array_equal(first.view(np.uint8), second.view(np.uint8)):
        return float("inf"), "a second run gives other bits"
    if not all_finite(first, rows.case.dtype):
        return float("inf"), "elements that were not written, or are not finite"
    picked = sample(rows.m, most)
    worst = excess(decode(first[picked], rows.case.dtype), *reference(rows.case, rows.picked(picked)))
    return worst, f"worst error {worst:.2f} of its bound, {len(picked)} of {rows.m} rows"


class Run:
    """One size's tensors on the device: what the run before carries over is read where that one put it."""

    def __init__(self, device, product, program, size, before):
        given, self.results = program.inputs(size), program.reference(size)
        carried = {name: before.outputs[slot] for name, slot in program.carries.items()} if before else {}
        self.own = {name: Buffer.holding(device, given[name][1]) for name, _, _ in product.inputs if name not in carried}
        self.inputs = [(code, given[name][1].shape, carried.get(name) or self.own[name]) for name, code, _ in product.inputs]
        self.types = [TYPES[code] for _, code, _ in product.outputs]
        self.outputs = [Buffer(device, result.size * STORED[dtype]().itemsize) for (result, _), dtype in zip(self.results, self.types)]
        for buffer in self.outputs:
            buffer.poison()

    def put(self, product):
        """Into the stream; nobody waits."""
        outputs = [(CODES[dtype], result.shape, buffer) for dtype, (result, _), buffer in zip(self.types, self.results, self.outputs)]
        for slot, (code, shape, buffer) in enumerate(self.inputs + outputs):
            product.bind_address(slot, code, shape, buffer.address, buffer.size, device=1)
        product.step()

    def excess(self):
        found = [buffer.read(result.shape, STORED[dtype]) for buffer, (result, _), dtype in zip(self.outputs, self.results, self.types)]
        got = [decode(array, dtype) if dtype in ULP else array.astype(np.float64) for array, dtype in zip(found, self.types)]
        return max(excess(*each) for each in ((g, *r) for g, r in zip(got, self.results)))

    def free(self):
        for buffer in [*self.own.values(), *self.outputs]:
            buffer.free()


def check_program(device, product, program):
    """All sizes twice, one behind the other; nobody waits before the last is in the stream."""
    runs = []
    for size in 2 * program.sizes:
        runs.append(Run(device, product, program, size, runs[-1] if runs and size != program.sizes[0] else None))
    for run in runs:
        run.put(product)
    product.wait()
    worst = max(run.excess() for run in runs)
    for run in runs:
        run.free()
    return worst, f"worst error {worst:.2f} of its bound, {len(runs)} runs"


def bind_model(device, product, name, sizes):
    """The buffers it keeps. Outputs are the instance's own, in the device's memory; a first run tells their extents."""
    feeds = work.model_feeds(model_inputs(name, sizes))
    buffers = []
    for slot, (key, code, _) in enumerate(product.inputs):
        buffers.append(Buffer.holding(device, feeds[key]))
        product.bind_address(slot, code, feeds[key].shape, buffers[-1].address, buffers[-1].size, device=1)
    product.step()
    shapes = []
    for slot in range(len(product.outputs)):
        found = product.output_tensor(slot)
        shapes.append([found.dims[i] for i in range(found.rank)])
    for slot, (_, code, _) in enumerate(product.outputs):   # after which there are no outputs until the next run
        product.bind_address(len(product.inputs) + slot, code, shapes[slot], None, 0, device=1)
    return buffers


def output_values(device, product, slot):
    """An output that lies in the device's memory."""
    found = product.output_tensor(slot)
    stored = STORED[TYPES[found.dtype]]
    return Buffer(device, found.bytes, found.data).read([found.dims[i] for i in range(found.rank)], stored)


def check_model(device, product, record, at, expected):
    """As check_kernel; the bound is on the relative L2 of each output."""
    buffers = bind_model(device, product, record["name"], record["check"][at])
    worst, previous = 0.0, None
    for _ in range(2):
        product.step()
        results = [output_values(device, product, slot) for slot in range(len(product.outputs))]
        if previous is not None and not all(map(np.array_equal, results, previous)):
            return float("inf"), "a second run gives other bits"
        previous = results
    for slot, result in enumerate(results):
        wanted = expected[f"{at}_{slot}"].astype(np.float64)
        got = result.astype(np.float64).ravel()[::record["every"]]
        error = np.linalg.norm(got - wanted) / np.linalg.norm(wanted) if got.shape == wanted.shape else float("inf")
        worst = max(worst, error if np.isfinite(error) else float("inf"))
    for buffer in buffers:
        buffer.free()
    return worst / MODEL_BOUND, f"relative L2 {worst:.1e} of {len(results)} outputs"
