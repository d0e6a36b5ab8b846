#!/usr/bin/env python3
"""Checks what prepare.py compiled on a machine with an NVIDIA GPU, then times it beside its peers.

    run.py [--minutes 9] [--seconds 0.2] [--only TEXT] [--json FILE] [--stand-in BUILD] [FOLDER]

Needs Python and numpy; PyTorch and JAX are peers where they are there. All goes through the products' C interface, with
inputs and outputs in the device's memory. First every kernel and network is checked (checks.py); then kernels are timed,
then networks, then the networks' compiled peers, which take longest. What there is no time left for is said to be
unmeasured. FOLDER is prepare.py's, by default the one this file lies in. The figures go into FILE as well, from the
first one on: it is written again after every part.

Kernel times are medians of the events around a product's steps, behind a fill of the cache; peers' the same. Times of
networks are medians of whole calls. The exit status is 1 when a check failed.
"""
import argparse
import contextlib
import importlib.util
import json
import lzma
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import fields

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "..", "test")]
import cases  # noqa: E402
import checks  # noqa: E402
import goals  # noqa: E402
import timing  # noqa: E402
import work  # noqa: E402
from device import Device, DeviceError  # noqa: E402
from product import Product  # noqa: E402

# Dense TFLOP/s of tensor cores in f16 and bf16, by the vendor's data sheets.
PEAKS = {"H200": 989, "H100 80GB HBM3": 989, "H100 PCIe": 756, "A100": 312}


class Bundle:
    """What prepare.py made: records, and products ready to open."""

    def __init__(self, folder, only):
        self.folder, self.unpacked = folder, tempfile.mkdtemp(prefix="lapidary_bench_")
        with open(os.path.join(folder, "manifest.json")) as file:
            self.manifest = json.load(file)
        self.kernels, self.models = ([record for record in self.manifest[part] if only in record["name"]] for part in ("kernels", "models"))

    def open(self, record, device):
        library = os.path.join(self.unpacked, record["product"] + ".so")
        if not os.path.exists(library):
            with lzma.open(os.path.join(self.folder, "products", record["product"] + ".so.xz")) as packed, open(library, "wb") as file:
                shutil.copyfileobj(packed, file, 1 << 20)
        if "emulated" in record:
            os.environ["LAPIDARY_EMULATED_KERNELS"] = record["emulated"]
        return Product(library, cuda_stream=device.stream)

    def expected(self, record):
        return np.load(os.path.join(self.folder, "products", record["name"] + ".npz"))

    def close(self):
        shutil.rmtree(self.unpacked)


def case_of(record):
    return cases.Kernel(**{field.name: record[field.name] for field in fields(cases.Kernel)})


class Session:
    def __init__(self, args, device, bundle):
        self.args, self.device, self.bundle = args, device, bundle
        self.end = time.monotonic() + args.minutes * 60
        self.reference, self.peers = checks.NumpyReference(), None
        self.report = {"machine": machine(device), "commit": bundle.manifest["commit"], "target": bundle.manifest["target"],
                       "checks": [], "kernels": [], "models": [], "goals": []}

    def left(self):
        return self.end - time.monotonic()

    def use_torch(self):
        """PyTorch as a peer, and for references, when both ways of computing them agree."""
        import torch_peers
        self.peers = torch_peers.Peers()
        self.report["machine"] |= torch_peers.versions()
        if torch_peers.agrees_with_numpy(cases.tiny_kernels(), self.reference):
            self.reference = torch_peers.TorchReference()
        else:
            print("torch's references are not numpy's: numpy's are used", flush=True)

    def save(self):
        if self.args.json:
            with open(self.args.json, "w") as file:
                json.dump(self.report, file, indent=1)

    def verdict(self, what, check):
        try:
            worst, message = check()
        except Exception as error:  # one kernel's failure must not hide the others
            worst, message = float("inf"), repr(error)
        passed = bool(worst <= 1)
        self.report["checks"].append({"what": what, "passed": passed, "worst": worst if np.isfinite(worst) else None, "message": message})
        print(f"{'pass' if passed else 'FAIL'}  {what}: {message}", flush=True)
        return passed


def machine(device):
    found = {**device.describe(), "python": platform.python_version(), "numpy": np.__version__, "cores": os.cpu_count()}
    query = "name,driver_version,clocks.sm,clocks.mem,clocks.max.sm,clocks.max.mem,power.limit,temperature.gpu,memory.total"
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        told = subprocess.run(["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"], capture_output=True, text=True, timeout=20)
        if told.returncode == 0:
            found["nvidia_smi"] = dict(zip(query.split(","), map(str.strip, told.stdout.splitlines()[0].split(","))))
    return found


