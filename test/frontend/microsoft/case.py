"""One node of a model, its inputs, and how near its results must come to ONNX Runtime's."""
import dataclasses

import numpy as np


@dataclasses.dataclass
class Case:
    operator: str
    inputs: list                 # arrays; None: left out
    attributes: dict = dataclasses.field(default_factory=dict)
    constants: tuple = ()        # indices of inputs that are initializers
    outputs: int = 1
    domain: str = "com.microsoft"
    opset: int = 21              # of ONNX's own domain
    tolerance: float = 1e-5      # relative to the largest element, for floats
    codes: int = 0               # by how much integers may differ
    symbolic: bool = True        # extents of inputs that are no constants are symbols
    note: str = ""
    compared: object = None      # what of output 0 counts: a function of it; the rest is unspecified
    expected: list = None        # the results, of what ONNX Runtime has no kernel for on the CPU

    @property
    def name(self):
        shapes = ", ".join("-" if x is None else f"{x.dtype}{list(x.shape)}" for x in self.inputs)
        options = ", ".join(f"{key}={value}" for key, value in self.attributes.items())
        return f"{self.operator}({shapes}) {options} {self.note}".strip()


class Make:
    """Seeded arrays: make.normal(2, 3), make.u8(4)."""

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)

    def normal(self, *shape, dtype=np.float32):
        return self.rng.standard_normal(shape).astype(dtype)

    def uniform(self, *shape, low=0.01, high=0.1, dtype=np.float32):
        return self.rng.uniform(low, high, shape).astype(dtype)

    def integers(self, dtype, *shape, low=None, high=None):
        limits = np.iinfo(dtype)
        low, high = limits.min if low is None else low, limits.max if high is None else high
        return self.rng.integers(low, high, shape, dtype, endpoint=True)

    def u8(self, *shape, **limits):
        return self.integers(np.uint8, *shape, **limits)

    def i8(self, *shape, **limits):
        return self.integers(np.int8, *shape, **limits)

    def i32(self, *shape, low=-1000, high=1000):
        return self.integers(np.int32, *shape, low=low, high=high)


def scalar(value, dtype=np.float32):
    return np.array(value, dtype)
