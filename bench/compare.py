#!/usr/bin/env python3
"""Times compiled models and ONNX Runtime side by side, in turns, and prints the ratio.

    compare.py [--build BUILD] [--threads 1] [--seconds 3] [--rounds 5] [--json FILE] [NAME ...]

Each engine lives in its own process and runs in turn for a slice of the time while the other sleeps, so both see the
same machine. A row gives each side's minimum over all rounds, and the ratio ONNX Runtime / Lapidary of the minima
and of the rounds' medians (above 1: Lapidary is faster). Models are zoo names; all of them when none are given.
"""
import argparse
import json
import math
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "test"), os.path.join(HERE, "..", "test", "zoo"), HERE]


def open_lapidary(path, library, feeds, threads):
    from product import Product

    product = Product(library, threads=threads)
    product.bind(feeds)
    return product.step


def open_onnxruntime(path, library, feeds, threads):
    import peers

    return peers.open_ort(path, feeds, threads)[1]


def worker(opener, path, library, name, threads, pipe):
    """Runs on demand: receives seconds, answers with the sorted times in ms; a None ends it."""
    import peers

    try:
        run = opener(path, library, peers.example_inputs(name + ".onnx"), threads)
        for _ in range(3):
            run()
        pipe.send("ready")
    except Exception as error:
        pipe.send(repr(error))
        return
    while (seconds := pipe.recv()) is not None:
        times, end = [], time.perf_counter() + seconds
        while len(times) < 3 or time.perf_counter() < end:
            start = time.perf_counter()
            run()
            times.append((time.perf_counter() - start) * 1e3)
        pipe.send(sorted(times))


def compare(name, path, library, args):
    ours, theirs = [], []
    sides = []
    for opener, samples in ((open_lapidary, ours), (open_onnxruntime, theirs)):
        here, there = multiprocessing.Pipe()
        process = multiprocessing.Process(target=worker, args=(opener, path, library, name, args.threads, there), daemon=True)
        process.start()
        answer = here.recv()
        if answer != "ready":
            raise RuntimeError(answer)
        sides.append((here, samples, process))
    for _ in range(args.rounds):
        for pipe, samples, _ in sides:
            pipe.send(args.seconds / args.rounds)
            samples.append(pipe.recv())
    for pipe, _, process in sides:
        pipe.send(None)
        process.join()
    best = [min(times[0] for times in samples) for samples in (ours, theirs)]
    median = [sorted(times[len(times) // 2] for times in samples)[len(samples) // 2] for samples in (ours, theirs)]
    return {"model": name, "threads": args.threads, "lapidary_min_ms": round(best[0], 3), "onnxruntime_min_ms": round(best[1], 3),
            "ratio_min": round(best[1] / best[0], 3), "lapidary_median_ms": round(median[0], 3),
            "onnxruntime_median_ms": round(median[1], 3), "ratio_median": round(median[1] / median[0], 3)}


def measure(names, args):
    """A row for each model, printed as it comes; None in place of one that failed."""
    import models

    rows = []
    print(f"{'model':22} {'threads':>7} {'ours ms':>9} {'ort ms':>9} {'ratio':>6} {'median':>7}")
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            library = os.path.join(folder, name + ".so")
            try:
                path = models.path_of(name)
                subprocess.run([os.path.join(args.build, "tools", "lapidary"), "compile", "-q", path, "-o", library], check=True)
                row = compare(name, path, library, args)
                os.remove(library)
            except Exception as error:
                print(f"{name:22} failed: {error}", flush=True)
                rows.append(None)
                continue
            rows.append(row)
            print(f"{name:22} {args.threads:7} {row['lapidary_min_ms']:9.3f} {row['onnxruntime_min_ms']:9.3f} "
                  f"{row['ratio_min']:6.2f} {row['ratio_median']:7.2f}", flush=True)
    return rows


def geometric_mean(values):
    values = list(values)
    return math.exp(sum(map(math.log, values)) / len(values))


def main():
    import models

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    rows = [row for row in measure(args.names or list(models.MODELS), args) if row]
    if rows:
        ratios = [row["ratio_min"] for row in rows]
        print(f"geometric mean of {len(rows)}: {geometric_mean(ratios):.3f}, least {min(ratios):.2f}")
    if args.json:
        with open(args.json, "w") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()
