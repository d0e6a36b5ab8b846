"""What a product for CUDA says when it cannot run: each cause has its status and one line. See check.py."""
import json
import os
import re
import subprocess
import sys
import tempfile

import small_models
from emulate import ROOT, emulated

# Runs the product that it is told of and says what came of it.
CHILD = """
import json, os, sys
import numpy as np
sys.path.insert(0, sys.argv[2])
from product import Product, ProductError
try:
    with Product(sys.argv[1], cuda_device=int(sys.argv[3])) as product:
        product.run({"x": np.ones((2, 24), np.float32)})
    print(json.dumps([0, ""]))
except ProductError as error:
    print(json.dumps(error.args))
"""

# Destroys an instance whose device cannot be entered, with a context of the caller's current; what it then finds wrong.
DESTROYING = """
import ctypes, os, sys
import numpy as np
sys.path.insert(0, sys.argv[2])
from product import Product
driver = ctypes.CDLL("libcuda.so.1")
x = {"x": np.ones((2, 24), np.float32)}
product = Product(sys.argv[1])
y = product.run(x)[0]
own, found = ctypes.c_void_p(), ctypes.c_void_p()
driver.cuDevicePrimaryCtxRetain(ctypes.byref(own), 0)
driver.cuCtxPushCurrent_v2(own)
freed = driver.standin_calls(b"cuMemFree_v2")
os.environ["STANDIN_FAIL"] = "cuCtxPushCurrent_v2:201@%d" % (driver.standin_calls(b"cuCtxPushCurrent_v2") + 1)
product.close()
wrong = [] if driver.standin_calls(b"cuMemFree_v2") == freed else ["memory was freed in another context"]
if driver.cuCtxPopCurrent_v2(ctypes.byref(found)) or found.value != own.value:
    wrong.append("the caller's context is not current any more")
with Product(sys.argv[1]) as product:
    if not np.array_equal(product.run(x)[0], y):
        wrong.append("another instance gives other numbers")
print("; ".join(wrong))
"""

# What is wrong, the machine, the product, its device; the status and the line.
CASES = [
    ("nothing", {}, "sm_80", 0, 0, ""),
    ("no driver", None, "sm_80", 0, 8, r"no CUDA driver: .*libcuda.so.1.*; the program needs version 1\d\.0 or later"),
    ("a stub", {"STANDIN_FAIL": "cuInit:34"}, "sm_80", 0, 8, r"libcuda.so.1 is a stub .*CUDA_ERROR_STUB_LIBRARY \(34\)"),
    ("an old driver", {"STANDIN_VERSION": "10020"}, "sm_80", 0, 9, r"the CUDA driver is of version 10.2, the program needs 1\d\.0"),
    ("a driver too old for the machine", {"STANDIN_FAIL": "cuInit:35"}, "sm_80", 0, 9,
     r"the CUDA driver is too old .*CUDA_ERROR_INSUFFICIENT_DRIVER \(35\)"),
    ("no device", {"STANDIN_DEVICES": "0"}, "sm_80", 0, 10, r"the CUDA driver finds no device: CUDA_ERROR_NO_DEVICE \(100\)"),
    ("not that device", {}, "sm_80", 1, 10, r"no CUDA device 1: the driver knows of 1, counted from 0"),
    ("no code", {"STANDIN_CAPABILITY": "7.5"}, "sm_80", 0, 11, r"device 0 \(stand-in 0\) is of capability 7.5, the program holds code for sm_80"),
    ("code for another device alone", {"STANDIN_CAPABILITY": "10.0"}, "sm_90a", 0, 11, r"of capability 10.0, the program holds code for sm_90a$"),
    ("code for this device alone", {"STANDIN_CAPABILITY": "9.0"}, "sm_90a", 0, 0, ""),
    ("kernels for two kinds of devices, the first", {"STANDIN_CAPABILITY": "9.0"}, "sm_80,sm_90a", 0, 0, ""),
    ("kernels for two kinds of devices, the second", {"STANDIN_CAPABILITY": "8.6"}, "sm_80,sm_90a", 0, 0, ""),
    ("kernels for two kinds of devices, neither", {"STANDIN_CAPABILITY": "6.1"}, "sm_80,sm_90a", 0, 11,
     r"of capability 6.1, the program holds code for sm_90a, sm_80, compute_80$"),
    ("an image refused", {"STANDIN_FAIL": "cuModuleLoadData:209"}, "sm_80", 0, 11,
     r"does not take the code for sm_80, made by CUDA 1\d\.\d, the driver is 13.0: CUDA_ERROR_NO_BINARY_FOR_GPU \(209\)"),
    ("cubins of a later CUDA", {"STANDIN_VERSION": "12040"}, "sm_80", 0, 9,
     r"device 0 \(stand-in 0\) does not take the code for sm_80, made by CUDA 13\.\d, the driver is 12.4: CUDA_ERROR_INVALID_IMAGE \(200\)"),
    ("a damaged image", {}, "sm_80,no-ptx,damaged", 0, 11, r"the program's code for sm_80 is damaged"),
    ("a damaged image of a device that other code would run on", {"STANDIN_CAPABILITY": "9.0"}, "sm_80,sm_90a,damaged", 0, 11,
     r"the program's code for sm_90a is damaged"),
    ("a damaged image of another device", {"STANDIN_CAPABILITY": "8.6"}, "sm_80,sm_90a,damaged", 0, 0, ""),
    ("PTX of a later CUDA", {"STANDIN_VERSION": "12040"}, "compute_80", 0, 12,
     r"does not take the code for compute_80, made by CUDA 13\.\d, the driver is 12.4: CUDA_ERROR_UNSUPPORTED_PTX_VERSION \(222\)"),
    ("PTX on a later device", {"STANDIN_CAPABILITY": "9.0"}, "compute_80", 0, 0, ""),
    ("no memory for weights", {"STANDIN_MEMORY": "1000"}, "sm_80", 0, 3,
     r"no memory for the model's weights on device 0 \(stand-in 0\): \d+ bytes, and 1000 of 1000 are free"),
    ("no memory for a tensor", {"STANDIN_FAIL": "cuMemAlloc_v2:2@3"}, "sm_80", 0, 3, r"no memory for .* on device 0 .* bytes, and \d+ of 1073741824 are free"),
    ("a kernel that fails to start", {"STANDIN_FAIL": "cuLaunchKernel:719"}, "sm_80", 0, 13, r"node .*: CUDA_ERROR_LAUNCH_FAILED \(719\)"),
    ("a kernel that fails", {"STANDIN_FAIL": "cuStreamSynchronize:700@2"}, "sm_80", 0, 13, r"running the model: CUDA_ERROR_ILLEGAL_ADDRESS \(700\)"),
    ("no stream", {"STANDIN_FAIL": "cuStreamCreate:46"}, "sm_80", 0, 13, r"making a stream: CUDA_ERROR_DEVICE_UNAVAILABLE \(46\)"),
]


