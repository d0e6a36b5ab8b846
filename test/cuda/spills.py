"""Kernels of models for CUDA devices must not spill registers: spills.py --build build

Compiles each model for every generation of devices and reads what the compiler told of each kernel (lapidary inspect
--json). Models of the zoo that are not materialised are skipped, everything is where there is no NVRTC.
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
TARGETS = ["cuda:sm_80,sm_86,sm_89,sm_90,sm_100,sm_120,no-ptx", "cuda:sm_90a,no-ptx"]
NO_NVRTC = 4


def spilling(report):
    """A line for each kernel that spills."""
    return [f"{k['arch']} {k['kernel']} ({k['family']}): {k['registers']} registers, {k['spill_store_bytes']} bytes spilled"
            for k in report["device_code"] if k["spill_store_bytes"]]


def check(lapidary, model):
    """"passed", "failed" or "skipped", and why."""
    if not model.exists():
        return "skipped", "not materialised"
    lines, kernels = [], 0
    for target in TARGETS:
        command = [lapidary, "inspect", model, f"--target={target}", "--json", "-q"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == NO_NVRTC:
            return "skipped", done.stderr.strip()
        if done.returncode:
            return "failed", done.stderr.strip()
        report = json.loads(done.stdout)
        lines += spilling(report)
        kernels += len(report["device_code"])
    if lines or not kernels:
        return "failed", "\n  ".join(lines) or "no kernels"
    return "passed", f"{kernels} kernels"


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
