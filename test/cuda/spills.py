"""Kernels of models for CUDA devices must not spill registers: spills.py --build build [--all] [MODEL…]

Compiles each model for every generation of devices and reads what the compiler told of each kernel (lapidary inspect
--json): it must spill nothing and, if it has a schedule, need no memory of a thread's own (a stack); kernels without one,
a CPU's task for a thread each, may keep arrays there. What is measured must have kernels of its family. The models are small ones with many kinds of kernels, kernels that are measured on GPUs (bench/gpu): of these
one product, one convolution and attention of usual and of wide heads, with --all each of another tile, type or layout; and convolutions whose operands come
element by element, volumes, groups and weights that are no constants. Models of the zoo that are not materialised are
skipped, everything is where there is no NVRTC.
"""
import argparse
import functools
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bench" / "gpu")]
import cases  # noqa: E402
import graphs  # noqa: E402
import nvrtc  # noqa: E402
from elements import BF16, F16, F32  # noqa: E402

ZOO = pathlib.Path(os.environ.get("LAPIDARY_CACHE", pathlib.Path.home() / ".cache" / "lapidary")) / "zoo"
MODELS = [ROOT / "examples" / "digits" / "digits.onnx", ZOO / "tf_lstm_gru.onnx", ZOO / "sk_scaler_rf.onnx"]
TARGETS = ["cuda:sm_80,sm_86,sm_89,sm_90,sm_100,sm_120,no-ptx", "cuda:sm_90a,no-ptx"]
MORE_TARGETS = ["cuda:sm_75,no-ptx"]   # with --all
FAMILIES = {"gemm": "product", "conv": "product", "attention": "attention"}   # of what is measured
WIDEST_OF_TURING = 192   # heads that its shared memory has room for; those of wider ones are products


def kernels(every):
    """M is symbolic where there is one: such products come in several tiles."""
    yield cases.gemm("bert", F16, 768, 768, (128,))
    yield cases.attention(16, 64, 512, True)
    yield cases.attention(16, 256, 512, False)
    if not every:
        return
    yield cases.convolution(128, 128, 3, 2, 56, False, (1,), ())
    yield cases.gemm("gpt2", F16, 50257, 768, (4096,), fixed=True)
    yield cases.gemm("bert", BF16, 3072, 768, (128,))
    for dtype in (F16, BF16):
        yield cases.gemm("cube", dtype, 1024, 1024, (1024,), weights=False, transposed=True)
        yield cases.gemm("llama", dtype, 4096, 14336, (4096,), fixed=True)
    yield from (cases.gemm("bert", F32, 3072, 768, (4096,), options=[f"--f32={how}"] if how else []) for how in ("", "tf32", "3xtf32", "bf16"))
    yield from (cases.attention(16, width, 512, causal) for width in (32, 64, 80, 128, 160, 224, 256) for causal in (False, True) if (width, causal) not in ((64, True), (256, False)))
    yield from (cases.convolution(*shape, True, (32,), (32,)) for shape in [(3, 64, 7, 2, 224), (64, 64, 3, 1, 56), (256, 512, 1, 2, 56)])


@dataclass
class Convolution:
    """Of f16. An image's first extent may be a symbol."""
    name: str
    image: tuple
    weights: tuple
    group: int = 1
    pad: int = 0
    live: bool = False   # the weights are an input

    def save(self, path):
        describe = helper.make_tensor_value_info
        inputs = [describe("x", onnx.TensorProto.FLOAT16, self.image)]
        constants = []
        if self.live:
            inputs.append(describe("w", onnx.TensorProto.FLOAT16, self.weights))
        else:
            values = np.random.default_rng(0).standard_normal(self.weights).astype(np.float16)
            constants.append(numpy_helper.from_array(values, "w"))
        axes = len(self.image) - 2
        node = helper.make_node("Conv", ["x", "w"], ["y"], group=self.group, pads=[self.pad] * 2 * axes)
        out = [None] * len(self.image)
        graph = helper.make_graph([node], self.name, inputs, [describe("y", onnx.TensorProto.FLOAT16, out)], constants)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)


