"""A compiled model through its C interface, with ctypes: what tests and benchmarks drive products with.

    model = Product("resnet50.so", threads=2)
    y, = model.run({"x": array})
"""
import ctypes as c
import os

import numpy as np

DTYPES = {1: np.float32, 2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16, 6: np.int32, 7: np.int64, 9: np.bool_,
          10: np.float16, 11: np.float64, 12: np.uint32, 13: np.uint64}
CODES = {np.dtype(v): k for k, v in DTYPES.items()}


class Tensor(c.Structure):
    _fields_ = [("size", c.c_uint32), ("device", c.c_int32), ("data", c.c_void_p), ("bytes", c.c_int64),
                ("dtype", c.c_uint8), ("rank", c.c_uint8), ("dims", c.POINTER(c.c_int64)), ("strides", c.POINTER(c.c_int64))]


class Options(c.Structure):
    _fields_ = [("size", c.c_uint32), ("threads", c.c_int32), ("executor", c.c_void_p), ("alloc", c.c_void_p),
                ("max_bytes", c.c_int64), ("max_loop", c.c_int64)]


class TensorInfo(c.Structure):
    _fields_ = [("size", c.c_uint32), ("name", c.c_char_p), ("dtype", c.c_uint8), ("rank", c.c_uint8), ("dims", c.POINTER(c.c_int64)),
                ("dim_names", c.POINTER(c.c_char_p))]


class ProductError(Exception):
    """status and message of a call that failed."""


class Product:
    """One instance of a model. Not for use by several threads at once; open one for each."""

    def __init__(self, library, symbol=None, threads=0):
        self.library = c.CDLL(os.path.abspath(library))
        self.symbol = symbol or os.path.basename(library)[: -len(".so")]
        self.instance = c.c_void_p()
        options = Options(size=c.sizeof(Options), threads=threads)
        self._check(self._function("create")(c.byref(options), c.byref(self.instance)))
        self.inputs = [self._describe(i) for i in range(self._function("input_count", c.c_int32)())]
        count = self._function("output_count", c.c_int32)()
        self.outputs = [self._describe(len(self.inputs) + i) for i in range(count)]
        self._bound = {}

    def _function(self, name, result=c.c_int):
        function = getattr(self.library, f"{self.symbol}_{name}")
        function.restype = result
        return function

    def _check(self, status):
        if status:
            text = self._function("error", c.c_char_p)(self.instance) if self.instance else b""
            raise ProductError(status, (text or b"").decode())

    def _describe(self, slot):
        info = TensorInfo(size=c.sizeof(TensorInfo))
        self._check(self._function("describe")(slot, c.byref(info)))
        return info.name.decode(), info.dtype, [info.dims[i] for i in range(info.rank)]

    def bind(self, feeds):
        for slot, (name, code, _) in enumerate(self.inputs):
            array = np.asarray(feeds[name], order="C")
            if array.dtype != DTYPES[code]:
                raise TypeError(f"input {name}: expected {DTYPES[code].__name__}, got {array.dtype}")
            self.bind_bytes(slot, code, array.shape, array)

    def bind_bytes(self, slot, code, shape, array):
        """A tensor of any type, its bytes in an array of whatever type."""
        dims = (c.c_int64 * max(len(shape), 1))(*shape)
        tensor = Tensor(c.sizeof(Tensor), 0, array.ctypes.data, array.nbytes, code, len(shape), dims, None)
        self._check(self._function("bind")(self.instance, slot, c.byref(tensor)))
        self._bound[slot] = (array, dims)

    def step(self):
        self._check(self._function("run")(self.instance, 0, None))

    def result_bytes(self, index):
        """(type's code, shape, bytes) of an output."""
        tensor = Tensor(size=c.sizeof(Tensor))
        self._check(self._function("output")(self.instance, len(self.inputs) + index, c.byref(tensor)))
        data = c.string_at(tensor.data, tensor.bytes) if tensor.bytes else b""
        return tensor.dtype, [tensor.dims[k] for k in range(tensor.rank)], data

    def results(self):
        found = [self.result_bytes(i) for i in range(len(self.outputs))]
        return [np.frombuffer(data, DTYPES[code]).reshape(shape).copy() for code, shape, data in found]

    def run(self, feeds):
        self.bind(feeds)
        self.step()
        return self.results()

    def close(self):
        if self.instance:
            self._function("destroy", None)(self.instance)
            self.instance = c.c_void_p()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
