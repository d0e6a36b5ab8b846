#!/usr/bin/env python3
"""Quantised models, kernel by kernel, against the interpreter: integer sums equal, codes at most one apart in at most
0.1 % of the elements of each kernel.

    exactness.py --build BUILD [--all] [NAME ...]

Without names a small network of all forms of quantised layers, with unsigned and signed codes; with --all the zoo's quantised models too, which take
the interpreter minutes. The figures of each are printed; the last line is "N passed, N failed".
"""
import argparse
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..")]
import models  # noqa: E402
import quantised_cnn  # noqa: E402

SMALL = {"small": np.uint8, "small, signed": np.int8}
SHAPES = {"resnet50_int8_qdq": ["x=1x3x224x224"], "bert_base_dynint8": ["ids=1x16", "mask=1x16"]}


def check(name, lapidary, folder):
    path = os.path.join(folder, name + ".onnx")
    if name in SMALL:
        onnx.save(quantised_cnn.small(SMALL[name]), path)
    else:
        path = models.path_of(name)
    command = [lapidary, "run", "-q", path, "--check-each-kernel"]
    for shape in SHAPES.get(name, []):
        command += ["--shape", shape]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = (done.stdout if done.returncode in (0, 1) and done.stdout else done.stderr).splitlines()
    print(f"{'pass' if done.returncode == 0 else 'FAIL'}  {name}:", *lines, sep="\n      ", flush=True)
    return done.returncode == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    names = args.names or [*SMALL, *(SHAPES if args.all else ())]
    lapidary = os.path.join(args.build, "tools", "lapidary")
    with tempfile.TemporaryDirectory() as folder:
        good = [check(name, lapidary, folder) for name in names]
    print(f"{sum(good)} passed, {len(good) - sum(good)} failed")
    return not all(good)


if __name__ == "__main__":
    sys.exit(main())
