#!/usr/bin/env python3
"""Products for CUDA on a machine without a device: the stand-in driver (driver/driver.h) over emulated kernels.

    emulate.py [--build BUILD] [--target cuda:sm_80] [--device] MODEL ...

Each MODEL, a name of the zoo, is compiled for CUDA and for this CPU; both run on the same inputs, two sets of them, and
float outputs must be as near to each other as test/zoo/models.py asks for, others equal. The product runs four times: its
kernels one by one, then as a graph, then as a graph whose inputs moved, then one by one while profiling. With --device all
that happens on this machine's own device. The last line is "N passed, N failed".

Where the build is sanitized, so are the kernels (sanitizers.py). As a module: emulated() compiles a model and gives the product's path with its kernels in place.
"""
import argparse
import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(HERE, ".."), os.path.join(HERE, "..", "zoo")]
import sanitizers  # noqa: E402
import tally  # noqa: E402
from product import Product  # noqa: E402

COMPILER = [os.environ.get("CXX", "g++"), "-std=c++17", "-O1", "-mf16c", "-mfma", "-ffp-contract=off", "-w", "-fPIC", "-shared", "-I" + ROOT]


class Driver:
    """The stand-in, loaded into this process: a product's dlopen finds it by its name."""

    def __init__(self, build):
        sanitizers.begin_again(build)
        self.library = ctypes.CDLL(os.path.join(build, "test", "cuda", "libcuda.so.1"))

    def calls(self, name):
        return self.library.standin_calls(name.encode())

    def leaks(self):
        return self.library.standin_leaks()


def lapidary(build, *arguments):
    done = subprocess.run([os.path.join(build, "tools", "lapidary"), *arguments], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no message"])[-1])
    return done.stdout


def emulator_text():
    folder = os.path.join(HERE, "emulator")
    paths = [os.path.join(HERE, "emulator.h")] + [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
    return "".join(open(path).read() for path in paths)


def unit_source(text):
    names = sorted(set(re.findall(r"__global__[^{]*?\b(lpd_k\w+)\(", text)))
    return '#include "test/cuda/emulator.h"\n' + text + "".join(f"\nEMULATED_KERNEL({name})" for name in names) + "\n"


def compiler_of(build):
    return COMPILER + sanitizers.flags(build)


def key_of(text, compiler):
    return hashlib.sha256((text + emulator_text() + " ".join(compiler)).encode()).hexdigest()[:24]


def precompiled_emulator(folder, compiler):
    """Where an include finds emulator.h as g++ has read it once: that is half of a small kernel's compilation."""
    place = os.path.join(folder, "precompiled_" + key_of("", compiler))
    if not os.path.exists(place):
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            header = os.path.join(temporary, "made", "test", "cuda", "emulator.h")
            os.makedirs(os.path.dirname(header))
            shutil.copy2(os.path.join(HERE, "emulator.h"), header)   # is looked at when it is included again
            subprocess.run([*compiler, "-x", "c++-header", header, "-o", header + ".gch"], check=True)
            try:
                os.rename(os.path.join(temporary, "made"), place)
            except OSError:   # another process was first
                pass
    return place


def emulated_kernels(text, build):
    """CUDA text as a library for the host, kept in the build folder by its content."""
    sources = [unit_source(unit) for unit in re.split(r"^// level \d+:.*\n", text, flags=re.MULTILINE)]
    folder = os.path.join(build, "test", "cuda", "emulated")
    compiler = compiler_of(build)
    library = os.path.join(folder, key_of("".join(sources), compiler) + ".so")
    if not os.path.exists(library):
        os.makedirs(folder, exist_ok=True)
        command = [compiler[0], "-I" + precompiled_emulator(folder, compiler), *compiler[1:]]
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            paths = [os.path.join(temporary, f"kernels{number}.cpp") for number in range(len(sources))]
            for path, source in zip(paths, sources):
                with open(path, "w") as file:
                    file.write(source)
            made = os.path.join(temporary, "kernels.so")
            subprocess.run(command + paths + ["-o", made], check=True)
            os.rename(made, library)
    return library


def use_kernels(model, build, target, options=()):
    """Instances made from here on, until the next call, run this model's kernels."""
    text = lapidary(build, "compile", "-q", model, "--emit=cuda", "--target", target, *options)
    os.environ["LAPIDARY_EMULATED_KERNELS"] = emulated_kernels(text, build)


def compiled(model, folder, build, target, options=()):
    name = re.sub(r"\W", "_", os.path.splitext(os.path.basename(model))[0])
    library = os.path.join(folder, name + ".so")
    lapidary(build, "compile", "-q", model, "-o", library, "--target", target, *options)
    return library


def emulated(model, folder, build, target="cuda:sm_80", options=()):
    """The product's path, its kernels in use."""
    library = compiled(model, folder, build, target, options)
    use_kernels(model, build, target, options)
    return library


def difference(got, expected):
    """Relative L2 of floats; of others 0 or infinity."""
    if got.shape != expected.shape or got.dtype != expected.dtype:
        return float("inf")
    if not np.issubdtype(expected.dtype, np.floating):
        return 0.0 if np.array_equal(got, expected) else float("inf")
    a, b = got.astype(np.float64), expected.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    error = np.linalg.norm(np.where(same, 0, a - b)) / (np.linalg.norm(np.where(same, 0, b)) or 1.0)
    return error if np.isfinite(error) else float("inf")


def halves(feeds):
    """Other values at other addresses: a kernel that runs too early then sees what the run before left."""
    return {name: value * value.dtype.type(0.5) if value.dtype.kind == "f" else value.copy() for name, value in feeds.items()}


def check(model, feeds, folder, build, target, driver, tolerance):
    """Yields (what, message, passed). Without the stand-in's driver: on a device."""
    cpu = os.path.join(folder, "cpu.so")
    lapidary(build, "compile", "-q", model, "-o", cpu)
    runs = {"one by one": feeds, "as a graph": halves(feeds), "as a graph, moved": feeds, "profiled": halves(feeds)}
    with Product(cpu, symbol="cpu") as product:
        expected = {what: product.run(given) for what, given in runs.items()}
    with Product((emulated if driver else compiled)(model, folder, build, target)) as product:
        for what, given in runs.items():
            if what == "profiled":
                product.profile_enable(True)
            worst = max(map(difference, product.run(given), expected[what]))
            yield what, f"relative L2 {worst:.1e}", bool(worst <= tolerance)
        times = product.profile()
        yield "profile", f"{len(times)} steps", all(ns >= 0 for ns in times) and (sum(times) > 0 or not times)
    if driver:
        yield "all given back", f"{driver.leaks()} left", driver.leaks() == 0


def check_zoo(name, build, target, driver):
    import models

    with tempfile.TemporaryDirectory() as folder:   # a library that was opened is not opened again under its path
        yield from check(models.path_of(name), models.example_inputs(name + ".onnx"), folder, build, target, driver,
                         models.tolerance(name))


def said(*arguments):
    for what, message, passed in check_zoo(*arguments):
        yield f"{what}: {message}", passed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(ROOT, "build"))
    parser.add_argument("--target", default="cuda:sm_80")
    parser.add_argument("--device", action="store_true")
    parser.add_argument("names", nargs="+")
    args = parser.parse_args()
    driver = None if args.device else Driver(args.build)
    return tally.run((name, lambda name=name: said(name, args.build, args.target, driver)) for name in args.names)


if __name__ == "__main__":
    sys.exit(main())
