#!/usr/bin/env python3
"""The figures we answer for: each is measured, printed beside its limit, and the exit status is 1 when one is
missed. Wants a machine that does nothing else.

    figures.py [--build BUILD] [--seconds 3] [--rounds 5] [--openvino-python PYTHON] [--write] [PART ...]

    speed      every test model against ONNX Runtime, with 1 and 2 threads, on minima and on medians
    kinds      quantised, tree, recurrent and detector models, with 1 and 2 threads, each against its own limit; also
               against OpenVINO, when there is a Python that has it
    trees      compiling a tree model of 50 MB
    gemm       1024³, one thread: constant B, both operands live, symbolic M
    conv       ResNet-50's convolution layers, one thread; those of Winograd do less arithmetic and are only shown
    compile    time and memory of a compile, the model's file not in memory before; time of one for a CUDA device
    open       what opening ResNet-50 and its first run take beyond a warm run
    memory     what a run takes beside weights, planned arena and tensors

All of them when none is named. --write keeps what is printed in bench/results/figures.txt, under a head that says
when, on what and of which commit.
"""
import argparse
import contextlib
import datetime
import importlib.util
import multiprocessing
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
sys.path[:0] = [os.path.join(ROOT, "test", "zoo"), HERE]
import compare  # noqa: E402
import layers  # noqa: E402
import models  # noqa: E402

LEAST_MEAN, LEAST_RATIO = 1.0, 0.75                      # of ONNX Runtime's time over ours
LEVEL = 0.97                                             # as good, as far as can be measured
LEAST_OF_KIND = {"resnet50_int8_qdq": LEVEL, "bert_base_dynint8": LEVEL, "llama_tiny_int4": LEVEL, "lightgbm_600x63": 2,
                 "sk_scaler_rf": 2, "deepspeech2": 1.2, "tf_lstm_gru": 1.2, "ssdlite_detector": 1}
AGAINST_OPENVINO = ["resnet50_int8_qdq", "bert_base_dynint8", "llama_tiny_int4"]
TREE_SECONDS, TREE_MEMORY = 1, 3                         # of compiling; memory in sizes of the model's file
GEMM_SHARES = {"constant B": 0.90, "both live": 0.80}    # of the measured peak of one core
SYMBOLIC_SHARE = 0.97                                    # symbolic M, of the same product with M known
CONV_SHARE = 0.80                                        # of the peak, geometric mean of the direct layers
COMPILE_SECONDS = {"resnet50": 3, "bert_base": 6}
CUDA_SECONDS = {"resnet50": 15}                          # for sm_80, no image kept from before
OPEN_MS = 10
RESULTS = os.path.join(HERE, "results", "figures.txt")


@dataclass
class Figure:
    what: str
    value: float
    limit: float
    unit: str = ""
    at_most: bool = False

    def held(self):
        return self.value <= self.limit if self.at_most else self.value >= self.limit

    def line(self):
        bound = "at most" if self.at_most else "at least"
        return f"{'pass' if self.held() else 'MISS'}  {self.what}: {self.value:.3g}{self.unit} ({bound} {self.limit:g}{self.unit})"


def speed_figures(rows, threads):
    """A model that failed counts as infinitely slow."""
    for which, key in (("minima", "ratio_min"), ("medians", "ratio_median")):
        ratios = [row[key] if row else 0 for row in rows]
        what = f"{len(rows)} models, {threads} thread{'s'[:threads > 1]}, {which}: ONNX Runtime's time over ours"
        yield Figure(f"{what}, geometric mean", compare.geometric_mean(ratios) if all(ratios) else 0, LEAST_MEAN)
        yield Figure(f"{what}, least", min(ratios), LEAST_RATIO)


def speed(args):
    for threads in (1, 2):
        args.threads, args.peer, args.peer_python = threads, "onnxruntime", sys.executable
        yield from speed_figures(compare.measure(models.MODELS, args), threads)


def kind_figures(rows, names, threads, peer):
    for name, row in zip(names, rows):
        yield Figure(f"{name}, {threads} thread{'s'[:threads > 1]}: {peer}'s time over ours", row["ratio_min"] if row else 0, LEAST_OF_KIND[name])


