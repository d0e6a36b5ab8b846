#!/usr/bin/env python3
"""Compiles the zoo's models and compares them with ONNX Runtime.

    check.py --build BUILD [--all] [--target T,T] [NAME ...]

For each model and target: one artifact, at the benchmark's shapes and at another set (batch 3, other lengths), relative
L2 at most 1e-5 (more for quantised models) for every float output, integers equal; no hot loop touches the stack with a vector. For the first
target, 1, 2 and 4 threads give the same bits. Targets are this machine and, of small models, AVX2 when the machine has
more. Without --all, models above 110 MB are left out. The last line is "N passed, N failed".
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

# Loops that hold more than their registers, none of them a product's. Counted as skipped.
KNOWN_SPILLS = {  # at most so many, and why
    ("mobilenet_v3_large", "native"): (9, "weights of 8 channels, lifted out of the loop over tiles and read back from the stack"),
    ("ssdlite_detector", "native"): (77, "weights of few channels, lifted out of the loop over tiles and read back from the stack"),
    ("ssdlite_detector", "x86-64-v3"): (17, "weights of few channels, lifted out of the loop over tiles and read back from the stack"),
    ("llama_tiny", "native"): (99, "angles of the rotary embedding, computed for each run's positions"),
    ("llama_tiny_int4", "native"): (99, "angles of the rotary embedding, computed for each run's positions"),
}
NO_VECTORS = {"sk_scaler_rf"}  # large trees are walked without
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


def inputs_of(name):
    return {"first": models.example_inputs(name + ".onnx"), "other": models.other_inputs(name)}


def check(name, lapidary, target, thread_counts, folder, references):
    """Yields (what, error or message, passed: None for a check that is known not to hold yet)."""
    path = models.path_of(name)
    library = os.path.join(folder, name + ".so")
    done = subprocess.run([lapidary, "compile", "-q", path, "-o", library, "--target", target], capture_output=True, text=True)
    if done.returncode:
        yield "compile", (done.stderr.strip().splitlines() or ["no message"])[-1], False
        return
    results = {}
    for threads in thread_counts:
        with Product(library, threads=threads) as product:
            for what, feeds in inputs_of(name).items():
                results[threads, what] = product.run(feeds)
    for what, expected in references.items():
        got = results[thread_counts[0], what]
        worst = max(map(relative_l2, got, expected))
        yield f"{what} shapes", f"relative L2 {worst:.1e}", bool(worst <= models.tolerance(name))
        if len(thread_counts) > 1:
            same = all(np.array_equal(a, b, equal_nan=True) for n in thread_counts for a, b in zip(got, results[n, what]))
            yield f"{what} shapes, threads", "same bits" if same else "bits differ between thread counts", same
    hot, found = spills(library)
    most, known = KNOWN_SPILLS.get((name, target), (0, None))
    if not 0 < len(found) <= most:
        known = None
    message = f"{hot}, {len(found)} vector accesses to the stack in them" + (f" (known: {known})" if known else "")
    yield "hot loops", message, None if known else (hot > 0 or name in NO_VECTORS) and not found
    os.remove(library)


def has_avx512():
    with open("/proc/cpuinfo") as info:
        return "avx512f" in info.read()


def targets_of(name, given):
    """The first target is checked in full."""
    if given:
        return given.split(",")
    return ["native", "x86-64-v3"] if has_avx512() and models.MODELS[name] <= SMALL_MB else ["native"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--target")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    names = args.names or [n for n, size in models.MODELS.items() if args.all or size <= SMALL_MB]
    lapidary = os.path.join(args.build, "tools", "lapidary")
    counts = {True: 0, False: 0, None: 0}
    for name in sorted({os.path.splitext(file)[0] for file in os.listdir(os.path.join(models.HERE, "graphs"))} - set(models.MODELS)):
        counts[False] += 1
        print(f"FAIL  {name}: in no list of models")
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            try:
                references = {what: reference(models.path_of(name), feeds) for what, feeds in inputs_of(name).items()}
                for number, target in enumerate(targets_of(name, args.target)):
                    threads = (1, 2, 4) if number == 0 else (2,)
                    for what, message, passed in check(name, lapidary, target, threads, folder, references):
                        counts[passed] += 1
                        verdict = {True: "pass", False: "FAIL", None: "skip"}[passed]
                        print(f"{verdict}  {name}, {target}: {what}: {message}", flush=True)
            except Exception as error:  # one model's failure must not hide the others
                counts[False] += 1
                print(f"FAIL  {name}: {error!r}", flush=True)
    print(f"{counts[True]} passed, {counts[False]} failed" + (f", {counts[None]} skipped" if counts[None] else ""))
    return counts[False] > 0 or not counts[True]


if __name__ == "__main__":
    sys.exit(main())