def check_kernels(session):
    for record in session.bundle.kernels:
        if "failed" in record:
            session.verdict(record["name"], lambda: (float("inf"), f"was not compiled: {record['failed']}"))
            continue
        case = case_of(record)
        with contextlib.ExitStack() as held:
            product = None
            for m in case.check:
                def check():
                    nonlocal product
                    product = product or held.enter_context(session.bundle.open(record, session.device))
                    rows = checks.Rows(session.device, product, case, m)
                    held.callback(rows.free)
                    return checks.check_kernel(rows, session.reference)
                record["passed"] = session.verdict(f"{case.name} M={m}", check) and record.get("passed", True)


def check_models(session):
    for record in session.bundle.models:
        if "failed" in record:
            session.verdict(record["name"], lambda: (float("inf"), f"was not compiled: {record['failed']}"))
            continue
        for at, sizes in enumerate(record["check"]):
            def check():
                with session.bundle.open(record["checked"], session.device) as product:
                    return checks.check_model(session.device, product, record, at, session.bundle.expected(record))
            passed = session.verdict(f"{record['name']} {shown(sizes)}", check)
            record["passed"] = passed and record.get("passed", True)


def shown(sizes):
    return " ".join(f"{name}={value}" for name, value in sizes.items())


def time_kernel(session, product, case, m):
    """The row of figures; a timed size is checked too, by a sample of its rows."""
    rows = checks.Rows(session.device, product, case, m)
    try:
        passed = session.verdict(f"{case.name} M={m}", lambda: checks.check_kernel(rows, session.reference, checks.SAMPLE.get(case.kind, 64)))
        row = {"name": case.name, "kind": case.kind, "dtype": case.dtype, "group": case.group, "m": m, "passed": passed}
        if not passed:
            return row
        row |= timing.kernel(session.device, product, session.args.seconds)
        row |= {"tflop_s": work.flops(case, m) / row["us"] / 1e6, "gb_s": work.moved_bytes(case, m) / row["us"] / 1e3}
        if session.peers:
            try:
                row |= session.peers.kernel(case, rows.arrays, session.args.seconds)
            except Exception as error:  # our figure stands without it
                row["peer"] = f"failed: {error!r}"[:200]
        return row
    finally:
        rows.free()
        if session.peers:
            session.peers.close()


def kernel_line(row, peak):
    if "us" not in row:
        return f"{row['name']:38} {row['m']:>7}  not timed"
    peer = f"{row['peer_us']:9.1f} {row['peer_us'] / row['us']:6.2f}  {row['peer']}" if row.get("peer_us") else f"{'-':>9} {'-':>6}  {row.get('peer', '')}"
    share = f"{row['tflop_s'] / peak:5.0%}" if peak and row["dtype"] != "f32" and row["tflop_s"] else f"{'':5}"
    longest = "" if row["steps"] == 1 else f"  [{row['steps']} steps, longest {row['longest_step_us']:.1f}]"
    return f"{row['name']:38} {row['m']:>7} {row['us']:9.1f} {row['call_us']:9.1f} {row['tflop_s']:8.1f} {share} {row['gb_s']:8.0f} {peer}{longest}"


def time_kernels(session):
    peak = next((value for name, value in PEAKS.items() if name in session.report["machine"]["device"]), None)
    print(f"\n{'kernel':38} {'M':>7} {'us':>9} {'call us':>9} {'TFLOP/s':>8} {'peak':>5} {'GB/s':>8} {'peer us':>9} {'ratio':>6}", flush=True)
    for record in session.bundle.kernels:
        if not record.get("passed"):
            continue
        if session.left() < 60:
            print(f"{record['name']:38} not measured: no time left", flush=True)
            continue
        case = case_of(record)
        with session.bundle.open(record, session.device) as product:
            for m in case.time:
                try:
                    row = time_kernel(session, product, case, m)
                except Exception as error:  # memory that is not there, most of all
                    row = {"name": case.name, "kind": case.kind, "dtype": case.dtype, "group": case.group, "m": m, "failed": repr(error)[:200]}
                session.report["kernels"].append(row)
                print(row.get("failed", ""), kernel_line(row, peak), flush=True)
    session.save()


