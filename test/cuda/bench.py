"""bench/gpu on the stand-in driver: what prepare.py puts together runs from its folder alone, says what is wrong, and
says so in its exit status. See check.py."""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
BENCH = os.path.join(os.path.dirname(os.path.dirname(HERE)), "bench", "gpu")

sys.path.append(BENCH)
import programs  # noqa: E402


def python(*arguments):
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def figures(report):
    """Every kernel and network has a time, every check passed, and no peer is told of that was not there."""
    yield "every kernel and network is timed", all(row.get("us", 0) > 0 for row in report["kernels"]) and all(
        row.get("ms", 0) > 0 for row in report["models"]) and len(report["kernels"]) > 8 and len(report["models"]) > 0
    named = {check["what"] for check in report["checks"]}
    yield "kernels without a peer are checked too", {program.name for program in programs.PROGRAMS} <= named
    steps = report["training"]
    yield "training is checked by both optimisers, and timed by one", {"train_mlp_adamw_ieee", "train_mlp_sgd_ieee"} <= named and len(
        steps) == 1 and steps[0]["ms"] > 0 and steps[0]["steps"] > 10 and steps[0]["largest_error"] < 1e-5
    yield "checked before and when timed", len(report["checks"]) > 20 and all(check["passed"] for check in report["checks"])
    yield "no goal is reached without its peer", all(goal["met"] is None for goal in report["goals"] if "over" in goal["what"])


def workers(build, folder):
    """One that does not answer is replaced, and one whose driver fails says so."""
    import crew

    with open(os.path.join(folder, "manifest.json")) as file:
        record = json.load(file)["kernels"][0]
    job = {"do": "check_kernel", "record": record, "m": 5}
    with tempfile.TemporaryDirectory() as unpacked:
        asked = crew.Crew([folder, unpacked, "0.001", os.path.join(build, "test", "cuda", "libcuda.so.1")])
        yield "one that does not answer", "hung" in asked.ask(job, 0.001)
        yield "its successor does", asked.ask(job, 60)["worst"] <= 1
        asked.process.kill()
        yield "one that ends", "the process ended with -9" in asked.ask(job, 60)["failed"]
        yield "and its successor", asked.ask(job, 60)["worst"] <= 1
        asked.end()


def losses(script, build, folder):
    """One that is wrong, and numbers that another numpy draws."""
    path = os.path.join(folder, "manifest.json")
    with open(path) as file:
        manifest = json.load(file)
    by_adamw, by_sgd = manifest["training"]
    by_adamw["losses"][1] *= 1.01
    by_sgd["drawn"]["0.weight"][3] += 10
    with open(path, "w") as file:
        json.dump(manifest, file)
    status, told = python(script, "--stand-in", build, "--seconds", "0.001", "--only", "train_")
    yield "a wrong loss is told of, and what numpy draws", status == 1 and "FAIL  train_mlp_adamw_ieee: loss of step 1 is" in told and (
        "draws other numbers for 0.weight" in told and "0 passed, 2 failed" in told)


def checks(build):
    with tempfile.TemporaryDirectory() as folder:
        status, told = python(os.path.join(BENCH, "prepare.py"), "--lapidary", os.path.join(build, "tools", "lapidary"),
                              "--target", "cuda:sm_80", "--stand-in", build, folder)
        yield f"prepared: {told.strip().splitlines()[-1]}", status == 0
        script, report = os.path.join(folder, "run.py"), os.path.join(folder, "report.json")
        status, told = python(script, "--stand-in", build, "--seconds", "0.001", "--torch-mode", "reduce-overhead", "--json", report)
        yield f"run: {told.strip().splitlines()[-1]}", status == 0
        with open(report) as file:
            figures_of_run = json.load(file)
        yield from figures(figures_of_run)
        yield "the report says how torch compiled", figures_of_run["torch_mode"] == "reduce-overhead"
        yield from workers(build, folder)
        expected = os.path.join(folder, "products", "tiny_classifier.npz")
        results = dict(np.load(expected))
        results["0_0"] = results["0_0"] * np.float32(1.1)
        np.savez(expected, **results)
        status, told = python(script, "--stand-in", build, "--seconds", "0.001", "--only", "classifier")
        yield "a wrong result is told of", status == 1 and "FAIL  tiny_classifier N=1" in told and "1 passed, 1 failed" in told
        yield from losses(script, build, folder)
        os.remove(os.path.join(folder, "products", "add_f32_64.so.xz"))
        status, told = python(script, "--stand-in", build, "--seconds", "0.001", "--only", "add_f32")
        yield "so is a product that is missing", status == 1 and "FAIL  add_f32_64 M=1" in told
        os.environ["STANDIN_FAIL"] = "cuStreamSynchronize:719@9"
        status, told = python(script, "--stand-in", build, "--seconds", "0.001", "--only", "gelu")
        del os.environ["STANDIN_FAIL"]
        yield "one that fails on the device, and the rest goes on", status == 1 and "FAIL  gelu" in told and "1 passed, 1 failed" in told
        status, told = python(script, "--stand-in", folder, "--only", "add_f32")
        yield "and a driver that is", status == 1 and "no measurements: no driver" in told
