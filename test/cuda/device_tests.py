#!/usr/bin/env python3
"""The device library (codegen/cuda/device) without a device: its tests run in the emulator, mistakes planted in it are
found by them, and NVRTC compiles it for each architecture without spilling.

    device_tests.py [--all] [--sanitize] [--build BUILD]     a line for each; last "N passed, N failed[, N skipped]"

--all tries every size, every mistake and every architecture; --sanitize runs the tests under AddressSanitizer, as does the
folder of a build that is sanitized.
"""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import nvrtc
import sanitizers
from device.hopper_mistakes import HOPPER_COMMON, HOPPER_MISTAKES
from device.mistakes import COMMON, MISTAKES

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMPILER = [os.environ.get("CXX", "g++"), "-std=c++17", "-O1", "-mf16c", "-mfma", "-ffp-contract=off", "-w"]
PROGRAMS = ["emulator", "memory", "reduce", "product_fma", "product_mma", "hopper", "product_wgmma", "attend_fma", "attend_mma", "attend_wgmma"]
LIBRARY = ["reduce.h", "memory.h", "operand.h", "staging.h", "product_fma.h", "attend.h", "attend_fma.h"]
TENSOR_LIBRARY = ["atoms.h", "product_mma.h", "attend_tensor.h", "attend_mma.h"]
HOPPER_LIBRARY = ["hopper.h", "wgmma.h", "wgmma_layout.h", "wgmma_ring.h", "wgmma_residual.h", "product_wgmma.h", "wgmma_store.h", "wgmma_rows.h", "attend.h", "attend_tensor.h", "attend_wgmma.h"]
ARCHITECTURES, MORE_ARCHITECTURES = ["sm_75", "sm_80", "sm_90a"], ["sm_86", "sm_89", "sm_120"]
SECONDS = 300


class Counts:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def say(self, good, what, detail=""):
        self.passed, self.failed = self.passed + good, self.failed + (not good)
        print(f"{'pass' if good else 'FAIL'} {what}{': ' + detail if detail else ''}", flush=True)


def run_program(name, root, folder, flags=(), arguments=()):
    """What the compiler said if it failed, else None; the exit status, and the output."""
    program = pathlib.Path(folder, name)
    built = subprocess.run([*COMPILER, *flags, f"-I{root}", f"{root}/test/cuda/device/{name}_tests.cpp", "-o", program], capture_output=True, text=True)
    if built.returncode != 0:
        return built.stderr, built.returncode, ""
    try:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, errors="replace", timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return None, 124, f"still running after {SECONDS} s"
    return None, done.returncode, done.stdout + done.stderr


def check_programs(counts, folder, options):
    flags = sanitizers.FLAGS if options.sanitize else []
    for name in PROGRAMS:
        log, status, output = run_program(name, ROOT, folder, flags, ["all"] if options.all else [])
        counts.say(status == 0, f"{name} in the emulator", log or output.strip() or f"status {status}")


def check_texts(counts):
    """Every mistake has a place, also those that are not tried now."""
    texts = {path.name: path.read_text() for path in (ROOT / "codegen/cuda/device").iterdir()}
    found = [(what, file, texts[file].count(old)) for what, file, old, _, _ in MISTAKES + HOPPER_MISTAKES]
    wrong = [f"{times} times in {file}: {what}" for what, file, times in found if times != 1]
    counts.say(not wrong, "each mistake's text stands once in its file", "; ".join(wrong))


def check_mistakes(counts, folder, options):
    chosen = MISTAKES + HOPPER_MISTAKES if options.all else MISTAKES[:COMMON] + HOPPER_MISTAKES[:HOPPER_COMMON]
    for what, file, old, new, program in chosen:
        root = pathlib.Path(folder, "mistaken")
        for part in ("codegen/cuda", "test/cuda"):
            shutil.copytree(ROOT / part, root / part, dirs_exist_ok=True)
        path = root / "codegen/cuda/device" / file
        path.write_text(path.read_text().replace(old, new))
        log, status, output = run_program(program, root, folder, ["-DFEW"])
        counts.say(log is None and status != 0, f"mistake: {what}", log or ("" if status else "not found"))


def text_of(library, kernels):
    files = ["codegen/cuda/device.h", "codegen/cuda/prelude.h", "codegen/cuda/conversions.h", *(f"codegen/cuda/device/{name}" for name in library), f"test/cuda/device/{kernels}"]
    return "".join((ROOT / name).read_text() for name in files)


def check_hopper(counts, library, options):
    """Warpgroups' products: no spills, products that overlap, and the instructions that it is all about."""
    text = text_of(["reduce.h", "memory.h", "operand.h", "staging.h", "atoms.h", *HOPPER_LIBRARY], "gate_hopper.cu")
    cubin, log = nvrtc.compile_cubin(library, ("#define ALL\n" if options.all else "") + text, "sm_90a")
    kernels = nvrtc.resources(log)
    wrong = [f"{name} has {local} bytes of local memory" for name, (_, local) in kernels.items() if local]
    wrong += re.findall(r"\(C75.*", log)  # what ptxas says when it must wait between products
    counts.say(bool(cubin and kernels and not wrong), "warpgroup products for sm_90a", ", ".join(wrong) or f"{len(kernels)} kernels" if cubin else log[:2000])
    found = nvrtc.instructions(cubin) if cubin else None
    if not found:
        counts.skipped += 1
        print("skip instructions of warpgroup products: no nvdisasm (pip install nvidia-cuda-nvdisasm)")
        return
    for name, used in found.items():
        missing = [i for i in ("[HI]GMMA", "UTMALDG|LDGSTS") if not re.search(i, used)]
        counts.say(not missing and not re.search(r"\b(LDL|STL)\b", used), f"instructions of {name}", f"no {', '.join(missing)}" if missing else "")


def check_registers(counts, options):
    library = nvrtc.load()
    if not library:
        counts.skipped += 1
        print("skip registers: NVRTC is not installed")
        return
    check_hopper(counts, library, options)
    for architecture in ARCHITECTURES + (MORE_ARCHITECTURES if options.all else []):
        files = LIBRARY + (TENSOR_LIBRARY if int(re.sub(r"\D", "", architecture)) >= 80 else [])
        text = text_of(files, "gate.cu")
        compiled, log = nvrtc.compile_text(library, text, architecture)
        kernels = nvrtc.resources(log)
        spilling = [f"{name} has {local} bytes of local memory" for name, (_, local) in kernels.items() if local]
        summary = f"{len(kernels)} kernels, at most {max((r for r, _ in kernels.values()), default=0)} registers"
        counts.say(compiled and kernels and not spilling, f"no spills for {architecture}",
                   log[:2000] if not compiled else ", ".join(spilling) or summary)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--sanitize", action="store_true")
    parser.add_argument("--build", default=ROOT / "build", type=pathlib.Path)
    options = parser.parse_args()
    options.sanitize |= sanitizers.is_sanitized(options.build)
    counts = Counts()
    with tempfile.TemporaryDirectory() as folder:
        check_programs(counts, folder, options)
        check_texts(counts)
        check_mistakes(counts, folder, options)
    check_registers(counts, options)
    print(f"{counts.passed} passed, {counts.failed} failed" + (f", {counts.skipped} skipped" if counts.skipped else ""))
    return 1 if counts.failed else 0


if __name__ == "__main__":
    sys.exit(main())
