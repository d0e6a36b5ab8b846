#!/usr/bin/env python3
"""Checks what prepare.py compiled on a machine with an NVIDIA GPU, then times it beside its peers.

    run.py [--minutes 9] [--seconds 0.2] [--only TEXT] [--parts PART,PART] [--torch-mode MODE] [--json FILE]
           [--stand-in BUILD] [FOLDER]

Needs Python and numpy; PyTorch and JAX are peers where they are there. All goes through the products' C interface, with
inputs and outputs in the device's memory. First every kernel and network is checked (checks.py); then kernels are timed,
then networks, then the networks' peers that torch.compile makes in --torch-mode, which take longest. What there is no
time left for is said to be unmeasured. Parts are kernels, programs (kernels that are only checked), models, training (steps of it, and eager PyTorch's),
eager, compiled (PyTorch's networks), jax and training_compiled; peers of networks need part models, those of training part
training.
FOLDER is prepare.py's, by default the one this file lies in. The figures go into FILE as well, from the first one on: it
is written again after every part.

Kernel times are medians of the events around a product's steps, behind a fill of the cache; peers' the same. Times of
networks are medians of whole calls. The exit status is 1 when a check failed.
"""
import argparse
import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import crew  # noqa: E402
import goals  # noqa: E402
import table  # noqa: E402

TORCH_MODES = ("max-autotune", "reduce-overhead")
PARTS = ("kernels", "programs", "models", "training", "eager", "compiled", "jax", "training_compiled")
FIRST_SECONDS = 120  # until there is a device, and PyTorch is loaded for the first time
JOB_SECONDS = 60     # of one kernel or network, and of PyTorch being loaded again where a process was replaced
PEER_SECONDS = 150   # of one peer's process, compilation included
LEAST_SECONDS = 30   # with less time left nothing new is begun
NO_TIME = "no time left"


class Session:
    def __init__(self, args, unpacked):
        self.args, self.end = args, time.monotonic() + args.minutes * 60
        with open(os.path.join(args.folder, "manifest.json")) as file:
            manifest = json.load(file)
        self.kernels, self.programs, self.models, self.training = (
            [record for record in manifest[part] if args.only in record["name"]] for part in ("kernels", "programs", "models", "training"))
        driver = [os.path.join(args.stand_in, "test", "cuda", "libcuda.so.1")] if args.stand_in else []
        self.crew = crew.Crew([args.folder, unpacked, str(args.seconds), *driver])
        self.report = {"machine": {}, "commit": manifest["commit"], "target": manifest["target"], "torch_mode": args.torch_mode, "checks": [], "kernels": [],
                       "models": [], "training": [], "goals": []}

    def seconds_for(self, most):
        """0: nothing new is begun."""
        left = self.end - time.monotonic()
        return min(most, left) if left > LEAST_SECONDS else 0

    def wants(self, part):
        return part in self.args.parts.split(",")

    def ask(self, what, most=JOB_SECONDS, **job):
        seconds = self.seconds_for(most)
        return self.crew.ask({"do": what, **job}, seconds) if seconds else {"failed": NO_TIME}

    def save(self):
        if self.args.json:
            with open(self.args.json, "w") as file:
                json.dump(self.report, file, indent=1)

    def verdict(self, what, answer):
        """Has it passed? What could not be checked has not."""
        worst, message = answer.get("worst"), answer.get("failed") or answer["message"]
        passed = worst is not None and worst <= 1
        self.report["checks"].append({"what": what, "passed": passed, "worst": worst, "message": message})
        print(f"{'pass' if passed else 'FAIL'}  {what}: {message}", flush=True)
        return passed


def nvidia_smi():
    """What it tells of the first device now, clocks above all; nothing where it is not there."""
    query = "name,driver_version,clocks.sm,clocks.mem,clocks.max.sm,clocks.max.mem,power.limit,temperature.gpu,memory.total"
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        told = subprocess.run(["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"], capture_output=True, text=True, timeout=20)
        if told.returncode == 0:
            return dict(zip(query.split(","), map(str.strip, told.stdout.splitlines()[0].split(","))))
    return {}


