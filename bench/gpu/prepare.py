#!/usr/bin/env python3
"""Compiles what bench/gpu/run.py measures, on a machine with the compiler, into a folder to carry to one with a GPU.

    prepare.py --lapidary build/tools/lapidary [--target cuda:sm_80,sm_90a] [--only TEXT] [--stand-in BUILD] FOLDER

FOLDER then holds all that is needed there beside Python and numpy: the scripts, the products (packed) and manifest.json.
Networks of the zoo are made f16 (half.py), and compiled with made-up weights (--weights=seeded), to be timed, for any extents
and for each that is timed; and with weights that repeat, to be checked against ONNX Runtime's results in f32 on the same
weights, which are computed here. Graphs are trained with the weights that PyTorch began with, which training.py draws again.
--stand-in makes a few tiny products instead, with their kernels built for the host, for `run.py --stand-in`.
What could not be compiled is said in the manifest, and fails there too; the exit status is 1 then.
"""
import argparse
import json
import lzma
import os
import re
import shutil
import subprocess
import sys
import time

import numpy as np
import onnx
import onnxruntime

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(ROOT, "test", part) for part in ("zoo", "cuda", "train")]
import cases  # noqa: E402
import graphs  # noqa: E402
import half  # noqa: E402
import programs  # noqa: E402
import training  # noqa: E402
import work  # noqa: E402

SCRIPTS = ["run.py", "crew.py", "worker.py", "cases.py", "checks.py", "device.py", "elements.py", "goals.py", "jax_peer.py", "programs.py",
           "table.py", "timing.py", "torch_models.py", "torch_peers.py", "torch_training.py", "training.py", "work.py"]
OTHERS = ["test/product.py", "test/zoo/train_cases.py", "bench/train_peers.py"]
EVERY = 61                  # of a network's results, one in so many is kept: enough to see, and to carry
PACK = [{"id": lzma.FILTER_LZMA2, "preset": 1, "dict_size": 64 << 20}]   # a network's layers are alike, far apart


