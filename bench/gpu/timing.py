"""How long: kernels by the events their products put around each step, networks by the clock around a whole call."""
import statistics
import time

import checks
from device import Buffer


SLOWEST = 40   # steps of a network that are told one by one
AT_ONCE = 0.02, 100   # steps of training that are put behind each other: as many as take so many seconds, or so many


def repeated(measure, seconds, least=5):
    """The results of as many measurements as fit, after two that do not count."""
    measure(), measure()
    found, end = [], time.perf_counter() + seconds
    while len(found) < least or time.perf_counter() < end:
        found.append(measure())
    return found


def kernel(device, product, seconds, of=""):
    """Microseconds, medians: of all steps on the device with `of` in their origin, of the longest one, and of a whole call
    seen from the host."""
    def once():
        product.profile_enable(True)
        device.fill()
        product.step()
        return [ns for ns, _, origin in product.profiled_steps() if of in origin]

    def call():
        start = time.perf_counter()
        product.step()
        product.wait()
        return (time.perf_counter() - start) * 1e6

    times = repeated(once, seconds)
    product.profile_enable(False)
    return {"steps": len(times[0]), "us": statistics.median(sum(step) for step in times) / 1e3,
            "least_us": min(sum(step) for step in times) / 1e3,
            "longest_step_us": statistics.median(max(step) for step in times) / 1e3,
            "call_us": statistics.median(repeated(call, seconds / 2))}


def model(device, product, name, sizes, seconds):
    """Milliseconds of calls with inputs and outputs on the device, and what the steps take one by one."""
    buffers = checks.bind_model(device, product, name, sizes)

    def call():
        start = time.perf_counter()
        product.step()
        product.wait()
        return (time.perf_counter() - start) * 1e3

    calls = repeated(call, seconds)
    product.profile_enable(True)
    product.step()
    steps = product.profiled_steps()
    product.profile_enable(False)
    for buffer in buffers:
        buffer.free()
    return {"ms": statistics.median(calls), "least_ms": min(calls), "runs": len(calls), **step_by_step(steps)}


def step_by_step(steps):
    slowest = [[ns / 1e3, f"{kernel}: {origin}"] for ns, kernel, origin in sorted(steps, reverse=True)[:SLOWEST]]
    return {"steps": len(steps), "steps_ms": sum(step[0] for step in steps) / 1e6, "slowest_us": slowest}


def queued(step, wait, seconds):
    """Milliseconds of a step, of some that are put behind each other before anybody waits."""
    def several(count):
        start = time.perf_counter()
        for _ in range(count):
            step()
        wait()
        return (time.perf_counter() - start) * 1e3 / count

    several(2)
    within, most = AT_ONCE
    count = min(max(int(within * 1e3 / several(1)), 1), most)
    times = repeated(lambda: several(count), seconds)
    return {"ms": statistics.median(times), "least_ms": min(times), "runs": count * len(times)}


def copy_bandwidth(device, size=512 << 20, seconds=0.3):
    """GB/s of the driver's own copy, what is read and what is written counted."""
    source, to = Buffer(device, size), Buffer(device, size)
    times = repeated(lambda: device.milliseconds(lambda: device.copy(to, source)), seconds)
    source.free()
    to.free()
    return 2 * size / statistics.median(times) / 1e6