def convolutions(every):
    yield Convolution("volumes", ("N", 16, 16, 32, 32), (16, 16, 3, 3, 3))
    yield Convolution("groups_live", ("N", 64, 28, 28), (64, 16, 3, 3), group=4, pad=1, live=True)
    if not every:
        return
    yield Convolution("volumes_padded", ("N", 32, 16, 32, 32), (32, 32, 3, 3, 3), pad=1)
    yield Convolution("volumes_one", (1, 32, 16, 16, 16), (32, 32, 3, 3, 3), pad=1)
    yield Convolution("volumes_wide", (8, 64, 16, 32, 32), (64, 64, 3, 3, 3), pad=1)
    yield Convolution("volumes_live", (1, 16, 8, 16, 16), (16, 16, 3, 3, 3), pad=1, live=True)
    yield Convolution("groups", ("N", 64, 28, 28), (64, 16, 3, 3), group=4, pad=1)
    yield Convolution("groups_live_wide", ("N", 256, 14, 14), (256, 64, 3, 3), group=4, pad=1, live=True)
    yield Convolution("images_live", ("N", 64, 56, 56), (64, 64, 3, 3), pad=1, live=True)


def is_plain(kernel):
    return "plain" in kernel["schedule"].split()


def spilling(report):
    """A line for each kernel that spills, or has a stack in spite of its schedule."""
    return [f"{k['arch']} {k['kernel']} ({k['family']} {k['schedule']}): {k['registers']} registers, {k['spill_store_bytes']} bytes spilled, "
            f"{k['stack_bytes']} of stack"
            for k in report["device_code"] if k["spill_store_bytes"] or (k["stack_bytes"] and not is_plain(k))]


def missing(report, target, family):
    """A line if there is no kernel of the family."""
    return [] if any(k["family"] == family for k in report["device_code"]) else [f"{target}: no kernel of family '{family}'"]


def family_of(case, target):
    opened = case.kind == "attention" and "sm_75" in target and case.sizes["width"] > WIDEST_OF_TURING
    return "product" if opened else FAMILIES[case.kind]


def check(lapidary, model, targets, options=(), family=lambda target: None):
    """"passed", "failed" or "skipped", and why. `family`: which one a target must have kernels of, if any."""
    if not model.exists():
        return "skipped", "not materialised"
    lines, count = [], 0
    for target in targets:
        command = [lapidary, "inspect", model, f"--target={target}", "--json", "-q", *options]
        done = subprocess.run(command, capture_output=True, text=True)
        if nvrtc.is_missing(done):
            return "skipped", done.stderr.strip()
        if done.returncode:
            return "failed", done.stderr.strip()
        report = json.loads(done.stdout)
        lines += spilling(report)
        if family(target):
            lines += missing(report, target, family(target))
        count += len(report["device_code"])
    if lines or not count:
        return "failed", "\n  ".join(lines) or "no kernels"
    return "passed", f"{count} kernels"


def checks(lapidary, models, every):
    """Name, result and why, of each."""
    targets = TARGETS + MORE_TARGETS * every
    for model in models or MODELS:
        yield model.stem, *check(lapidary, model, targets)
    with tempfile.TemporaryDirectory() as folder:
        for case in [] if models else kernels(every):
            path = pathlib.Path(folder) / f"{case.name}.onnx"
            graphs.save(case, path)
            yield case.name, *check(lapidary, path, targets, case.options, functools.partial(family_of, case))
        for case in [] if models else convolutions(every):
            path = pathlib.Path(folder) / f"{case.name}.onnx"
            case.save(path)
            yield case.name, *check(lapidary, path, targets, family=lambda target: "product")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=ROOT / "build", type=pathlib.Path)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("models", nargs="*", type=pathlib.Path, help="instead of the list")
    arguments = parser.parse_args()
    counts = dict.fromkeys(("passed", "failed", "skipped"), 0)
    for name, result, why in checks(arguments.build / "tools" / "lapidary", arguments.models, arguments.all):
        counts[result] += 1
        print(f"{result}  {name}: {why}", flush=True)
    print(f"{counts['passed']} passed, {counts['failed']} failed" + (f", {counts['skipped']} skipped" if counts["skipped"] else ""))
    return counts["failed"] > 0


if __name__ == "__main__":
    sys.exit(main())
