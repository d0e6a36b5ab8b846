"""What tests of products look at beside their results: calls of the stand-in driver, its device's memory, refusals."""
import contextlib
import ctypes
import os
import threading

import numpy as np

from product import ProductError


class Counts:
    """Of calls of the driver's since this was made, until they are looked at."""

    def __init__(self, driver):
        self.driver, self.before = driver, {}
        for name in ("cuGraphInstantiateWithFlags", "cuGraphLaunch", "cuLaunchKernel", "cuGraphExecKernelNodeSetParams", "cuStreamSynchronize"):
            self.before[name] = driver.calls(name)

    def __getattr__(self, name):
        return self.driver.calls(name) - self.before[name]


class Waits:
    """How often somebody has waited for a stream since this was made."""

    def __init__(self, driver):
        self.count = lambda: driver.calls("cuStreamSynchronize")
        self.before = self.count()

    def none(self):
        return self.count() == self.before


def at_the_same_time(work, *calls):
    """work(*arguments) for each of the calls, in a thread of its own, until the last is through."""
    threads = [threading.Thread(target=work, args=arguments) for arguments in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@contextlib.contextmanager
def failing(call, error):
    os.environ["STANDIN_FAIL"] = f"{call}:{error}"
    yield
    del os.environ["STANDIN_FAIL"]


def refused(action, status, text):
    """The action ends with that status, and a line that has the text in it."""
    try:
        action()
    except ProductError as error:
        return error.args[0] == status and text in error.args[1] and "\n" not in error.args[1]
    return False


class DeviceMemory:
    """Memory of the stand-in's device, as a caller takes it."""

    def __init__(self, driver):
        self.calls = driver.library
        self.taken, self.streams = [], []
        context = ctypes.c_void_p()
        self.calls.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0)
        self.context = context

    @contextlib.contextmanager
    def current(self):
        self.calls.cuCtxPushCurrent_v2(self.context)
        yield
        self.calls.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))

    def stream(self):
        made = ctypes.c_void_p()
        with self.current():
            assert self.calls.cuStreamCreate(ctypes.byref(made), 1) == 0
        self.streams.append(made)
        return made

    def wait_for(self, stream):
        with self.current():
            assert self.calls.cuStreamSynchronize(stream) == 0

    def take(self, size):
        address = ctypes.c_uint64()
        with self.current():
            assert self.calls.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(size)) == 0
        self.taken.append(address.value)
        return address.value

    def used(self):
        left, total = ctypes.c_size_t(), ctypes.c_size_t()
        with self.current():
            self.calls.cuMemGetInfo_v2(ctypes.byref(left), ctypes.byref(total))
        return total.value - left.value

    def write(self, address, array):
        with self.current():
            assert self.calls.cuMemcpyHtoDAsync_v2(ctypes.c_uint64(address), ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.nbytes), None) == 0
            self.calls.cuStreamSynchronize(None)

    def read(self, address, like):
        array = np.zeros_like(like)
        with self.current():
            assert self.calls.cuMemcpyDtoHAsync_v2(ctypes.c_void_p(array.ctypes.data), ctypes.c_uint64(address), ctypes.c_size_t(array.nbytes), None) == 0
            self.calls.cuStreamSynchronize(None)
        return array

    def give_back(self):
        with self.current():
            for address in self.taken:
                self.calls.cuMemFree_v2(ctypes.c_uint64(address))
            for stream in self.streams:
                self.calls.cuStreamDestroy_v2(stream)
        self.calls.cuDevicePrimaryCtxRelease_v2(0)