def compiled(session, record):
    if "failed" in record:
        session.verdict(record["name"], {"failed": f"was not compiled: {record['failed']}"})
    return "failed" not in record


def all_pass(session, questions):
    """Of [(what, job)]; after one that hangs no more are asked."""
    passed = True
    for what, job in questions:
        answer = session.ask(**job)
        passed = session.verdict(what, answer) and passed
        if "hung" in answer:
            break
    return passed


def check_kernels(session):
    for record in filter(lambda record: compiled(session, record), session.kernels):
        record["passed"] = all_pass(session, [(f"{record['name']} M={m}", {"what": "check_kernel", "record": record, "m": m})
                                              for m in record["check"]])


def check_programs(session):
    for record in filter(lambda record: compiled(session, record), session.programs):
        session.verdict(record["name"], session.ask("check_program", record=record))


def check_models(session):
    for record in filter(lambda record: compiled(session, record), session.models):
        record["passed"] = all_pass(session, [(f"{record['name']} {table.shown(sizes)}", {"what": "check_model", "record": record, "at": at})
                                              for at, sizes in enumerate(record["check"])])


def time_kernels(session):
    """Those that passed. A timed size is checked too."""
    print(table.kernel_head(), flush=True)
    for record in session.kernels:
        for m in record["time"] if record.get("passed") else []:
            row = {key: record[key] for key in ("name", "kind", "dtype", "group", "fixed")} | {"m": m}
            row |= session.ask("time_kernel", record=record, m=m)
            session.report["kernels"].append(row)
            if row.get("worst", float("inf")) > 1 and row.get("failed") != NO_TIME:
                session.verdict(f"{record['name']} M={m}", row)
            print(table.kernel_line(row, session.report["machine"]["device"]), flush=True)
    session.report["nvidia_smi_after_kernels"] = nvidia_smi()
    session.save()


def time_model(session, record, sizes, fixed):
    """Of the product for any extents, and under "fixed" of the one for these."""
    row = {"name": record["name"], "sizes": sizes}
    sides = [session.ask("time_model", product=product, **row) for product in (record, fixed)]
    return row | sides[0] | {"fixed": sides[1]}


def time_models(session):
    print(table.model_head(), flush=True)
    for record in session.models:
        for sizes, fixed in zip(record["time"], record["fixed"]) if record.get("passed") else []:
            session.report["models"].append(time_model(session, record, sizes, fixed))
            print(table.model_line(session.report["models"][-1]), flush=True)
    session.save()


def time_model_peers(session):
    """Eager ones of all first, then what torch.compile makes, batch 1 before large ones."""
    rows = [row for row in session.report["models"] if "ms" in row or "ms" in row["fixed"]]
    print(table.peer_head(), flush=True)
    for how in filter(session.wants, ("eager", "compiled")):
        for row in sorted(rows, key=lambda row: row["sizes"]["N"]):
            found, why = peer(session, "torch_models.py", row["name"], json.dumps(row["sizes"]), session.args.torch_mode if how == "compiled" else how,
                              str(2 * session.args.seconds))
            row[f"torch_{how}_ms"] = found["ms"] if found else None
            print(table.peer_line(row, "torch " + how, found, why), flush=True)
            session.save()


def train(session):
    """Each product checked and timed in processes of its own, so that what it takes of the device's memory is seen; then the
    graph's peer."""
    print(table.training_head(), flush=True)
    for graph in dict.fromkeys(record["graph"] for record in session.training):
        records = [record for record in session.training if record["graph"] == graph and compiled(session, record)]
        rows = [row for row in (trained(session, record) for record in records) if row]
        session.report["training"] += rows
        session.crew.end()
        if rows and session.report["machine"]["has_torch"]:
            training_peers(session, rows, "eager")
        session.save()


