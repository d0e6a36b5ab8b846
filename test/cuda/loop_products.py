"""Loops in products for CUDA: the host counts and runs ahead of the device. See check.py."""
import ctypes
import threading
import time

import numpy as np

import small_models
from emulate import difference
from product import Product
from watch import Counts, at_the_same_time, refused

ENDLESS = np.array(10**12)


def near(got, expected):
    return all(a.shape == b.shape and difference(a.astype(np.float64), b) < 1e-6 for a, b in zip(got, expected))


def waits_of(product, driver, feeds):
    """The results of a run, and how often it waited for the device."""
    counts = Counts(driver)
    return product.run(feeds), counts.cuStreamSynchronize


def halving(library, driver):
    """A loop that asks: whether to go on the host must know, and that is all."""
    with Product(library) as product:
        for values, most in (([40, 2], 20), ([40, 2], 3), ([1], 5), ([100, 200, 300], 20), ([100, 200, 300], 0)):
            feeds = {"x": np.array(values, np.float32), "most": np.array(most)}
            expected = small_models.halve(feeds["x"], most)
            for turn in range(2):
                found, waited = waits_of(product, driver, feeds)
                yield f"{values}, at most {most}, turn {turn}", near(found, expected)
            rows = len(expected[1])
            yield f"{rows} rows: waited {waited} times", waited == min(rows + 1, most) + 1


def scans(library, driver):
    """A loop whose trips are known never waits for the device, and starts the same graphs again."""
    h = np.linspace(-1, 1, 8).astype(np.float32)

    def scanned(product, rows):
        x = np.random.default_rng(rows).standard_normal((rows, 8)).astype(np.float32)
        found, waited = waits_of(product, driver, {"h": h, "x": x})
        return waited if near(found, small_models.scan(h, x)) else -1

    with Product(library) as product:
        scanned(product, 20)
        waits = [scanned(product, rows) for rows in (20, 2, 1, 0, 20)]
    yield f"waits of 20, 2, 1 and no steps: {waits}", waits == [1] * 5
    for first in (2, 20):
        with Product(library) as product:
            waited = scanned(product, first)
            yield f"of an instance's first run, of {first} steps: {waited}", waited == 1
    with Product(library) as product:
        counts = Counts(driver)
        right = scanned(product, 20) == 1
        yield f"{counts.cuGraphInstantiateWithFlags} graph for 19 of 20 steps", (
            right and counts.cuGraphInstantiateWithFlags == 1 and counts.cuGraphLaunch == 19)
        scanned(product, 20)
        counts = Counts(driver)
        right = scanned(product, 20) == 1
        yield "again: none is made", right and counts.cuGraphInstantiateWithFlags == 0 and counts.cuGraphLaunch == 21
        counts = Counts(driver)
        right = all(scanned(product, rows) >= 1 for rows in range(3, 19))
        yield f"{counts.cuGraphInstantiateWithFlags} more for 16 other lengths", right and counts.cuGraphInstantiateWithFlags <= 6


def tuned(library, driver):
    """Both loops of a step of training run without a wait."""
    rng, waits, w, rate, little = np.random.default_rng(0), [], None, 0.1, 1e-6
    with Product(library) as product:
        for rows in (4, 4, 4, 20, 20, 1, 20):
            h, labels = rng.standard_normal((2, 2, 8)).astype(np.float32)
            x = rng.standard_normal((rows, 2, 8)).astype(np.float32)
            w = product.state("w").astype(np.float64)
            counts = Counts(driver)
            loss = product.call("train_step", {"h": h, "x": x, "labels": labels})["loss"]
            waits.append(counts.cuStreamSynchronize)
            moved = [(small_models.tuned_loss(w + step, h, x, labels) - small_models.tuned_loss(w - step, h, x, labels)) / (2 * little)
                     for step in np.eye(8) * little]
            yield f"{rows} rows: the loss", abs(loss - small_models.tuned_loss(w, h, x, labels)) < 1e-5
            yield f"{rows} rows: the step", np.allclose(product.state("w"), w - rate * np.array(moved), atol=1e-5)
    yield f"waits: {waits}", waits[2] == waits[4] == waits[-1] == 1