def time_models(session):
    print(f"\n{'network':22} {'sizes':18} {'ms':>9} {'steps ms':>9} {'steps':>6} {'a second':>9}", flush=True)
    for record in session.bundle.models:
        if not record.get("passed"):
            continue
        for sizes in record["time"]:
            row = {"name": record["name"], "sizes": sizes}
            session.report["models"].append(row)
            try:
                with session.bundle.open(record, session.device) as product:
                    row |= timing.model(session.device, product, record["name"], sizes, 2 * session.args.seconds)
            except Exception as error:
                row["failed"] = repr(error)[:200]
                print(f"{row['name']:22} {shown(sizes):18} failed: {row['failed']}", flush=True)
                continue
            print(f"{row['name']:22} {shown(sizes):18} {row['ms']:9.3f} {row['steps_ms']:9.3f} {row['steps']:6} "
                  f"{sizes['N'] / row['ms'] * 1e3:9.0f}", flush=True)
    session.save()


def child(session, script, *arguments):
    """A peer's answer from a process of its own, or why there is none."""
    left = session.left()
    if left < 15:
        return None, "no time left"
    try:
        done = subprocess.run([sys.executable, os.path.join(HERE, script), *arguments], capture_output=True, text=True, timeout=left)
    except subprocess.TimeoutExpired:
        return None, "took longer than there was time"
    if done.returncode:
        return None, (done.stderr.strip().splitlines() or ["no message"])[-1][:200]
    return json.loads(done.stdout.strip().splitlines()[-1]), ""


def time_model_peers(session):
    """Eager ones of all first, then what torch.compile makes, batch 1 before large ones."""
    rows = session.report["models"]
    print(f"\n{'network':22} {'sizes':18} {'peer':16} {'peer ms':>9} {'ratio':>6}", flush=True)
    for how in ("eager", "compiled"):
        for row in sorted(rows, key=lambda row: row["sizes"]["N"]):
            found, why = child(session, "torch_models.py", row["name"], json.dumps(row["sizes"]), how, str(2 * session.args.seconds))
            row |= {f"torch_{how}_ms": found["ms"]} if found else {f"torch_{how}": f"not measured: {why}"}
            ratio = f"{found['ms']:9.3f} {found['ms'] / row['ms']:6.2f}" if found and "ms" in row else why
            print(f"{row['name']:22} {shown(row['sizes']):18} {'torch ' + how:16} {ratio}", flush=True)
            session.save()


def time_jax(session):
    found, why = child(session, "jax_peer.py")
    session.report["jax_bf16_cubes_us"] = found or f"not measured: {why}"
    print(f"\nJAX, products of bf16 in microseconds: {found or why}", flush=True)


def time_all(session):
    bandwidth = timing.copy_bandwidth(session.device, session.args.copy_bytes, session.args.seconds)
    session.report["copy_gb_s"] = bandwidth
    print(f"\ncopy on the device: {bandwidth:.0f} GB/s")
    time_kernels(session)
    time_models(session)
    if session.peers:
        time_model_peers(session)
    if importlib.util.find_spec("jax"):
        time_jax(session)
    session.report["goals"] = list(goals.all_goals(session.report["kernels"], session.report["models"], bandwidth))
    print("\ngoals")
    for goal in session.report["goals"]:
        print(goals.line(goal))


def measure(args):
    device = Device(os.path.join(args.stand_in, "test", "cuda", "libcuda.so.1") if args.stand_in else "libcuda.so.1",
                    **({"fill_bytes": 1 << 20} if args.stand_in else {}))
    args.copy_bytes = 1 << 20 if args.stand_in else 512 << 20
    bundle = Bundle(args.folder, args.only)
    session = Session(args, device, bundle)
    try:
        if not args.stand_in and importlib.util.find_spec("torch"):
            session.use_torch()
        print(json.dumps(session.report["machine"], indent=1))
        print(f"references: {session.reference.name}\n", flush=True)
        check_kernels(session)
        check_models(session)
        session.save()
        time_all(session)
    finally:
        session.save()
        bundle.close()
    passed = [check["passed"] for check in session.report["checks"]]
    print(f"{sum(passed)} passed, {len(passed) - sum(passed)} failed")
    return not passed or not all(passed)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=9)
    parser.add_argument("--seconds", type=float, default=0.2, help="of each measurement")
    parser.add_argument("--only", default="", help="kernels and models whose name has this in it")
    parser.add_argument("--json")
    parser.add_argument("--stand-in", metavar="BUILD", help="the build folder whose stand-in driver runs the products")
    parser.add_argument("folder", nargs="?", default=HERE)
    try:
        return measure(parser.parse_args())
    except DeviceError as error:
        print(f"no measurements: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
