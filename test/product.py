"""A compiled model through its C interface, with ctypes: what tests and benchmarks drive products with.

    model = Product("resnet50.so", threads=2)
    y, = model.run({"x": array})
"""
import ctypes as c
import os

import numpy as np

STRING = 8
DTYPES = {1: np.float32, 2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16, 6: np.int32, 7: np.int64, 9: np.bool_,
          10: np.float16, 11: np.float64, 12: np.uint32, 13: np.uint64, STRING: np.object_}
CODES = {np.dtype(v): k for k, v in DTYPES.items()}


class Tensor(c.Structure):
    _fields_ = [("size", c.c_uint32), ("device", c.c_int32), ("data", c.c_void_p), ("bytes", c.c_int64),
                ("dtype", c.c_uint8), ("rank", c.c_uint8), ("dims", c.POINTER(c.c_int64)), ("strides", c.POINTER(c.c_int64))]


def packed(texts):
    """Strings or bytes as one array of bytes: before each its length in eight of them."""
    texts = [text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text for text in texts]
    return np.frombuffer(b"".join(len(text).to_bytes(8, "little") + text for text in texts), np.uint8)


def unpacked(data):
    data, texts = bytes(data), []
    while data:
        end = 8 + int.from_bytes(data[:8], "little")
        texts.append(data[8:end])
        data = data[end:]
    return texts


class Options(c.Structure):
    _fields_ = [("size", c.c_uint32), ("threads", c.c_int32), ("executor", c.c_void_p), ("alloc", c.c_void_p),
                ("max_bytes", c.c_int64), ("max_loop", c.c_int64), ("cuda_stream", c.c_void_p), ("cuda_device", c.c_int32),
                ("reserved", c.c_int32), ("reducer", c.c_void_p)]


class Reducer(c.Structure):
    START, FINISH = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_void_p, c.c_int64, c.c_uint8), c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_void_p)
    _fields_ = [("self", c.c_void_p), ("rank", c.c_int32), ("ranks", c.c_int32), ("on_device", c.c_int32), ("reserved", c.c_int32),
                ("start", START), ("finish", FINISH)]


class StepProfile(c.Structure):
    _fields_ = [("size", c.c_uint32), ("kernel", c.c_char_p), ("origin", c.c_char_p), ("nanoseconds", c.c_int64), ("runs", c.c_int64),
                ("flops", c.c_int64), ("bytes", c.c_int64),
                ("registers", c.c_int32), ("local_bytes", c.c_int32), ("shared_bytes", c.c_int32), ("unused", c.c_uint32)]


class TensorInfo(c.Structure):
    _fields_ = [("size", c.c_uint32), ("name", c.c_char_p), ("dtype", c.c_uint8), ("rank", c.c_uint8), ("dims", c.POINTER(c.c_int64)),
                ("dim_names", c.POINTER(c.c_char_p))]


class StateInfo(c.Structure):
    _fields_ = [("size", c.c_uint32), ("kind", c.c_int), ("name", c.c_char_p), ("dtype", c.c_uint8), ("rank", c.c_uint8),
                ("dims", c.POINTER(c.c_int64))]


class _Views(np.ndarray):
    """An array that keeps alive what it points to."""


class ProductError(Exception):
    """status and message of a call that failed."""