def kinds(args):
    peers = [("onnxruntime", sys.executable, list(LEAST_OF_KIND))]
    if args.openvino_python:
        peers.append(("openvino", args.openvino_python, AGAINST_OPENVINO))
    for args.peer, args.peer_python, names in peers:
        for args.threads in (1, 2):
            yield from kind_figures(compare.measure(names, args), names, args.threads, args.peer)


def tree_model(path, trees=650, depth=10):
    """Complete trees of random splits and leaves: some 50 MB."""
    import numpy as np
    import onnx
    from onnx import helper

    rng = np.random.default_rng(0)
    inner, nodes = 2 ** depth - 1, 2 ** (depth + 1) - 1
    ids, is_leaf = np.arange(nodes), np.arange(nodes) >= inner
    each = lambda values: np.tile(values, trees)  # noqa: E731
    leaves = np.tile(is_leaf, trees)
    numbers = np.repeat(np.arange(trees), nodes)
    node = helper.make_node(
        "TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", n_targets=1, nodes_treeids=numbers, nodes_nodeids=each(ids),
        nodes_featureids=rng.integers(0, 30, trees * nodes), nodes_values=rng.standard_normal(trees * nodes, dtype=np.float32),
        nodes_hitrates=np.ones(trees * nodes, np.float32), nodes_modes=["LEAF" if leaf else "BRANCH_LEQ" for leaf in leaves],
        nodes_truenodeids=each(np.where(is_leaf, 0, 2 * ids + 1)), nodes_falsenodeids=each(np.where(is_leaf, 0, 2 * ids + 2)),
        target_treeids=numbers[leaves], target_nodeids=each(ids)[leaves], target_ids=np.zeros(leaves.sum(), int),
        target_weights=rng.standard_normal(leaves.sum(), dtype=np.float32))
    graph = helper.make_graph([node], "trees", [helper.make_tensor_value_info("x", 1, ["N", 30])], [helper.make_tensor_value_info("y", 1, ["N", 1])])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)], ir_version=9), path)


def trees(args):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "trees.onnx")
        maker = multiprocessing.get_context("spawn").Process(target=tree_model, args=(path,))   # a compiler forked from
        maker.start()                                                                           # here begins with our memory
        maker.join()
        process = subprocess.Popen([args.lapidary, "compile", "-q", path, "-o", os.path.join(folder, "trees.so")])
        _, status, usage = os.wait4(process.pid, 0)
        megabytes = os.path.getsize(path) / 1e6
    what = f"compile of {megabytes:.0f} MB of trees"
    yield Figure(f"{what}, CPU time", usage.ru_utime + usage.ru_stime if status == 0 else float("inf"), TREE_SECONDS, " s", at_most=True)
    yield Figure(f"{what}, memory over its size", usage.ru_maxrss * 1024 / 1e6 / megabytes, TREE_MEMORY, at_most=True)


def gemm_figures(shares):
    for what, limit in GEMM_SHARES.items():
        yield Figure(f"1024³, {what}: of the peak", 100 * shares[what], 100 * limit, " %")
        yield Figure(f"1024³, {what}, symbolic M: of M known", 100 * shares[f"{what}, symbolic M"] / shares[what], 100 * SYMBOLIC_SHARE, " %")


def gemm(args):
    tries = [layers.gemm(args) for _ in range(3)]   # the peak is measured again for each
    yield from gemm_figures({what: max(shares[what] for shares in tries) for what in tries[0]})


def conv_figures(shares):
    yield Figure(f"{len(shares['direct'])} direct convolution layers: of the peak, geometric mean",
                 100 * compare.geometric_mean(shares["direct"] or [1e-9]), 100 * CONV_SHARE, " %")


def conv(args):
    args.model = "resnet50"
    yield from conv_figures(layers.conv(args))