def environment(build, machine):
    """Of a process on that machine; None: one without a driver."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("STANDIN_")}
    if machine is not None:
        variables |= machine | {"LD_LIBRARY_PATH": os.path.join(build, "test", "cuda")}
    return variables


def damage(library, images):
    """Changes a byte of the first of its images, which are frames of Zstandard and the last things that look so."""
    with open(library, "r+b") as file:
        content = file.read()
        at = len(content)
        for _ in range(images):
            at = content.rindex(b"\x28\xb5\x2f\xfd", 0, at)
        at += 200
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 0xff]))


def checks(build):
    with tempfile.TemporaryDirectory() as folder:
        model = small_models.save(small_models.CLASSIFIER, os.path.join(folder, "classifier.onnx"))
        products = {}
        for arch in {case[2] for case in CASES}:
            os.makedirs(os.path.join(folder, arch))
            library = emulated(model, os.path.join(folder, arch), build, "cuda:" + arch.removesuffix(",damaged"))
            if arch.endswith("damaged"):
                damage(library, 1 if "no-ptx" in arch else 3)
            products[arch] = library, os.environ["LAPIDARY_EMULATED_KERNELS"]
        seen = {}
        for what, machine, arch, device, status, line in CASES:
            library, os.environ["LAPIDARY_EMULATED_KERNELS"] = products[arch]
            done = subprocess.run([sys.executable, "-c", CHILD, library, os.path.join(ROOT, "test"), str(device)],
                                  env=environment(build, machine), capture_output=True, text=True)
            found = json.loads(done.stdout) if done.returncode == 0 else [done.returncode, done.stderr]
            fits = found[0] == status and "\n" not in found[1] and (re.search(line, found[1]) if line else not found[1])
            yield f"{what}: status {found[0]}, '{found[1]}'", bool(fits)
            if status:
                seen.setdefault(found[1], []).append(what)
        yield "the lines are distinct", all(len(causes) == 1 for causes in seen.values())
        os.environ["LAPIDARY_EMULATED_KERNELS"] = products["sm_80"][1]
        yield from destroying(build, products["sm_80"][0])
        yield from exit_codes(build, folder, model)


def destroying(build, library):
    done = subprocess.run([sys.executable, "-c", DESTROYING, library, os.path.join(ROOT, "test")], env=environment(build, {}), capture_output=True, text=True)
    yield f"destroyed where the device cannot be entered: {done.stdout.strip()}{done.stderr}", done.returncode == 0 and not done.stdout.strip()


def exit_codes(build, folder, model):
    """Of `lapidary run` and of a product that is a program, which have the library's kernels."""
    program = os.path.join(folder, "program")
    tool = os.path.join(build, "tools", "lapidary")
    compiled = subprocess.run([tool, "compile", "-q", model, "-o", program, "--emit=exe", "--target=cuda:sm_80"], capture_output=True)
    yield "a program is compiled", compiled.returncode == 0
    for what, machine, code in (("nothing wrong", {}, 0), ("no driver", None, 3), ("no device", {"STANDIN_DEVICES": "0"}, 3),
                                ("no memory", {"STANDIN_MEMORY": "1000"}, 4), ("an error", {"STANDIN_FAIL": "cuStreamCreate:46"}, 4)):
        for command in ([tool, "run", "-q", model, "--target=cuda:sm_80"], [program, "--shape", "x=1x24"]):
            done = subprocess.run(command, env=environment(build, machine), capture_output=True, text=True)
            lines = done.stderr.strip().splitlines()
            yield (f"{what}: {os.path.basename(command[0])} ends with {done.returncode}: {' / '.join(lines)}",
                   done.returncode == code and len(lines) == (code != 0))
