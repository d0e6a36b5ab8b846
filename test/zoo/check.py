#!/usr/bin/env python3
"""Compiles the zoo's models and compares them with ONNX Runtime.

    check.py --build BUILD [--all] [--target T] [NAME ...]

For each model: one artifact, at the benchmark's shapes and at another set (batch 3, other lengths), relative L2 at
most 1e-5 for every float output, integers equal; 1, 2 and 4 threads give the same bits; no
hot loop touches the stack with a vector. Without --all, models above
110 MB are left out. The last line is "N passed, N failed".
"""
import argparse
import os
import subprocess
import sys
import tempfile

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..")]
import models  # noqa: E402
from codegen_spills import spills  # noqa: E402
from product import Product  # noqa: E402

TOLERANCE = 1e-5
# Sigmoid epilogues of short reductions are unrolled into the loop over tiles and spill there. Counted as skipped.
KNOWN_SPILLS = {"efficientnet_b0"}
SMALL_MB = 110


def reference(path, feeds):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"]).run(None, feeds)


def relative_l2(got, expected):
    if got.shape != expected.shape:
        return float("inf")
    if not np.issubdtype(expected.dtype, np.floating):
        return 0.0 if np.array_equal(got, expected) else float("inf")
    scale = np.linalg.norm(expected.astype(np.float64)) or 1.0
    error = np.linalg.norm(got.astype(np.float64) - expected.astype(np.float64)) / scale
    return error if np.isfinite(error) else float("inf")


def check(name, lapidary, target, folder):
    """Yields (what, error or message, passed: None for a check that is known not to hold yet)."""
    path = models.path_of(name)
    library = os.path.join(folder, name + ".so")
    done = subprocess.run([lapidary, "compile", "-q", path, "-o", library, "--target", target], capture_output=True, text=True)
    if done.returncode:
        yield "compile", (done.stderr.strip().splitlines() or ["no message"])[-1], False
        return
    bits = {}
    for threads in (1, 2, 4):
        with Product(library, threads=threads) as product:
            for what, feeds in (("first", models.example_inputs(name + ".onnx")), ("other", models.other_inputs(name))):
                bits[threads, what] = feeds, product.run(feeds)
    for what in ("first", "other"):
        feeds, got = bits[1, what]
        worst = max(map(relative_l2, got, reference(path, feeds)))
        yield f"{what} shapes", f"relative L2 {worst:.1e}", bool(worst <= TOLERANCE)
        same = all(np.array_equal(a, b, equal_nan=True) for n in (2, 4) for a, b in zip(got, bits[n, what][1]))
        yield f"{what} shapes, threads", "same bits" if same else "bits differ between thread counts", same
    hot, found = spills(library)
    held = None if found and name in KNOWN_SPILLS else hot > 0 and not found
    yield "hot loops", f"{hot}, {len(found)} vector accesses to the stack in them", held
    os.remove(library)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--target", default="native")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    names = args.names or [n for n, size in models.MODELS.items() if args.all or size <= SMALL_MB]
    lapidary = os.path.join(args.build, "tools", "lapidary")
    counts = {True: 0, False: 0, None: 0}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            try:
                for what, message, passed in check(name, lapidary, args.target, folder):
                    counts[passed] += 1
                    print(f"{ {True: 'pass', False: 'FAIL', None: 'skip'}[passed]}  {name}: {what}: {message}", flush=True)
            except Exception as error:  # one model's failure must not hide the others
                counts[False] += 1
                print(f"FAIL  {name}: {error!r}", flush=True)
    print(f"{counts[True]} passed, {counts[False]} failed" + (f", {counts[None]} skipped" if counts[None] else ""))
    return counts[False] > 0 or not counts[True]


if __name__ == "__main__":
    sys.exit(main())