def nested(library, driver):
    """The host slices by a counter that it has itself; kernels have their copies."""
    x = np.random.default_rng(3).standard_normal((9, 3)).astype(np.float32)
    with Product(library) as product:
        for outer, inner in ((9, 4), (2, 3), (9, 0), (0, 4), (1, 1), (9, 4)):
            feeds = {"x": x, "outer": np.array(outer), "inner": np.array(inner)}
            found, _ = waits_of(product, driver, feeds)
            waited = waits_of(product, driver, feeds)[1]
            yield f"{outer} times {inner}", near(found, small_models.nest(x, outer, inner))
            yield f"waited {waited} times: for the slice's end, which a kernel makes", waited == outer + 1
        yield "the host finds what is wrong", refused(lambda: product.run({"x": x, "outer": np.array(10), "inner": np.array(1)}), 2, "node")
        yield "and then it is right", near(product.run({"x": x, "outer": np.array(3), "inner": np.array(2)}), small_models.nest(x, 3, 2))


def walks(library, driver):
    x, after = np.array([1, 2, 0, 4], np.float32), np.array([3, 2, 0, 1])
    circle, astray = {"x": x[:2], "next": np.array([1, 0])}, {"x": x[:2], "next": np.array([1, 7])}
    with Product(library) as product:
        for most in (10, 2, 0):
            last, seen = product.run({"x": x, "next": after, "most": np.array(most)})
            right = small_models.walk(x, after, most)
            yield f"at most {most}", last == right[0] and np.array_equal(seen, right[1])
        yield "a wrong index ends a loop that asks", refused(lambda: product.run({**astray, "most": ENDLESS}), 2, "node")
        stop, began = ctypes.c_int(0), time.monotonic()
        product.bind({**circle, "most": ENDLESS})
        timer = threading.Timer(0.2, lambda: setattr(stop, "value", 1))
        timer.start()
        yield "without an end: cancelled", refused(lambda: product.step(stop), 4, "cancelled") and time.monotonic() - began < 20
        timer.join()
        yield "and then it ends", product.run({"x": x, "next": after, "most": np.array(9)})[0] == 0
    with Product(library, max_loop=50) as product:
        yield "max_loop", refused(lambda: product.run({**circle, "most": ENDLESS}), 5, "a loop of more than max_loop = 50 iterations")


def counted(library, driver):
    x, after = np.array([1, 2, 0, 4], np.float32), np.array([3, 2, 0, 1])
    with Product(library, max_loop=50) as product:
        for most in (40, 0, 7):
            last, seen = product.run({"x": x, "next": after, "most": np.array(most)})
            right = small_models.walk(x, after, most, always=True)
            yield f"{most} times", last == right[0] and np.array_equal(seen, right[1])
        astray = {"x": x, "next": np.array([3, 9, 0, 1])}
        yield "a wrong index on the way is told", refused(lambda: product.run({**astray, "most": np.array(40)}), 2, "node")
        yield "none on the way", np.array_equal(product.run({**astray, "most": np.array(2)})[1], [1, 4])
        yield "max_loop", refused(lambda: product.run({"x": x, "next": after, "most": np.array(51)}), 5, "max_loop = 50")
        yield "cancelled", refused(lambda: product.step(ctypes.c_int(1)), 4, "cancelled")
        product.bind({"x": x, "next": after, "most": np.array(40)})
        counts = Counts(driver)
        product.step(ctypes.c_int(0))
        yield "a run that may be cancelled is not far ahead of the device", counts.cuStreamSynchronize == 1 + 40 // 16


def at_once(library, driver):
    """Instances count each for itself."""
    wrong = []

    def work(number):
        x = np.random.default_rng(number).standard_normal((9, 3)).astype(np.float32)
        with Product(library) as product:
            for turn in range(5):
                outer, inner = 1 + (number + turn) % 9, 1 + turn
                if not near(product.run({"x": x, "outer": np.array(outer), "inner": np.array(inner)}), small_models.nest(x, outer, inner)):
                    wrong.append((number, turn))

    at_the_same_time(work, *((number,) for number in range(4)))
    yield f"four threads: {wrong} wrong", not wrong


LOOP_GROUPS = [("HALVING", halving), ("SCANNED", scans), ("TUNED", tuned), ("NESTED", nested), ("WALK", walks), ("COUNTED", counted), ("NESTED", at_once)]
