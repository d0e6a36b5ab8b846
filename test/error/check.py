#!/usr/bin/env python3
"""Broken models, broken inputs and wrong usage, end to end through the command line.

    check.py --build BUILD [TEXT ...]    only cases whose name holds one of these texts

Each case is one class of mistake. What must hold of all: the exit code (0 fine, 1 wrong input, 2 usage, 3 unsupported,
4 file), one line for each problem that names the file and says what is wrong, nothing written, no crash, and time and
memory within the sandbox's limits. A line is printed for each case, and last "N passed, N failed".
"""
import argparse
import concurrent.futures
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..")]
import command_line  # noqa: E402
import container  # noqa: E402
import control_flow  # noqa: E402
import graphs  # noqa: E402
import limits  # noqa: E402
import operators  # noqa: E402
import quantization  # noqa: E402
import run_time  # noqa: E402
import sequences  # noqa: E402
import tensors  # noqa: E402
import trees  # noqa: E402
import valid  # noqa: E402
from case import put_files  # noqa: E402
from sandbox import Sandbox, problems_of  # noqa: E402


def check_model(case, sandbox):
    """The case as far as the graph, then through the whole compiler."""
    for arguments, written in (["--emit=graph"], []), ([], ["model.h", "model.so"]):
        with tempfile.TemporaryDirectory() as outer:
            folder = os.path.join(outer, "model")
            put_files(folder, {"model.onnx": case.model, **case.files})
            result = sandbox.run(folder, "compile", *arguments, "model.onnx")
        problems = problems_of(result, case.exit, case.lines, [] if case.exit else written, ("model.onnx: ", "warning: model.onnx: "))
        if problems:
            break
    return problems, result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("texts", nargs="*")
    arguments = parser.parse_args()
    sandbox = Sandbox(os.path.join(arguments.build, "tools", "lapidary"))
    checks = [(case.name, check_model, case) for family in (container, graphs, control_flow, operators, quantization, sequences, trees, tensors, limits, valid) for case in family.CASES]
    checks += [c for c in command_line.CHECKS if not (sandbox.sanitized and c[0] in command_line.NOT_SANITIZED)]
    checks += run_time.CHECKS
    wanted = [c for c in checks if not arguments.texts or any(text in c[0] for text in arguments.texts)]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for (name, _, _), (problems, result) in zip(wanted, pool.map(lambda check: check[1](check[2], sandbox), wanted)):
            failed += bool(problems)
            text = "".join(f"\n      {line[:300]}" for line in result.errors[:8]) if problems else ""
            print(f"{'FAIL' if problems else 'pass'}  {name}: {'; '.join(problems) or f'{result.seconds:.2f} s'}{text}", flush=True)
    print(f"{len(wanted) - failed} passed, {failed} failed")
    return failed > 0 or not wanted


if __name__ == "__main__":
    sys.exit(main())
