"""A CUDA device through its driver alone: memory, a stream and its events, by ctypes. What times products, on a machine
that may have nothing but the driver; the stand-in driver of the tests has the same calls.

Kernels are timed between two events of a stream that is kept busy by a fill before them, of memory larger than the L2
cache: so they start when the host has long passed everything on, and find nothing in the cache. Peers are timed the same
way.
"""
import contextlib
import ctypes as c

import numpy as np

FILL_BYTES = 256 << 20
ATTRIBUTES = {"multiprocessors": 16, "clock_khz": 13, "memory_clock_khz": 36, "memory_bus_bits": 37, "l2_bytes": 38,
              "major": 75, "minor": 76}


class DeviceError(Exception):
    pass


class Device:
    def __init__(self, library="libcuda.so.1", fill_bytes=FILL_BYTES):
        try:
            self.library = c.CDLL(library)
        except OSError as error:
            raise DeviceError(f"no driver: {error}") from None
        self.call("cuInit", 0)
        self.handle, self.context, self.stream = c.c_int(), c.c_void_p(), c.c_void_p()
        self.call("cuDeviceGet", c.byref(self.handle), 0)
        self.call("cuDevicePrimaryCtxRetain", c.byref(self.context), self.handle)
        self.call("cuCtxPushCurrent_v2", self.context)
        self.call("cuStreamCreate", c.byref(self.stream), 1)   # one that does not wait for the default stream
        self.events = [self._event(), self._event()]
        self.fill_memory = Buffer(self, fill_bytes)

    def call(self, name, *arguments):
        status = getattr(self.library, name)(*arguments)
        if status:
            text = c.c_char_p()
            self.library.cuGetErrorName(status, c.byref(text))
            raise DeviceError(f"{name}: {(text.value or b'unknown error').decode()} ({status})")

    def _event(self):
        event = c.c_void_p()
        self.call("cuEventCreate", c.byref(event), 0)
        return event

    def describe(self):
        name, version, found = c.create_string_buffer(256), c.c_int(), {}
        self.call("cuDeviceGetName", name, 256, self.handle)
        self.call("cuDriverGetVersion", c.byref(version))
        for what, number in ATTRIBUTES.items():
            value = c.c_int()
            with contextlib.suppress(DeviceError):
                self.call("cuDeviceGetAttribute", c.byref(value), number, self.handle)
                found[what] = value.value
        return {"device": name.value.decode(), "driver_cuda": version.value, **found}

    def free_bytes(self):
        left, total = c.c_size_t(), c.c_size_t()
        self.call("cuMemGetInfo_v2", c.byref(left), c.byref(total))
        return left.value

    def wait(self):
        self.call("cuStreamSynchronize", self.stream)

    def fill(self):
        self.call("cuMemsetD8Async", c.c_uint64(self.fill_memory.address), c.c_uint8(0), c.c_size_t(self.fill_memory.size), self.stream)

    def milliseconds(self, work):
        """Of what `work` puts into the stream."""
        self.fill()
        self.call("cuEventRecord", self.events[0], self.stream)
        work()
        self.call("cuEventRecord", self.events[1], self.stream)
        self.wait()
        taken = c.c_float()
        self.call("cuEventElapsedTime", c.byref(taken), *self.events)
        return taken.value

    def copy(self, to, source):
        self.call("cuMemcpyDtoDAsync_v2", c.c_uint64(to.address), c.c_uint64(source.address), c.c_size_t(to.size), self.stream)

    def close(self):
        self.fill_memory.free()
        for event in self.events:
            self.call("cuEventDestroy_v2", event)
        self.call("cuStreamDestroy_v2", self.stream)
        self.call("cuCtxPopCurrent_v2", c.byref(c.c_void_p()))
        self.call("cuDevicePrimaryCtxRelease_v2", self.handle)


class Buffer:
    """Memory of the device; with an address, somebody else's."""

    def __init__(self, device, size, address=None):
        self.device, self.size, self.address = device, size, address
        if address is None:
            taken = c.c_uint64()
            device.call("cuMemAlloc_v2", c.byref(taken), c.c_size_t(max(size, 16)))
            self.address = taken.value

    @classmethod
    def holding(cls, device, array):
        array = np.ascontiguousarray(array)
        buffer = cls(device, array.nbytes)
        device.call("cuMemcpyHtoDAsync_v2", c.c_uint64(buffer.address), c.c_void_p(array.ctypes.data), c.c_size_t(array.nbytes), device.stream)
        device.wait()
        return buffer

    def poison(self):
        """NaN in every float."""
        self.device.call("cuMemsetD8Async", c.c_uint64(self.address), c.c_uint8(255), c.c_size_t(self.size), self.device.stream)
        self.device.wait()

    def read(self, shape, stored):
        array = np.empty(shape, stored)
        self.device.call("cuMemcpyDtoHAsync_v2", c.c_void_p(array.ctypes.data), c.c_uint64(self.address), c.c_size_t(array.nbytes),
                         self.device.stream)
        self.device.wait()
        return array

    def free(self):
        self.device.call("cuMemFree_v2", c.c_uint64(self.address))
