#!/usr/bin/env python3
"""Runs each fuzz target over its seeds and over some mutations of them, the same each time. scripts/fuzz goes on from
there with libFuzzer and sanitizers.

    check.py --build BUILD      a line for each target; last "N passed, N failed"
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile

import seeds

ROUNDS = {"import": 30, "passes": 10}
USUAL_ROUNDS = 20


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    arguments = parser.parse_args()
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        seeds.write(pathlib.Path(folder), arguments.build)
        for program in sorted(pathlib.Path(arguments.build, "test", "fuzz").glob("fuzz_*")):
            if program.is_dir() or program.suffix:
                continue
            target = program.name.removeprefix("fuzz_")
            files = sorted(str(path) for path in pathlib.Path(folder, target).iterdir())
            done = subprocess.run([program, str(ROUNDS.get(target, USUAL_ROUNDS)), *files], capture_output=True, text=True, errors="replace")
            good = done.returncode == 0
            passed, failed = passed + good, failed + (not good)
            said = done.stdout.strip() if good else "\n".join(done.stderr.strip().splitlines()[-3:]) or f"status {done.returncode}"
            print(f"{'pass' if good else 'FAIL'} {target}: {said}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
