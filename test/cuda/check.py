#!/usr/bin/env python3
"""Products for CUDA on the stand-in driver: how they fail (errors.py), what their interface does (products.py), ONNX's
node tests of each family of kernels, and small models of the zoo (emulate.py).

    check.py --build BUILD [--only GROUP,GROUP]

The last line is "N passed, N failed, N skipped". Without NVRTC all of it is skipped.
"""
import argparse
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, ".."), os.path.join(HERE, "..", "zoo")]
import emulate  # noqa: E402
import errors  # noqa: E402
import products  # noqa: E402
import small_models  # noqa: E402

MODELS = ["squeezenet1_1", "tf_lstm_gru", "greedy_decoder", "sk_scaler_rf"]


def models(build, driver):
    for name in MODELS:
        with tempfile.TemporaryDirectory() as folder:
            model, feeds = emulate.zoo_model(name)
            for what, message, passed in emulate.check(model, feeds, folder, build, "cuda:sm_80", driver):
                yield f"{name}, {what}: {message}", passed


def has_nvrtc(build):
    """Is there one? Else what the compiler says."""
    with tempfile.TemporaryDirectory() as folder:
        model = small_models.save(small_models.FEEDBACK, os.path.join(folder, "model.onnx"))
        done = subprocess.run([os.path.join(build, "tools", "lapidary"), "compile", "-q", model, "-o", os.path.join(folder, "model.so"),
                               "--target=cuda:sm_80"], capture_output=True, text=True)
    return done.returncode != 3, done.stderr.strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--only", default="errors,products,models")
    args = parser.parse_args()
    build = os.path.abspath(args.build)
    found, message = has_nvrtc(build)
    if not found:
        print(f"skip  {message}\n0 passed, 0 failed, 1 skipped")
        return 0
    driver = emulate.Driver(build)
    groups = {"errors": lambda: errors.checks(build), "products": lambda: products.checks(build, driver),
              "models": lambda: models(build, driver)}
    counts = {True: 0, False: 0}
    for name in args.only.split(","):
        try:
            for what, passed in groups[name]():
                counts[passed] += 1
                print(f"{'pass' if passed else 'FAIL'}  {name}: {what}", flush=True)
        except Exception as error:  # one group's failure must not hide the others
            counts[False] += 1
            print(f"FAIL  {name}: {error!r}", flush=True)
    print(f"{counts[True]} passed, {counts[False]} failed")
    return counts[False] > 0 or not counts[True]


if __name__ == "__main__":
    sys.exit(main())
