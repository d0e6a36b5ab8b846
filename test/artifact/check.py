#!/usr/bin/env python3
"""What every artifact promises beside its numbers, tried on compiled models.

    check.py --build BUILD [--all]

The same bytes for any number of jobs and every time; nothing left behind by a compile that failed; headers that
compile as C and C++ without a warning; eight threads with an instance each get the bits of one alone; wrong calls give
a status and a message and break nothing; opening and closing 200 times leaves nothing behind; a run's memory is
weights, planned arena and at most 10 MB. Objects, archives and programs, on this machine and on AArch64, are products.py's. The last line is "N passed, N failed".
"""
import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(HERE, ".."), os.path.join(HERE, "..", "zoo")]
import models  # noqa: E402
import tally  # noqa: E402
from products import check_products  # noqa: E402

DIGITS = os.path.join(ROOT, "examples", "digits", "digits.onnx")
STRICT = ["-Wall", "-Wextra", "-Werror", "-pedantic"]
ALLOWANCE = 10 << 20
REOPENINGS = 200


def run(*command, **options):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)


class Artifacts:
    """Compiles models into one folder, each once."""

    def __init__(self, lapidary, folder):
        self.lapidary, self.folder = lapidary, folder

    def compile(self, model, library, *options, **more):
        return run(self.lapidary, "compile", "-q", model, "-o", library, *options, **more)

    def library(self, name):
        path = os.path.join(self.folder, name + ".so")
        if not os.path.exists(path):
            done = self.compile(DIGITS if name == "digits" else models.path_of(name), path)
            assert done.returncode == 0, done.stderr
        return path

    def program(self, name, compiler=("cc", "-std=c99", "-D_POSIX_C_SOURCE=200809L")):
        """use_model.c built for a model; the warnings of the compiler, if any."""
        library = self.library(name)
        program = os.path.join(self.folder, f"use_{name}_{compiler[0].replace('+', 'p')}")
        done = run(*compiler, *STRICT, f"-DMODEL={name}", f'-DMODEL_HEADER="{name}.h"', "-I", self.folder, "-o", program,
                   *(["-x", "c++"] if "++" in compiler[0] else []), os.path.join(HERE, "use_model.c"), "-x", "none", library,
                   f"-Wl,-rpath,{self.folder}", "-pthread")
        assert done.returncode == 0, done.stderr
        return program


def same_bytes(artifacts, names):
    for name in names:
        seen = set()
        for number, jobs in enumerate((1, 2, 2)):
            folder = os.path.join(artifacts.folder, f"same{number}")
            os.mkdir(folder)
            library = os.path.join(folder, name + ".so")
            done = artifacts.compile(DIGITS if name == "digits" else models.path_of(name), library, "-j", jobs)
            assert done.returncode == 0, done.stderr
            seen.add((open(library, "rb").read(), open(library[:-3] + ".h", "rb").read()))
            if number == 2:
                shutil.move(library, artifacts.folder)
                shutil.move(library[:-3] + ".h", artifacts.folder)
            shutil.rmtree(folder)
        yield f"{name}: the same bytes for one job, two jobs, and again", "" if len(seen) == 1 else "bytes differ"