class Product:
    """One instance of a model. Not for use by several threads at once; open one for each."""

    def __init__(self, library, symbol=None, threads=0, max_bytes=0, max_loop=0, cuda_device=0, cuda_stream=None, reducer=None):
        self.library = c.CDLL(os.path.abspath(library))
        self.symbol = symbol or os.path.basename(library)[: -len(".so")]
        self.instance = c.c_void_p()
        options = Options(size=c.sizeof(Options), threads=threads, max_bytes=max_bytes, max_loop=max_loop,
                          cuda_device=cuda_device, cuda_stream=cuda_stream, reducer=c.cast(c.byref(reducer), c.c_void_p) if reducer else None)
        self._reducer = reducer    # whose functions must outlive the instance
        try:
            self._check(self._function("create")(c.byref(options), c.byref(self.instance)))
        except ProductError:
            self.close()
            raise
        self.inputs = [self._describe(i) for i in range(self._function("input_count", c.c_int32)())]
        count = self._function("output_count", c.c_int32)()
        self.outputs = [self._describe(len(self.inputs) + i) for i in range(count)]
        self._bound = {}
        self.states = {}    # name -> (index, kind, dtype, shape)
        for i in range(self._function("state_count", c.c_int32)()):
            info = StateInfo(size=c.sizeof(StateInfo))
            self._check(self._function("state_describe")(i, c.byref(info)))
            self.states[info.name.decode()] = (i, info.kind, DTYPES[info.dtype], [info.dims[k] for k in range(info.rank)])

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
            if name not in feeds and self.states:    # of another entry point
                continue
            array = np.asarray(feeds[name], order="C")
            if code == STRING:
                self.bind_bytes(slot, code, array.shape, packed(array.ravel().tolist()))
                continue
            if array.dtype != DTYPES[code]:
                raise TypeError(f"input {name}: expected {DTYPES[code].__name__}, got {array.dtype}")
            self.bind_bytes(slot, code, array.shape, array)

    def bind_bytes(self, slot, code, shape, array):
        """A tensor of any type, its bytes in an array of whatever type; strings as `packed` gives them."""
        if code == STRING:
            array = self._views(unpacked(array))
        self.bind_memory(slot, code, shape, array)

    def bind_memory(self, slot, code, shape, array):
        """The bytes of an array as they lie there."""
        self.bind_address(slot, code, shape, array.ctypes.data, array.nbytes)
        self._bound[slot] += (array,)

    def bind_address(self, slot, code, shape, address, size, device=0):
        """device 1: the address is one of a CUDA device's; None: the instance's own memory there."""
        dims = (c.c_int64 * max(len(shape), 1))(*shape)
        tensor = Tensor(c.sizeof(Tensor), device, address, size, code, len(shape), dims, None)
        self._check(self._function("bind")(self.instance, slot, c.byref(tensor)))
        self._bound[slot] = (dims,)

    @staticmethod
    def _views(texts):
        """As the library reads them: each where it lies in one block, and its size."""
        block = np.frombuffer(b"".join(texts) + b"\0", np.uint8)
        sizes = np.array([len(text) for text in texts], np.int64)
        views = np.zeros(len(texts), np.dtype([("data", np.int64), ("size", np.int64)]))
        views["data"], views["size"] = block.ctypes.data + np.cumsum(sizes) - sizes, sizes
        holder = views.view(_Views)
        holder.block = block
        return holder

    def step(self, cancel=None, entry=0):
        self._check(self._function("run")(self.instance, entry, None if cancel is None else c.byref(cancel)))

    def error(self):
        return self._function("error", c.c_char_p)(self.instance).decode()

    def wait(self):
        self._check(self._function("wait")(self.instance))

    def entry_index(self, name):
        return self._function("entry_index", c.c_int32)(name.encode())

    def call(self, entry, feeds):
        """Runs an entry point by name; its outputs by theirs."""
        self.bind(feeds)
        self.step(entry=self.entry_index(entry))
        results = {}
        for i, (name, _, _) in enumerate(self.outputs):
            try:
                results[name] = self.result(i)
            except ProductError:    # of another entry point
                pass
        return results

    def _state(self, name, array):
        index, _, dtype, shape = self.states[name]
        dims = (c.c_int64 * max(len(shape), 1))(*shape)
        return index, Tensor(c.sizeof(Tensor), 0, array.ctypes.data, array.nbytes, CODES[np.dtype(dtype)], len(shape), dims, None)

    def state(self, name):
        array = np.empty(self.states[name][3], self.states[name][2])
        index, tensor = self._state(name, array)
        self._check(self._function("state_get")(self.instance, index, c.byref(tensor)))
        return array

    def set_state(self, name, value):
        array = np.ascontiguousarray(np.broadcast_to(np.asarray(value, self.states[name][2]), self.states[name][3]))
        index, tensor = self._state(name, array)
        self._check(self._function("state_set")(self.instance, index, c.byref(tensor)))

    def save(self, path, note=""):
        self._check(self._function("save")(self.instance, os.fsencode(path), note.encode()))

    def load(self, path):
        """The note; and what was wrong, where the checkpoint before was taken."""
        note = c.create_string_buffer(65537)
        self._check(self._function("load")(self.instance, os.fsencode(path), note, c.c_int64(len(note))))
        return note.value.decode(), self._function("error", c.c_char_p)(self.instance).decode()

    def output_tensor(self, index):
        tensor = Tensor(size=c.sizeof(Tensor))
        self._check(self._function("output")(self.instance, len(self.inputs) + index, c.byref(tensor)))
        return tensor

    def output_address(self, index):
        return self.output_tensor(index).data

    def result_bytes(self, index):
        """(type's code, shape, bytes) of an output."""
        tensor = Tensor(size=c.sizeof(Tensor))
        self._check(self._function("output")(self.instance, len(self.inputs) + index, c.byref(tensor)))
        data = c.string_at(tensor.data, tensor.bytes) if tensor.bytes else b""
        if tensor.dtype == STRING:
            views = np.frombuffer(data, np.int64).reshape(-1, 2)
            data = packed(c.string_at(int(at), int(size)) for at, size in views).tobytes()
        return tensor.dtype, [tensor.dims[k] for k in range(tensor.rank)], data

    def result(self, index):
        return self._array(*self.result_bytes(index))

    def results(self):
        return [self.result(i) for i in range(len(self.outputs))]

    @staticmethod
    def _array(code, shape, data):
        if code != STRING:
            return np.frombuffer(data, DTYPES[code]).reshape(shape).copy()
        texts = [text.decode("utf-8", "surrogateescape") for text in unpacked(data)]
        array = np.empty(len(texts), object)
        array[:] = texts
        return array.reshape(shape)

    def run(self, feeds):
        self.bind(feeds)
        self.step()
        return self.results()

    def profile_enable(self, on):
        self._check(self._function("profile_enable")(self.instance, int(on)))

    def profile(self):
        """Nanoseconds of each step."""
        return [ns for ns, _, _ in self.profiled_steps()]

    def profiled_steps(self, entry=0):
        """(nanoseconds, kernel, origin) of each step."""
        steps = []
        for step in range(self._function("profile_count", c.c_int32)(self.instance, entry)):
            found = StepProfile(size=c.sizeof(StepProfile))
            self._check(self._function("profile")(self.instance, entry, step, c.byref(found)))
            steps.append((found.nanoseconds, (found.kernel or b"").decode(), (found.origin or b"").decode()))
        return steps

    def close(self):
        if self.instance:
            self._function("destroy", None)(self.instance)
            self.instance = c.c_void_p()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
