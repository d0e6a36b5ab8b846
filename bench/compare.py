#!/usr/bin/env python3
"""Times compiled models and a peer side by side, in turns, and prints the ratio.

    compare.py [--build BUILD] [--threads 1] [--seconds 3] [--rounds 5] [--json FILE]
               [--peer onnxruntime|openvino|iree] [--peer-python PYTHON] [NAME ...]

Each engine lives in its own process and runs in turn for a slice of the time while the other sleeps, so both see the
same machine. A row gives each side's minimum over all rounds, and the ratio ONNX Runtime / Lapidary of the minima
and of the rounds' medians (above 1: Lapidary is faster). Models are zoo names; all of them when none are given.
"""
import argparse
import contextlib
import json
import math
import os
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "test"), os.path.join(HERE, "..", "test", "zoo"), HERE]


def open_lapidary(library, feeds, threads):
    from product import Product

    product = Product(library, threads=threads)
    product.bind(feeds)
    return product.step


def open_peer(peer, path, feeds, threads):
    import peers

    openers = {"onnxruntime": peers.open_ort, "openvino": peers.open_openvino, "iree": peers.open_iree}
    return openers[peer](path, feeds, threads)[1]


def serve(engine, path, library, threads):
    """A side's process: says when it is ready, then answers each line of seconds with the sorted times in ms."""
    import peers

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what an engine prints is not an answer
    try:
        feeds = peers.example_inputs(path)
        run = open_lapidary(library, feeds, threads) if engine == "lapidary" else open_peer(engine, path, feeds, threads)
        for _ in range(3):
            run()
    except Exception as error:
        print(repr(error), file=answers)
        return
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        times, end = [], time.perf_counter() + float(line)
        while len(times) < 3 or time.perf_counter() < end:
            start = time.perf_counter()
            run()
            times.append((time.perf_counter() - start) * 1e3)
        print(json.dumps(sorted(times)), file=answers, flush=True)


class Side:
    def __init__(self, python, engine, path, library, threads):
        self.process = subprocess.Popen([python, __file__, "--serve", engine, path, library, str(threads)], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.samples = []
        answer = self.process.stdout.readline().strip()
        if answer != "ready":
            self.close()
            raise RuntimeError(f"{engine}: {answer or 'ended at once'}")

    def measure(self, seconds):
        print(seconds, file=self.process.stdin, flush=True)
        self.samples.append(json.loads(self.process.stdout.readline()))

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def compare(name, path, library, args):
    with contextlib.ExitStack() as open_sides:
        sides = []
        for python, engine in ((sys.executable, "lapidary"), (args.peer_python, args.peer)):
            sides.append(Side(python, engine, path, library, args.threads))
            open_sides.callback(sides[-1].close)
        for _ in range(args.rounds):
            for side in sides:
                side.measure(args.seconds / args.rounds)
    ours, theirs = [side.samples for side in sides]
    best = [min(times[0] for times in samples) for samples in (ours, theirs)]
    median = [sorted(times[len(times) // 2] for times in samples)[len(samples) // 2] for samples in (ours, theirs)]
    return {"model": name, "threads": args.threads, "lapidary_min_ms": round(best[0], 3), args.peer + "_min_ms": round(best[1], 3),
            "ratio_min": round(best[1] / best[0], 3), "lapidary_median_ms": round(median[0], 3),
            args.peer + "_median_ms": round(median[1], 3), "ratio_median": round(median[1] / median[0], 3)}


def measure(names, args):
    """A row for each model, printed as it comes; None in place of one that failed."""
    import models

    rows = []
    print(f"{'model':22} {'threads':>7} {'ours ms':>9} {'peer ms':>9} {'ratio':>6} {'median':>7}")
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
            print(f"{name:22} {args.threads:7} {row['lapidary_min_ms']:9.3f} {row[args.peer + '_min_ms']:9.3f} "
                  f"{row['ratio_min']:6.2f} {row['ratio_median']:7.2f}", flush=True)
    return rows


def geometric_mean(values):
    values = list(values)
    return math.exp(sum(map(math.log, values)) / len(values))


def main():
    if sys.argv[1:2] == ["--serve"]:
        engine, path, library, threads = sys.argv[2:]
        return serve(engine, path, library, int(threads))
    import models

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json")
    parser.add_argument("--peer", choices=["onnxruntime", "openvino", "iree"], default="onnxruntime")
    parser.add_argument("--peer-python", default=sys.executable)
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
