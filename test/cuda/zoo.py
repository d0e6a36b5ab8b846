#!/usr/bin/env python3
"""Compiles the zoo's models for CUDA devices, one product of each for all of them, and tells what that costs.

    zoo.py [--build BUILD] [--target cuda:sm_80,sm_90a,sm_120] [--cold] [NAME ...]

A line for each model, small ones first: seconds, the images in the product and their bytes, and the product's. With --cold
the cache of images is an empty one. Trees in one kernel take NVRTC minutes, so those models
are left out unless they are named. The last line is "N passed, N failed".
"""
import argparse
import os
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, ".."), os.path.join(HERE, "..", "zoo")]
import emulate  # noqa: E402
import models  # noqa: E402
import tally  # noqa: E402

TREES = {"lightgbm_600x63", "sk_scaler_rf"}


def compiles(name, args):
    """Yields what it took."""
    options = ["compile", "-q", models.path_of(name), "--target", args.target]
    with tempfile.TemporaryDirectory() as folder:
        product, images = (os.path.join(folder, part, "model") for part in ("product", "images"))
        os.makedirs(os.path.dirname(images))
        os.makedirs(os.path.dirname(product))
        if args.cold:
            os.environ["XDG_CACHE_HOME"] = folder
        began = time.monotonic()
        emulate.lapidary(args.build, *options, "-o", product + ".so")
        seconds = time.monotonic() - began
        emulate.lapidary(args.build, *options, "-o", images, "--emit=cubin,ptx")
        sizes = [os.path.getsize(file.path) for file in os.scandir(os.path.dirname(images))]
        yield (f"{seconds:.1f} s, {len(sizes)} images of {sum(sizes):,} bytes in a product of "
               f"{os.path.getsize(product + '.so'):,} bytes"), bool(sizes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(emulate.ROOT, "build"))
    parser.add_argument("--target", default="cuda:sm_80,sm_90a,sm_120")
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    names = args.names or sorted(set(models.MODELS) - TREES, key=models.MODELS.get)
    return tally.run((name, lambda name=name: compiles(name, args)) for name in names)


if __name__ == "__main__":
    sys.exit(main())
