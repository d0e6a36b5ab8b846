"""The process that has the device: it does one job for each line it reads and answers with a line, both JSON.

    worker.py FOLDER UNPACKED SECONDS [STAND_IN_DRIVER]

run.py starts it, waits for each answer as long as it deems right, and starts another when one hangs or ends: a kernel that
never ends, or takes the device's context with it, costs its own figures alone. A worker whose context is lost says so, and is replaced too.
"""
import functools
import importlib.util
import json
import lzma
import os
import platform
import shutil
import sys
from dataclasses import fields

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "..", "test")]
import cases  # noqa: E402
import checks  # noqa: E402
import programs  # noqa: E402
import timing  # noqa: E402
import training  # noqa: E402
import work  # noqa: E402
from device import Device, DeviceError  # noqa: E402
from product import Product  # noqa: E402


def case_of(record):
    return cases.Kernel(**{field.name: record[field.name] for field in fields(cases.Kernel)})


class Worker:
    def __init__(self, folder, unpacked, seconds, stand_in=None):
        self.folder, self.unpacked, self.seconds, self.stand_in = folder, unpacked, float(seconds), stand_in
        self.device = Device(stand_in, fill_bytes=1 << 20) if stand_in else Device()
        self.copy_bytes = 1 << 20 if stand_in else 512 << 20

    @functools.cached_property
    def torch(self):
        """(peers, references, versions): PyTorch as a peer, and for references, when both ways of computing them agree. Loaded
        by the first job that needs it: that takes seconds, and memory of the device."""
        peers, reference, versions = None, checks.NumpyReference(), {}
        if self.stand_in or not importlib.util.find_spec("torch"):
            return peers, reference, versions
        try:
            import torch_peers
            peers, versions = torch_peers.Peers(), torch_peers.versions()
            if torch_peers.agrees_with_numpy(cases.tiny_kernels(), reference):
                reference = torch_peers.TorchReference()
            else:
                versions["torch_references"] = "not those of numpy, and not used"
        except Exception as error:  # a PyTorch that does not work here is a peer that is missing
            versions = {"torch": f"failed: {error!r}"[:300]}
        return peers, reference, versions

    def open(self, record):
        library = os.path.join(self.unpacked, record["product"] + ".so")
        if not os.path.exists(library):
            with lzma.open(os.path.join(self.folder, "products", record["product"] + ".so.xz")) as packed, open(library + ".part", "wb") as file:
                shutil.copyfileobj(packed, file, 1 << 20)
            os.rename(library + ".part", library)
        if "emulated" in record:
            os.environ["LAPIDARY_EMULATED_KERNELS"] = record["emulated"]
        return Product(library, cuda_stream=self.device.stream)

    def describe(self, job):
        peers, reference, versions = self.torch
        return {**self.device.describe(), "python": platform.python_version(), "numpy": np.__version__, "cores": os.cpu_count(),
                **versions, "references": reference.name, "has_torch": peers is not None}

    def copy_bandwidth(self, job):
        return {"gb_s": timing.copy_bandwidth(self.device, self.copy_bytes, self.seconds)}

    @staticmethod
    def most_rows(case):
        return checks.SAMPLE.get(case.kind, checks.SAMPLE_ROWS)

    def check_kernel(self, job):
        case = case_of(job["record"])
        with self.open(job["record"]) as product:
            rows = checks.Rows(self.device, product, case, job["m"])
            worst, message = checks.check_kernel(rows, self.torch[1], self.most_rows(case))
            rows.free()
        return {"worst": worst, "message": message}

    def time_kernel(self, job):
        """A timed size is checked too, before."""
        case, m = case_of(job["record"]), job["m"]
        peers, reference, _ = self.torch
        with self.open(job["record"]) as product:
            rows = checks.Rows(self.device, product, case, m)
            worst, message = checks.check_kernel(rows, reference, self.most_rows(case))
            found = {"worst": worst, "message": message}
            if worst <= 1:
                found |= timing.kernel(self.device, product, self.seconds, work.MIDDLE if case.sizes.get("between") else "")
                found |= {"tflop_s": work.flops(case, m) / found["us"] / 1e6, "gb_s": work.moved_bytes(case, m) / found["us"] / 1e3}
            rows.free()
        if peers and worst <= 1:
            try:
                found |= peers.kernel(case, rows.arrays, self.seconds)
            except Exception as error:  # our figure stands without it
                found["peer"] = f"failed: {error!r}"[:200]
            peers.forget()
        return found

    def check_program(self, job):
        with self.open(job["record"]) as product:
            worst, message = checks.check_program(self.device, product, programs.named(job["record"]["name"]))
        return {"worst": worst, "message": message}

    def check_model(self, job):
        record = job["record"]
        expected = np.load(os.path.join(self.folder, "products", record["name"] + ".npz"))
        with self.open(record["checked"]) as product:
            worst, message = checks.check_model(self.device, product, record, job["at"], expected)
        return {"worst": worst, "message": message}

    def time_model(self, job):
        with self.open(job["product"]) as product:
            return timing.model(self.device, product, job["name"], job["sizes"], 2 * self.seconds)

    def check_training(self, job):
        """A second instance of the product does the same again."""
        record, runs = job["record"], []
        for _ in range(2):
            with self.open(record) as product, training.Training(self.device, product, record, os.path.join(self.folder, "products")) as trained:
                runs.append(trained.results())
        return training.judge(record, *runs)

    def time_training(self, job):
        record, before = job["record"] | {"batches": job["record"]["batches"][:1]}, self.device.free_bytes()
        with self.open(record) as product, training.Training(self.device, product, record, os.path.join(self.folder, "products")) as trained:
            found = timing.queued(trained.step, product.wait, 2 * self.seconds)
            used = before - self.device.free_bytes()
            return found | {"used_mb": used / 2**20} | timing.step_by_step(trained.profile())

    JOBS = {"describe": describe, "copy_bandwidth": copy_bandwidth, "check_kernel": check_kernel, "time_kernel": time_kernel,
            "check_program": check_program, "check_model": check_model, "time_model": time_model,
            "check_training": check_training, "time_training": time_training}

    def do(self, job):
        """The answer. With "lost" there is no device any more for another job."""
        try:
            answer = self.JOBS[job["do"]](self, job)
            if answer.get("worst") == float("inf"):
                answer = {"failed": answer["message"]}
        except Exception as error:  # whatever it is, the next job may work
            answer = {"failed": repr(error)[:300]}
        try:
            self.device.wait()
            return answer
        except DeviceError as error:
            return {"failed": answer.get("failed") or str(error), "lost": True}


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)   # what others print is no answer
    def say(answer):
        print(json.dumps(answer), file=answers, flush=True)

    try:
        worker = Worker(*sys.argv[1:])
    except DeviceError as error:
        return say({"failed": str(error), "lost": True})
    for line in sys.stdin:
        say(worker.do(json.loads(line)))


if __name__ == "__main__":
    main()