def left_after_failure(artifacts):
    resnet = models.path_of("resnet50")
    broken = os.path.join(artifacts.folder, "broken.onnx")
    with open(DIGITS, "rb") as whole, open(broken, "wb") as part:
        part.write(whole.read()[:700])

    def limited():
        import resource
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    def attempt(what, status, model, library="x.so", before=(), **options):
        folder = tempfile.mkdtemp(dir=artifacts.folder)
        for path in before:
            os.makedirs(os.path.join(folder, path))
        done = artifacts.compile(model, os.path.join(folder, library), **options)
        left = sorted(os.listdir(folder))
        wrong = [] if done.returncode == status else [f"status {done.returncode}, expected {status}: {done.stderr.strip()}"]
        wrong += [f"left {left}"] if left != sorted({path.split("/")[0] for path in before}) else []
        wrong += [] if done.stderr.strip() else ["no message"]
        shutil.rmtree(folder)
        return f"nothing is left after {what}", "; ".join(wrong)

    yield attempt("a broken model", 1, broken)
    yield attempt("a missing model", 4, os.path.join(artifacts.folder, "none.onnx"))
    yield attempt("a full disk", 4, resnet, preexec_fn=limited)
    yield attempt("a folder in the library's place", 4, DIGITS, before=["x.so/inside"])
    yield attempt("a folder in the header's place", 4, DIGITS, before=["x.h/inside"])
    for number in (signal.SIGINT, signal.SIGTERM):
        folder = tempfile.mkdtemp(dir=artifacts.folder)
        process = subprocess.Popen([artifacts.lapidary, "compile", "-q", resnet, "-o", os.path.join(folder, "x.so")],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.time() + 60
        while not os.listdir(folder) and process.poll() is None and time.time() < deadline:
            time.sleep(0.01)
        process.send_signal(number)
        process.wait()
        left = os.listdir(folder)
        yield f"nothing is left after {number.name}", f"left {left}, status {process.returncode}" if left or not process.returncode else ""


def clean_headers(artifacts):
    for compiler in (("cc", "-std=c99", "-D_POSIX_C_SOURCE=200809L"), ("cc", "-std=c11", "-D_POSIX_C_SOURCE=200809L"),
                     ("c++", "-std=c++98", "-Wno-long-long"), ("c++", "-std=c++20")):
        for mode in ("errors", "threads"):
            done = run(artifacts.program("digits", compiler), mode)
            yield f"digits: a {' '.join(compiler[:2])} program, {mode}", "" if done.returncode == 0 else done.stderr.strip()


def side_by_side(artifacts, names):
    for name, symbols in names.items():
        for mode in ("threads", "errors"):
            done = run(artifacts.program(name), mode, *symbols)
            yield f"{name}: {mode}", "" if done.returncode == 0 else done.stderr.strip()


def reopened(artifacts):
    program = os.path.join(artifacts.folder, "reopen")
    done = run("cc", "-std=gnu11", *STRICT, "-I", os.path.join(ROOT, "runtime"), os.path.join(HERE, "reopen.c"), "-o", program, "-ldl")
    assert done.returncode == 0, done.stderr
    done = run(program, artifacts.library("digits"), "digits", REOPENINGS)
    what = f"digits: opened and closed {REOPENINGS} times"
    if done.returncode:
        yield what, done.stderr.strip()
        return
    first, last = [list(map(int, line.split())) for line in done.stdout.splitlines()]
    grown = [after - before for before, after in zip(first, last)]
    # Resident memory comes in pages, and the dynamic linker keeps some; a leak is more than 1 kB each time.
    yield what, "" if grown[0] <= REOPENINGS and max(grown[1:]) <= 0 else "grown by {} kB, {} mappings, {} files, {} threads".format(*grown)


def run_memory(artifacts, names):
    """(what, MB a run takes beside weights, planned arena and tensors)"""
    for name, symbols in names.items():
        weights = os.path.getsize(artifacts.library(name))
        for threads in (1, 2):
            done = run(artifacts.program(name), "memory", threads, *symbols)
            assert done.returncode == 0, done.stderr
            found = dict(zip(done.stdout.split()[::2], map(int, done.stdout.split()[1::2])))
            planned = found["arena"] + found["tensors"]
            own, peak = found["own"] - planned, found["peak"] - planned - weights   # pages of weights nobody reads are not there
            yield f"{name}, {threads} threads, {found['peak'] >> 20} MB", max(own, peak) / (1 << 20)


def memory(artifacts, names):
    for what, megabytes in run_memory(artifacts, names):
        yield f"{what}: {megabytes:.1f} MB of its own", "" if megabytes <= ALLOWANCE >> 20 else f"more than {ALLOWANCE >> 20} MB"


def said(kind):
    for what, wrong in kind:
        yield f"{what}{': ' + wrong if wrong else ''}", not wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--all", action="store_true", help="BERT's memory too")
    args = parser.parse_args()
    lapidary = os.path.abspath(os.path.join(args.build, "tools", "lapidary"))
    with tempfile.TemporaryDirectory() as folder:
        artifacts = Artifacts(lapidary, folder)
        large = {"bert_base": ["N=2", "S=128"]} if args.all else {}
        kinds = (same_bytes(artifacts, ["digits", "squeezenet1_1", "resnet50", "bilstm_tagger", "tf_mobilenet_v2"]),
                 left_after_failure(artifacts), clean_headers(artifacts), reopened(artifacts),
                 side_by_side(artifacts, {"squeezenet1_1": ["N=2"], "bilstm_tagger": ["N=3", "S=17"]}),
                 check_products(lapidary), memory(artifacts, {"resnet50": [], "bilstm_tagger": [], **large}))
        return tally.run(("", lambda kind=kind: said(kind)) for kind in kinds)


if __name__ == "__main__":
    sys.exit(main())