class Folder:
    def __init__(self, args):
        self.path, self.args = args.folder, args
        for part in ("products", "models"):
            os.makedirs(os.path.join(self.path, part), exist_ok=True)
        for script in SCRIPTS:
            shutil.copy(os.path.join(HERE, script), self.path)
        for script in OTHERS:
            shutil.copy(os.path.join(ROOT, script), self.path)

    def model(self, name):
        return os.path.join(self.path, "models", name + ".onnx")

    def lapidary(self, *arguments):
        done = subprocess.run([self.args.lapidary, *arguments], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError((done.stderr.strip().splitlines() or ["no message"])[0])
        return done.stdout

    def compile(self, model, name, options=()):
        """The product's record."""
        symbol = re.sub(r"\W", "_", name)
        library = os.path.join(self.path, "products", symbol + ".so")
        self.lapidary("compile", "-q", "-j1", model, "-o", library, "--target", self.args.target, *options)
        record = {"product": symbol, "bytes": os.path.getsize(library)}
        if self.args.stand_in:
            import emulate
            text = self.lapidary("compile", "-q", model, "--emit=cuda", "--target", self.args.target, *options)
            record["emulated"] = emulate.emulated_kernels(text, os.path.abspath(self.args.stand_in))
        pack(library)
        return record


def pack(library):
    """In its place, and without the header that came with it."""
    with open(library, "rb") as source, lzma.open(library + ".xz", "wb", filters=PACK) as packed:
        shutil.copyfileobj(source, packed, 1 << 20)
    os.remove(library)
    os.remove(library.removesuffix(".so") + ".h")


def prepare_kernel(folder, case):
    path = folder.model(case.name)
    graphs.save(case, path)
    return folder.compile(path, case.name, case.options)


def prepare_program(folder, program):
    path = folder.model(program.name)
    graphs.save_program(program, path)
    return folder.compile(path, program.name, program.options)


def network(model):
    if model.name == "tiny_classifier":
        return graphs.tiny_classifier()
    import models
    return onnx.load(models.path_of(model.name))


def expected_results(path, model):
    """Of the f32 network on what its f16 inputs are, for each of the sizes that are checked."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for sizes in model.check:
        feeds = work.model_feeds(cases.model_inputs(model.name, sizes))
        feeds = {name: array.astype(np.float32) if array.dtype == np.float16 else array for name, array in feeds.items()}
        yield [np.array(result).ravel()[::EVERY] for result in session.run(None, feeds)]


def shapes(name, sizes):
    """Options that fix the extents of its inputs."""
    for key, _, shape, _ in cases.model_inputs(name, sizes):
        yield from ("--shape", f"{key}={'x'.join(map(str, shape))}")


def prepare_model(folder, model):
    original, simple, narrow = network(model), folder.model(model.name + "_f32"), folder.model(model.name)
    onnx.save(half.to_half(original), narrow)
    record = folder.compile(narrow, model.name, ["--weights=seeded"])
    record["fixed"] = [folder.compile(narrow, f"{model.name}_{at}", ["--weights=seeded", *shapes(model.name, sizes)])
                       for at, sizes in enumerate(model.time)]
    half.simple_weights(original, model.layers)
    half.rounded_weights(original)
    onnx.save(original, simple)
    onnx.save(half.to_half(original), narrow)
    record["checked"] = folder.compile(narrow, model.name + "_check")
    results = {f"{at}_{slot}": result for at, found in enumerate(expected_results(simple, model)) for slot, result in enumerate(found)}
    np.savez_compressed(os.path.join(folder.path, "products", model.name + ".npz"), **results)
    os.remove(simple)
    return record | {"every": EVERY}


def prepare_training(folder, case):
    """With weights that are made up, as training.py sets them all."""
    import reference
    path = reference.model_of(case.graph, os.path.join(folder.path, "models"))
    options = ["--train", "--optimizer", reference.OPTIMIZERS[case.optimizer], f"--f32={case.f32}", "--weights=seeded"]
    record = folder.compile(path, case.name, options)
    drawn = training.save_weights(case.graph, path, reference.materialize.HERE, os.path.join(folder.path, "products"))
    with open(os.path.join(reference.materialize.HERE, "train", "reference.json")) as file:
        losses = json.load(file)[case.graph][case.optimizer]["losses"]
    rounded = case.f32 != "ieee"
    return record | {"drawn": drawn, "batches": training.batch_totals(case.graph, case.steps), "losses": losses[:case.steps],
                     "first": training.ROUNDED_FIRST if rounded else reference.FIRST,
                     "bound": None if rounded else reference.BOUNDS[case.graph]}


def attempt(what, prepare):
    """The record; of what failed, why."""
    start = time.perf_counter()
    try:
        record = prepare()
        print(f"{what}: {record['bytes'] / 1e6:.2f} MB, {time.perf_counter() - start:.1f} s", flush=True)
    except Exception as error:  # the rest is worth carrying
        record = {"failed": str(error)[:300]}
        print(f"{what}: FAILED: {record['failed']}", flush=True)
    return record


def f32_options(folder):
    return [(), ("--f32=tf32",), ("--f32=3xtf32",), ("--f32=bf16",)] if "--f32" in folder.lapidary("compile", "--help") else [()]


def commit():
    done = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lapidary", default=os.path.join(ROOT, "build", "tools", "lapidary"))
    parser.add_argument("--target", default="cuda:sm_80,sm_90a")
    parser.add_argument("--only", default="", help="kernels and models whose name has this in it")
    parser.add_argument("--stand-in", metavar="BUILD", help="the build folder with the stand-in driver")
    parser.add_argument("folder")
    args = parser.parse_args()
    folder = Folder(args)
    kernels = cases.tiny_kernels() if args.stand_in else cases.kernels(f32_options(folder))
    models = cases.TINY_MODELS if args.stand_in else cases.MODELS
    trainings = cases.TINY_TRAINING if args.stand_in else cases.TRAINING
    chosen = lambda items: [item for item in items if args.only in item.name]  # noqa: E731
    manifest = {"commit": commit(), "target": args.target, "kernels": [], "programs": [], "models": [], "training": []}
    for case in chosen(kernels):
        manifest["kernels"].append(case.record() | attempt(case.name, lambda: prepare_kernel(folder, case)))
    for program in chosen(programs.PROGRAMS):
        manifest["programs"].append(program.record() | attempt(program.name, lambda: prepare_program(folder, program)))
    for model in chosen(models):
        manifest["models"].append(model.record() | attempt(model.name, lambda: prepare_model(folder, model)))
    for case in chosen(trainings):
        manifest["training"].append(case.record() | attempt(case.name, lambda: prepare_training(folder, case)))
    shutil.rmtree(os.path.join(folder.path, "models"))
    with open(os.path.join(folder.path, "manifest.json"), "w") as file:
        json.dump(manifest, file, indent=1)
    products = os.path.join(folder.path, "products")
    size = sum(os.path.getsize(os.path.join(products, name)) for name in os.listdir(products))
    print(f"{size / 1e6:.1f} MB in {args.folder}")
    return any("failed" in record for part in ("kernels", "programs", "models", "training") for record in manifest[part])


if __name__ == "__main__":
    sys.exit(main())
