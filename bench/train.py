#!/usr/bin/env python3
"""Time of a training step (forward, loss, backward, optimiser), Lapidary's product and PyTorch in turns.

    train.py --lapidary build/tools/lapidary [--threads N] [--rounds N] [--seconds S] [--torch PYTHON] [--compile] [--check-gradients] [CASE …]

Megabytes are what a process grows to by training, at most: beyond what it has before the first step, which is to hold the
parameters (a product reads its own when it is first run; they are taken off).
Each round times every engine once, for some seconds, in a process of its own. What counts is the least time of a step over
all rounds: others on the machine only add to it. With --cpu the least CPU time of a step, which a busy machine changes less;
it is of use with one thread alone. PYTHON is an interpreter that has torch; without it
Lapidary is timed alone. Prints a table, and writes JSON with --json.
"""
import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "test"), os.path.join(HERE, "..", "test", "zoo"), os.path.join(HERE, "..", "test", "train")]
CASES = ["mlp", "cnn_digits", "resnet18", "lstm", "transformer"]


def measured(step, seconds, clock):
    """Least time of a step in ms."""
    times, end = [], time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = clock()
        step()
        times.append((clock() - start) * 1e3)
    return min(times)


def peak_mb():
    with open("/proc/self/status") as file:
        fields = dict(line.split(":", 1) for line in file)
    return int(fields["VmHWM"].split()[0]) / 1024, int(fields["VmRSS"].split()[0]) / 1024


def time_product(args):
    import numpy as np
    import reference
    from product import Product
    before = peak_mb()[1]
    product = Product(args.library, threads=args.threads)
    parameters = sum(np.prod(shape) * 4 for _, kind, _, shape in product.states.values() if kind < 2) / 2**20
    x, labels = reference.batch(args.case, 0)
    product.bind({product.inputs[0][0]: x, "labels": labels})
    entry = product._function("entry_index")(b"train_step")
    product.step(entry=entry)
    least = measured(lambda: product.step(entry=entry), args.seconds, time.process_time if args.cpu else time.perf_counter)
    print(json.dumps({"ms": least, "mb": peak_mb()[0] - before - parameters}))


def time_torch(args):
    sys.path.insert(0, HERE)
    import torch
    import train_peers
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    step = train_peers.training_step(args.case, args.compile)
    before = peak_mb()[1]
    step()
    step()
    least = measured(step, args.seconds, time.process_time if args.cpu else time.perf_counter)
    print(json.dumps({"ms": least, "mb": peak_mb()[0] - before}))


def one(args, python, what, case, library="", more=()):
    command = [python, os.path.abspath(__file__), "--time", what, "--threads", str(args.threads), "--seconds", str(args.seconds),
               "--library", library, *(["--cpu"] if args.cpu else []), *more, case]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.splitlines()[-1])


def compare(args):
    import reference
    rows = []
    for case in args.cases:
        with tempfile.TemporaryDirectory() as folder:
            args.build, args.target = os.path.dirname(os.path.dirname(os.path.abspath(args.lapidary))), "native"
            model = reference.model_of(case, folder)
            start = time.perf_counter()
            library = reference.compiled(args, model, "sgd" if case == "resnet18" else "adamw", folder, *(["--check-gradients"] if args.check_gradients else []))
            row = {"case": case, "threads": args.threads, "compile_s": round(time.perf_counter() - start, 2)}
            engines = {"lapidary": lambda: one(args, sys.executable, "product", case, library)}
            if args.torch:
                engines["torch"] = lambda: one(args, args.torch, "torch", case)
            if args.torch and args.compile:
                engines["torch.compile"] = lambda: one(args, args.torch, "torch", case, more=["--compile"])
            for _ in range(args.rounds):
                for name, run in engines.items():
                    found = run()
                    row[name] = min(row.get(name, math.inf), round(found["ms"], 3))
                    row[name + "_mb"] = round(found["mb"], 1)
        rows.append(row)
        against = "".join(f"  {name} {row[name]:9.2f} ms ({row[name] / row['lapidary']:.2f}x, {row[name + '_mb']:.0f} MB)"
                          for name in ("torch", "torch.compile") if name in row)
        print(f"{case:12} {row['lapidary']:9.2f} ms ({row['lapidary_mb']:.0f} MB){against}   compiled in {row['compile_s']} s", flush=True)
    for name in ("torch", "torch.compile"):
        ratios = [row[name] / row["lapidary"] for row in rows if name in row]
        if ratios:
            print(f"against {name}: geometric mean {math.exp(sum(map(math.log, ratios)) / len(ratios)):.2f}, least {min(ratios):.2f}")
    if args.json:
        with open(args.json, "w") as file:
            json.dump(rows, file, indent=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lapidary", default="build/tools/lapidary")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--torch", metavar="PYTHON")
    parser.add_argument("--compile", action="store_true", help="torch.compile too")
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--check-gradients", action="store_true", help="as lapidary train does")
    parser.add_argument("--json")
    parser.add_argument("--time", choices=["product", "torch"], help=argparse.SUPPRESS)
    parser.add_argument("--library", default="", help=argparse.SUPPRESS)
    parser.add_argument("cases", nargs="*", default=CASES)
    args = parser.parse_args()
    if not args.time:
        return compare(args)
    args.case = args.cases[0]
    (time_product if args.time == "product" else time_torch)(args)


if __name__ == "__main__":
    main()
