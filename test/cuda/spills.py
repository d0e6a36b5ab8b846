"""Kernels of models for CUDA devices must not spill registers: spills.py --build build

Compiles each model for every generation of devices and reads what the compiler told of each kernel (lapidary inspect
--json). Models of the zoo that are not materialised are skipped, everything is where there is no NVRTC.

A few bytes are no failure: ptxas puts away what a loop does not use when one more block then fits a multiprocessor.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
ZOO = pathlib.Path(os.environ.get("LAPIDARY_CACHE", pathlib.Path.home() / ".cache" / "lapidary")) / "zoo"
MODELS = [ROOT / "examples" / "digits" / "digits.onnx", ZOO / "tf_lstm_gru.onnx", ZOO / "sk_scaler_rf.onnx"]
TARGET = "cuda:sm_80,sm_86,sm_90,sm_100,sm_120,no-ptx"
NO_NVRTC = 4
FEW_BYTES = 32  # stored by a thread


def spilling(report):
    """A line for each kernel that spills more than a little."""
    return [f"{k['arch']} {k['kernel']} ({k['family']}): {k['registers']} registers, {k['spill_store_bytes']} bytes spilled"
            for k in report["device_code"] if k["spill_store_bytes"] > FEW_BYTES]


def check(lapidary, model):
    """"passed", "failed" or "skipped", and why."""
    if not model.exists():
        return "skipped", "not materialised"
    command = [lapidary, "inspect", model, f"--target={TARGET}", "--json", "-q"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == NO_NVRTC:
        return "skipped", done.stderr.strip()
    if done.returncode:
        return "failed", done.stderr.strip()
    report = json.loads(done.stdout)
    lines = spilling(report)
    if lines or not report["device_code"]:
        return "failed", "\n  ".join(lines) or "no kernels"
    return "passed", f"{len(report['device_code'])} kernels"


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--build", default=ROOT / "build", type=pathlib.Path)
    options.add_argument("models", nargs="*", type=pathlib.Path, help="instead of the list")
    arguments = options.parse_args()
    counts = dict.fromkeys(("passed", "failed", "skipped"), 0)
    for model in arguments.models or MODELS:
        result, why = check(arguments.build / "tools" / "lapidary", model)
        counts[result] += 1
        print(f"{result}  {model.stem}: {why}", flush=True)
    print(f"{counts['passed']} passed, {counts['failed']} failed" + (f", {counts['skipped']} skipped" if counts["skipped"] else ""))
    return counts["failed"] > 0


if __name__ == "__main__":
    sys.exit(main())
