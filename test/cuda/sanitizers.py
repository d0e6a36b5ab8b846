"""What runs emulated kernels under AddressSanitizer where the build does (cmake --preset sanitize): kernels are compiled
with it, as the stand-in driver is, and so its library must be loaded before all others, by Python too.
"""
import functools
import os
import pathlib
import subprocess
import sys

FLAGS = ["-g1", "-fsanitize=address"]
# Python leaves much behind at its end, and fibers switch stacks.
OPTIONS = "detect_leaks=0:detect_stack_use_after_return=0"


@functools.cache
def is_sanitized(build):
    cache = pathlib.Path(build, "CMakeCache.txt")
    return cache.exists() and "LAPIDARY_SANITIZE:BOOL=ON" in cache.read_text()


def flags(build):
    """Of the compiler of kernels."""
    return FLAGS if is_sanitized(build) else []


def begin_again(build):
    """Where the build is sanitized: this script from its beginning with the sanitizer's library in front, unless it is there."""
    if not is_sanitized(build) or "libasan" in os.environ.get("LD_PRELOAD", ""):
        return
    library = subprocess.run([os.environ.get("CXX", "g++"), "-print-file-name=libasan.so"], capture_output=True, text=True, check=True).stdout.strip()
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {"LD_PRELOAD": library, "ASAN_OPTIONS": OPTIONS})