def trained(session, record):
    """The row of what is to be timed: what failed too, which the row says, unless it hangs."""
    session.crew.end()
    answer = session.ask("check_training", record=record)
    passed = session.verdict(record["name"], answer)
    if not record["timed"] or "hung" in answer:
        return None
    session.crew.end()
    row = {key: record[key] for key in ("name", "graph", "optimizer", "f32")} | {"passed": passed, "largest_error": answer.get("largest_error")}
    row |= session.ask("time_training", record=record)
    print(table.training_line(row), flush=True)
    return row


def training_peers(session, rows, how):
    """Of one graph: each way to multiply f32."""
    mode = session.args.torch_mode if how == "compiled" else how
    found, why = peer(session, "torch_training.py", rows[0]["graph"], mode, ",".join(row["f32"] for row in rows), str(2 * session.args.seconds))
    for row in rows:
        row[f"torch_{how}"] = (found or {}).get(row["f32"], {})
        print(table.training_peer_line(row, "torch " + mode, row[f"torch_{how}"], why), flush=True)


def train_compiled(session):
    print(table.training_head(), flush=True)
    rows = session.report["training"]
    for graph in dict.fromkeys(row["graph"] for row in rows):
        training_peers(session, [row for row in rows if row["graph"] == graph and row["f32"] == "ieee"], "compiled")
        session.save()


def peer(session, script, *arguments):
    seconds = session.seconds_for(PEER_SECONDS)
    return crew.child(script, arguments, seconds) if seconds else (None, NO_TIME)


def time_jax(session):
    found, why = peer(session, "jax_peer.py")
    session.report["jax_bf16_cubes_us"] = found
    print(f"\nJAX, products of bf16 in microseconds: {found or 'not measured: ' + why}", flush=True)


def check_all(session):
    if session.wants("kernels"):
        check_kernels(session)
    if session.wants("programs"):
        check_programs(session)
    if session.wants("models"):
        check_models(session)
    session.save()


def time_all(session):
    session.report["copy_gb_s"] = session.ask("copy_bandwidth").get("gb_s")
    bandwidth = session.report["copy_gb_s"]
    print(f"\ncopy on the device: {f'{bandwidth:.0f} GB/s' if bandwidth else 'not measured'}")
    if session.wants("kernels"):
        time_kernels(session)
    if session.wants("models"):
        time_models(session)
    if session.wants("training"):
        train(session)
    session.crew.end()   # what follows has the device for itself
    if session.report["models"] and session.report["machine"]["has_torch"]:
        time_model_peers(session)
    if session.wants("jax") and importlib.util.find_spec("jax"):
        time_jax(session)
    if session.report["training"] and session.report["machine"]["has_torch"] and session.wants("training_compiled"):
        train_compiled(session)
    session.report["goals"] = list(goals.all_goals(session.report))
    print("\ngoals")
    for goal in session.report["goals"]:
        print(goals.line(goal))


def measure(args, unpacked):
    session = Session(args, unpacked)
    try:
        session.report["machine"] = session.ask("describe", FIRST_SECONDS) | {"nvidia_smi": nvidia_smi()}
        print(json.dumps(session.report["machine"], indent=1), flush=True)
        if "failed" in session.report["machine"]:
            print(f"no measurements: {session.report['machine']['failed']}")
            return 1
        check_all(session)
        time_all(session)
    finally:
        session.crew.end()
        session.save()
    passed = [check["passed"] for check in session.report["checks"]]
    print(f"{sum(passed)} passed, {len(passed) - sum(passed)} failed")
    return not passed or not all(passed)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=9)
    parser.add_argument("--seconds", type=float, default=0.2, help="of each measurement")
    parser.add_argument("--only", default="", help="kernels and models whose name has this in it")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--torch-mode", choices=TORCH_MODES, default=TORCH_MODES[0], help="of torch.compile")
    parser.add_argument("--json")
    parser.add_argument("--stand-in", metavar="BUILD", help="the build folder whose stand-in driver runs the products")
    parser.add_argument("folder", nargs="?", default=HERE)
    with tempfile.TemporaryDirectory(prefix="lapidary_bench_") as unpacked:
        return measure(parser.parse_args(), unpacked)


if __name__ == "__main__":
    sys.exit(main())