def forget(path):
    """Has the next reader of a file read it from the disk."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def compile_figures(name, seconds, peak_mb, file_mb):
    yield Figure(f"compile of {name}", seconds, COMPILE_SECONDS[name], " s", at_most=True)
    yield Figure(f"compile of {name}: memory", peak_mb, round(2.5 * file_mb + 200), " MB", at_most=True)


def cuda_figures(name, seconds):
    yield Figure(f"compile of {name} for sm_80, cold", seconds, CUDA_SECONDS[name], " s", at_most=True)


def timed_compile(args, path, *options):
    """Seconds and what was used, the file read from the disk."""
    forget(path)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        process = subprocess.Popen([args.lapidary, "compile", "-q", path, "-o", os.path.join(folder, "model.so"), *options])
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    return seconds if status == 0 else float("inf"), usage


def compiling(args):
    for name in COMPILE_SECONDS:
        path = models.path_of(name)
        seconds, usage = timed_compile(args, path)
        yield from compile_figures(name, seconds, usage.ru_maxrss / 1024, os.path.getsize(path) / 1e6)
    for name in CUDA_SECONDS:
        yield from cuda_figures(name, timed_compile(args, models.path_of(name), "--target=cuda:sm_80,no-ptx", "--no-cache")[0])


def opening(args):
    reports = [layers.bench(args, models.path_of("resnet50")) for _ in range(3)]
    beyond = min(report["load_ms"] for report in reports) - min(report["min_ms"] for report in reports)
    yield Figure("opening resnet50 and its first run, beyond a warm run", beyond, OPEN_MS, " ms", at_most=True)


def memory(args):
    spec = importlib.util.spec_from_file_location("artifacts", os.path.join(ROOT, "test", "artifact", "check.py"))
    artifact = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(artifact)
    with tempfile.TemporaryDirectory() as folder:
        for what, megabytes in artifact.run_memory(artifact.Artifacts(args.lapidary, folder), {"resnet50": [], "bert_base": ["N=1", "S=128"]}):
            yield Figure(f"{what}: beside weights, arena and tensors", megabytes, artifact.ALLOWANCE >> 20, " MB", at_most=True)


PARTS = {"speed": speed, "kinds": kinds, "trees": trees, "gemm": gemm, "conv": conv, "compile": compiling, "open": opening, "memory": memory}


def head(args):
    with open("/proc/cpuinfo") as info:
        fields = dict(line.split(":", 1) for line in info if ":" in line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    commit = subprocess.run(["git", "-C", ROOT, "log", "-1", "--format=%h %s"], capture_output=True, text=True).stdout.strip()
    import onnxruntime
    yield f"{fields['model name']}, {len(os.sched_getaffinity(0))} cores, {'AVX-512' if 'avx512f' in fields['flags'] else 'AVX2'}; Linux {platform.release()}"
    yield f"{datetime.date.today()}; load average {os.getloadavg()[0]:.1f}; ONNX Runtime {onnxruntime.__version__}"
    yield f"commit {commit}"
    yield "python bench/figures.py " + " ".join(sys.argv[1:])


class Tee:
    """Prints, and keeps what it prints."""

    def __init__(self):
        self.kept = []

    def write(self, text):
        self.kept.append(text)
        return sys.__stdout__.write(text)

    def flush(self):
        sys.__stdout__.flush()


def measure(args):
    """Prints everything, the figures again at the end; how many were missed."""
    print("\n".join(head(args)), flush=True)
    figures = []
    for part in args.parts or PARTS:
        print(f"\n== {part}", flush=True)
        for figure in PARTS[part](args):
            figures.append(figure)
            print(figure.line(), flush=True)
    print("\n== all")
    for figure in figures:
        print(figure.line())
    missed = sum(not figure.held() for figure in figures)
    print(f"{len(figures) - missed} passed, {missed} failed", flush=True)
    return missed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--seconds", type=float, default=3, help="for each measurement")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side, in speed and kinds")
    parser.add_argument("--openvino-python", help="a Python that has openvino, onnx and numpy")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    args = parser.parse_args()
    for part in args.parts:
        if part not in PARTS:
            parser.error(f"there is no part '{part}'; there are {', '.join(PARTS)}")
    args.lapidary = os.path.abspath(os.path.join(args.build, "tools", "lapidary"))
    tee = Tee()
    with contextlib.redirect_stdout(tee):
        missed = measure(args)
    if args.write:
        with open(RESULTS, "w") as file:
            file.write("".join(tee.kept))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
