"""ONNX's backend suite through compiled code: each case's model to a library, loaded, run, compared.

    runner.py --build BUILD [--only SUBSTRING] [--jobs N] [--write]
    runner.py --build BUILD --target=aarch64 --emulator "qemu-aarch64 -L /usr/aarch64-linux-gnu" […]
    runner.py --build BUILD --target=cuda:sm_80 […]

A model whose operands decide shapes is compiled as it is first. Where that is not supported, its inputs after the first
(all that are tensors, where some are not) become initializers; cases that pass in that form alone are counted apart, since a product then holds the operands.
unsupported.txt beside this file names the cases that are not supported, and those that are so in that form alone, each
with the reason. With an emulator the cases run as programs (--emit=exe) in it, tensors in files. Products for CUDA run on
the stand-in driver (test/cuda/emulate.py), their kernels compiled for this CPU: a second or two a case. A case fails when its result is wrong, when compiling or running ends in anything but "not supported",
when it crashes or hangs, or when the table says otherwise of it; --write writes the table anew.
The last line is "N passed, N failed, N unsupported".
"""
import argparse
import collections
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx

import suite

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent), str(pathlib.Path(__file__).resolve().parent.parent / "cuda")]
import emulate  # noqa: E402
from product import Product, ProductError  # noqa: E402

TABLE = suite.Table(pathlib.Path(__file__).with_name("unsupported.txt"),
                    "Cases of ONNX's backend suite that compiled code does not support, and why: scripts/conformance --write.")
CONSTANT = "only with constant operands: "
SECONDS = {"compile": 120, "case": 300}
CASES_OF_PROCESS = 200   # what their products open stays: of emulated kernels 64 stacks and more, of which each is two mappings
UNSUPPORTED = 3   # lapidary's exit code

Verdict = collections.namedtuple("Verdict", "kind reason", defaults=[""])   # "passed", "constant", "unsupported", "failed"


class Refused(Exception):
    """What the compiler does not support."""


# --- one case, within a worker ------------------------------------------------------------------------------------------

def reason_of(stderr):
    """The first line without the file's and the node's name: what many cases share."""
    line = (stderr.strip().splitlines() or ["no message"])[0]
    line = re.sub(r"^[^ ]*\.onnx: ", "", line)
    return re.sub(r"^node .*? \(\w+, [^)]*\): ", "", line)


def compile_model(options, model, forms, folder, name):
    path, product = folder / f"{name}.onnx", folder / f"{name}.so"
    path.write_bytes(model.SerializeToString())
    kind = "exe" if options.emulator else "so"
    told = [f"--{option}={name}={value}" for option, name, value in forms]
    try:
        done = subprocess.run([options.lapidary, "compile", "-q", "-j1", f"--target={options.target}", f"--emit={kind}", *told,
                               path, "-o", product], capture_output=True, text=True, timeout=SECONDS["compile"])
    except subprocess.TimeoutExpired:
        raise AssertionError(f"compiling takes longer than {SECONDS['compile']} s")
    if done.returncode == UNSUPPORTED:
        raise Refused(reason_of(done.stderr))
    assert done.returncode == 0, f"compiling ends with {done.returncode}: {(done.stderr.strip().splitlines() or [''])[0]}"
    if options.target.startswith("cuda"):
        emulate.use_kernels(str(path), options.build, options.target, told)
    return product


def run_in_library(library, inputs_of_runs):
    """The outputs of each run. An input that the product does not have is one that it does not need."""
    with Product(library, threads=2) as model:
        for given in inputs_of_runs:
            for slot, (name, code, _) in enumerate(model.inputs):
                assert given[name].data_type == code, f"input {name} is of type {code}, the case has {given[name].data_type}"
                shape, data = suite.content(given[name])
                model.bind_bytes(slot, code, shape, np.frombuffer(data, np.uint8).copy())   # bytes may be at any address
            model.step()
            yield {name: suite.tensor_of(*model.result_bytes(i)) for i, (name, *_) in enumerate(model.outputs)}


def run_as_program(emulator, program, inputs_of_runs, outputs):
    """The same, through files."""
    for given in inputs_of_runs:
        arguments = []
        for i, (name, value) in enumerate(given.items()):
            path = program.with_name(f"input_{i}.pb")
            path.write_bytes(value.SerializeToString())
            arguments += ["--input", f"{name}={path}"]
        files = [program.with_name(f"output_{i}.pb") for i in range(len(outputs))]
        for name, file in zip(outputs, files):
            arguments += ["--output", f"{name}={file}"]
        done = subprocess.run([*emulator, program, "--threads=2", *arguments], capture_output=True, text=True,
                              errors="replace", timeout=SECONDS["compile"])
        assert done.returncode == 0, f"the program ends with {done.returncode}: {done.stderr.strip()}"
        yield {name: suite.array_of(onnx.TensorProto.FromString(file.read_bytes())) for name, file in zip(outputs, files)}


