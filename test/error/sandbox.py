"""Runs `lapidary` the way a stranger's model is met: in a folder of its own, within limits of time and memory.

    result = Sandbox("build/tools/lapidary").run(folder, "compile", "model.onnx")
    result.exit, result.errors, result.leftovers
"""
import os
import resource
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass

SECONDS = 10
ADDRESS_SPACE = 6 << 30
RESIDENT_MB = 1024


@dataclass
class Result:
    exit: int           # negative: killed by that signal
    output: str
    errors: list        # lines of stderr
    seconds: float
    resident_mb: float
    leftovers: list     # files that were not there before
    most_mb: float      # resident, allowed


def files_in(folder):
    return {os.path.relpath(os.path.join(at, name), folder) for at, _, names in os.walk(folder) for name in names}


def text_of(file):
    file.seek(0)
    return file.read().decode(errors="backslashreplace")


def problems_of(result, exit, lines, written, starts=("",)):
    """What of a result is not as it must be: one line for each of `lines`, which it holds (of several: one)."""
    problems = []
    if result.exit != exit:
        problems.append(f"exit code {result.exit}, expected {exit}")
    if len(result.errors) != len(lines):
        problems.append(f"{len(result.errors)} lines, expected {len(lines)}")
    for line, expected in zip(result.errors, lines):
        if not any(part in line for part in ((expected,) if isinstance(expected, str) else expected)):
            problems.append(f"no {expected!r}")
    for line in result.errors:
        if not line.startswith(starts):
            problems.append("the file is not named")
        if len(line) > 400 or not line.isascii() or not line.isprintable():
            problems.append("a line that is too long, or not plain text")
    if result.leftovers != written:
        problems.append(f"files left: {result.leftovers}")
    if result.resident_mb > result.most_mb:
        problems.append(f"{result.resident_mb:.0f} MB")
    return problems


class Sandbox:
    def __init__(self, program):
        self.program = os.path.abspath(program)
        with open(self.program, "rb") as file:
            self.sanitized = b"__asan_init" in file.read()
        # AddressSanitizer reserves terabytes of addresses; its builds are several times slower and larger.
        self.seconds = SECONDS * (6 if self.sanitized else 1)
        self.resident_mb = RESIDENT_MB * (4 if self.sanitized else 1)

    def run(self, folder, *arguments, stdout=None, file_bytes=resource.RLIM_INFINITY):
        """stdout: a path to write to. file_bytes: no file may grow beyond, which is like a full disk."""
        def limit():
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
            if not self.sanitized:
                resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))

        before, start = files_in(folder), time.monotonic()
        with open(stdout, "w") if stdout else tempfile.TemporaryFile() as output:
            process = subprocess.Popen([self.program, *arguments], cwd=folder, env=dict(os.environ, TMPDIR=folder), stdin=subprocess.DEVNULL,
                                       stdout=output, stderr=subprocess.PIPE, preexec_fn=limit, restore_signals=False)   # SIGXFSZ stays ignored
            killer = threading.Timer(self.seconds, process.kill)
            killer.start()
            errors = process.stderr.read().decode(errors="backslashreplace").splitlines()
            _, status, usage = os.wait4(process.pid, 0)
            killer.cancel()
            process.returncode = os.waitstatus_to_exitcode(status)
            text = "" if stdout else text_of(output)
            return Result(process.returncode, text, errors, time.monotonic() - start, usage.ru_maxrss / 1024,
                          sorted(files_in(folder) - before), self.resident_mb)
