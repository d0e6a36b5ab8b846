# lit: text tests over the tools. `%lapidary-opt`, `%lapidary`, `%FileCheck`, `%python` are substituted with the built
# and installed ones; `%t` is a fresh path for each test. `%exits CODE COMMAND` wants that exit status. `%onnx FROM TO`
# writes the model whose ONNX text stands in a test's own file between its comments. Tests that need NVIDIA's compiler
# require `nvrtc`. Images compiled for CUDA are kept in the build folder.
import os
import subprocess

import lit.formats

config.name = "lapidary"
config.test_format = lit.formats.ShTest()
config.suffixes = [".graph", ".loops", ".test"]
config.test_source_root = os.path.dirname(os.path.abspath(__file__))
root = os.path.dirname(config.test_source_root)
build = os.environ.get("LAPIDARY_BUILD", os.path.join(root, "build"))
cache = os.environ.get("LAPIDARY_CACHE", os.path.expanduser("~/.cache/lapidary"))
python = os.environ.get("LAPIDARY_PYTHON", os.path.join(cache, "venv", "bin", "python"))
config.environment.update(LAPIDARY_BUILD=build, LAPIDARY_PYTHON=python)
config.test_exec_root = os.path.join(build, "lit")
config.environment["PATH"] = os.environ["PATH"]
config.substitutions += [
    ("%lapidary-opt", os.path.join(build, "tools", "lapidary-opt")),
    ("%lapidary", os.path.join(build, "tools", "lapidary")),
    ("%FileCheck", os.environ.get("FILECHECK", "/usr/lib/llvm-22/bin/FileCheck")),
    ("%python", python),
    ("%llvm-", os.path.dirname(os.environ.get("FILECHECK", "/usr/lib/llvm-22/bin/FileCheck")) + "/llvm-"),
    ("%exits", os.path.join(config.test_source_root, "exits")),
    ("%onnx", python + " " + os.path.join(config.test_source_root, "onnx_model.py")),
    ("%root", root),
    ("%build", build),
]

image_cache = os.path.join(build, "lit", "cache")
config.environment["XDG_CACHE_HOME"] = image_cache
for variable in ("HOME", "LAPIDARY_CACHE", "LAPIDARY_NVRTC", "CUDA_HOME", "CUDA_PATH"):
    if variable in os.environ:
        config.environment[variable] = os.environ[variable]


def nvrtc_is_there():
    probe = [os.path.join(build, "tools", "lapidary"), "compile", os.path.join(root, "examples", "digits", "digits.onnx"),
             "--target=cuda:compute_80", "--emit=ptx", "-q", "-o", os.path.join(config.test_exec_root, "nvrtc.ptx")]
    os.makedirs(config.test_exec_root, exist_ok=True)
    done = subprocess.run(probe, env={**os.environ, "XDG_CACHE_HOME": image_cache}, capture_output=True, text=True)
    if done.returncode == 4:
        lit_config.warning("tests of code for CUDA devices are skipped: " + done.stderr.strip())
    return done.returncode != 4


if nvrtc_is_there():
    config.available_features.add("nvrtc")