def check_case(case, options, folder, constant):
    """Raises Refused or AssertionError, or nothing."""
    declared, outputs = case.inputs(), case.model.graph.output
    model, kept = suite.baked(case) if constant else (case.model, declared)
    forms = suite.forms(declared, case.data_sets[0][0])
    product = compile_model(options, model, forms, folder, "constant" if constant else "model")
    data_sets = case.data_sets[:1] if constant else case.data_sets
    runs = [suite.named(kept, [value for info, value in zip(declared, inputs) if info in kept]) for inputs, _ in data_sets]
    results = [suite.named(outputs, values) for _, values in data_sets]
    if options.emulator:
        found = run_as_program(options.emulator, product, runs, list(results[0]))
    else:
        found = run_in_library(product, runs)
    for got, expected in zip(found, results):
        assert list(got) == list(expected), f"outputs {list(got)}, expected {list(expected)}"
        for name in expected:
            wrong = suite.difference(got[name], suite.array_of(expected[name]), case.rtol, case.atol, case.name)
            assert not wrong, f"output {name} {wrong}"


def verdict_on(case, options, folder):
    try:
        check_case(case, options, folder, constant=False)
        return Verdict("passed")
    except Refused as refused:
        reason = str(refused)
    except (AssertionError, ProductError) as error:
        return Verdict("failed", str(error))
    try:
        check_case(case, options, folder, constant=True)
        return Verdict("constant", CONSTANT + reason)
    except Refused:
        return Verdict("unsupported", reason)
    except (AssertionError, ProductError) as error:
        return Verdict("failed", f"with constant operands: {error}")


def work(pipe, cases, options, root):
    """Answers each index it is sent with a verdict. What a product does to this process, its parent sees."""
    driver = emulate.Driver(options.build) if options.target.startswith("cuda") else None
    for index in iter(pipe.recv, None):
        with tempfile.TemporaryDirectory(dir=root) as folder:
            try:
                verdict = verdict_on(cases[index], options, pathlib.Path(folder))
            except Exception as error:
                verdict = Verdict("failed", repr(error))
        if driver and driver.leaks():
            verdict = Verdict("failed", f"{driver.leaks()} things of the device are not given back")
        pipe.send(verdict)


# --- all cases, over some workers ---------------------------------------------------------------------------------------

class Worker:
    def __init__(self, *arguments):
        self.arguments, self.index = arguments, None
        self.start()

    def start(self):
        self.given = 0
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=work, args=(theirs, *self.arguments), daemon=True)
        self.process.start()
        theirs.close()

    def give(self, index):
        if self.given == CASES_OF_PROCESS:
            self.pipe.send(None)
            self.process.join()
            self.start()
        self.given += 1
        self.index, self.deadline = index, time.monotonic() + SECONDS["case"]
        self.pipe.send(index)

    def verdict(self):
        """Of the case at hand; None while there is none. A worker that died or hangs is replaced."""
        if self.pipe.poll():
            try:
                return self.pipe.recv()
            except EOFError:
                self.process.join()
                reason = f"the process ends with {self.process.exitcode}"
        elif time.monotonic() > self.deadline:
            self.process.kill()
            self.process.join()
            reason = f"takes longer than {SECONDS['case']} s"
        else:
            return None
        self.start()
        return Verdict("failed", reason)


def verdicts_of(cases, options, root):
    """{case's name: verdict}; the large models first."""
    found = {}
    waiting = sorted(range(len(cases)), key=lambda i: cases[i].model.ByteSize())
    workers = [Worker(cases, options, root) for _ in range(options.jobs)]
    busy = []
    while waiting or busy:
        for worker in workers:
            if worker.index is None and waiting:
                worker.give(waiting.pop())
        busy = [worker for worker in workers if worker.index is not None]
        multiprocessing.connection.wait([worker.pipe for worker in busy], timeout=1)
        for worker in busy:
            if verdict := worker.verdict():
                found[cases[worker.index].name], worker.index = verdict, None
        busy = [worker for worker in workers if worker.index is not None]
    for worker in workers:
        worker.pipe.send(None)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--only", default="", help="cases whose name holds this: node/, light/, softmax")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--target", default="native", help="as of lapidary compile")
    parser.add_argument("--emulator", default="", help="command in front of the programs")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.write and options.only:
        parser.error("--write needs every case")
    options.build = str(pathlib.Path(options.build).resolve())
    options.lapidary = pathlib.Path(options.build) / "tools/lapidary"
    options.emulator = options.emulator.split()
    if options.emulator:
        SECONDS.update({what: 10 * seconds for what, seconds in SECONDS.items()})
    cases = [case for case in suite.every_case() if options.only in case.name]
    with tempfile.TemporaryDirectory() as folder:
        verdicts = verdicts_of(cases, options, folder)
    wrong = {name: verdict.reason for name, verdict in verdicts.items() if verdict.kind == "failed"}
    others = {name: verdict for name, verdict in verdicts.items() if name not in wrong}
    reasons = {name: verdict.reason for name, verdict in others.items() if verdict.reason}
    if options.write:
        TABLE.write(reasons)
    failed = {**TABLE.unlike(reasons, options.only), **wrong}
    for name, what in sorted(failed.items()):
        print(f"FAIL  {name}: {what}")
    counts = collections.Counter(verdict.kind for name, verdict in others.items() if name not in failed)
    passed = counts["passed"] + counts["constant"]
    print(f"{counts['constant']} of those that passed did so only with constant operands")
    print(f"{passed} passed, {len(failed)} failed, {counts['unsupported']} unsupported")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
