"""NVRTC for tests: kernels as text → what ptxas says of them; and what lapidary says where there is none."""
import ctypes
import glob
import os
import re
import shutil
import subprocess
import tempfile

PLACES = ["/usr/local/cuda*/lib64/libnvrtc.so.1[23]", "~/.cache/lapidary/venv/lib/python3*/site-packages/nvidia/*/lib/libnvrtc.so.1[23]"]
OPTIONS = ["--std=c++17", "--minimal", "--ptxas-options=-v", "--fmad=true", "--disable-warnings"]
NO_FILE = 4   # lapidary's exit code where a file could not be read, NVRTC's library too


def load():
    """The library, or None where there is none."""
    named = os.environ.get("LAPIDARY_NVRTC")
    names = [named] if named else ["libnvrtc.so.13", "libnvrtc.so.12"] + [p for place in PLACES for p in glob.glob(os.path.expanduser(place))]
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def is_missing(done):
    """Did this finished lapidary find none? Then checks are skipped; any other failure is one."""
    return done.returncode == NO_FILE and "compiled by NVRTC" in done.stderr


def compile_text(library, text, architecture):
    """Whether it compiles, and the log."""
    cubin, log = compile_cubin(library, text, architecture)
    return cubin is not None, log


def compile_cubin(library, text, architecture):
    """The cubin or None, and the log."""
    program = ctypes.c_void_p()
    library.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"kernels.cu", 0, None, None)
    options = [o.encode() for o in (f"--gpu-architecture={architecture}", *OPTIONS)]
    status = library.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
    size = ctypes.c_size_t()
    library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    library.nvrtcGetProgramLog(program, log)
    cubin = None
    if status == 0:
        library.nvrtcGetCUBINSize(program, ctypes.byref(size))
        cubin = ctypes.create_string_buffer(size.value)
        library.nvrtcGetCUBIN(program, cubin)
    library.nvrtcDestroyProgram(ctypes.byref(program))
    return cubin and cubin.raw, log.value.decode(errors="replace")


def resources(log):
    """Kernel → (registers, bytes of stack frame and spills)."""
    found, name, local = {}, None, 0
    for line in log.splitlines():
        if match := re.search(r"entry function '(\w+)'", line):
            name = match[1]
        elif match := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
            local = sum(map(int, match.groups()))
        elif match := re.search(r"Used (\d+) registers", line):
            found[name] = (int(match[1]), local)
    return found


def instructions(cubin):
    """Kernel → the names of its instructions, or None where there is no nvdisasm."""
    places = ["/usr/local/cuda*/bin/nvdisasm", "~/.cache/lapidary/venv/lib/python3*/site-packages/nvidia/*/bin/nvdisasm"]
    tools = [os.environ.get("LAPIDARY_NVDISASM"), shutil.which("nvdisasm")] + [p for place in places for p in glob.glob(os.path.expanduser(place))]
    tool = next(filter(None, tools), None)
    if not tool:
        return None
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        text = subprocess.run([tool, "-c", file.name], capture_output=True, text=True, check=True).stdout
    kernels = re.split(r"\.section\s+\.text\.(\w+)", text)
    return {name: " ".join(sorted(set(re.findall(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\d\s+)?([A-Z0-9]+)", code)))) for name, code in zip(kernels[1::2], kernels[2::2])}
