# lit: text tests over the tools. `%lapidary-opt`, `%lapidary`, `%FileCheck`, `%python` are substituted with the built
# and installed ones; `%t` is a fresh path for each test.
import os

import lit.formats

config.name = "lapidary"
config.test_format = lit.formats.ShTest()
config.suffixes = [".graph", ".loops", ".test"]
config.test_source_root = os.path.dirname(__file__)
build = os.environ["LAPIDARY_BUILD"]
config.test_exec_root = os.path.join(build, "lit")
config.environment["PATH"] = os.environ["PATH"]
config.substitutions += [
    ("%lapidary-opt", os.path.join(build, "tools", "lapidary-opt")),
    ("%lapidary", os.path.join(build, "tools", "lapidary")),
    ("%FileCheck", os.environ.get("FILECHECK", "/usr/lib/llvm-22/bin/FileCheck")),
    ("%python", os.environ.get("LAPIDARY_PYTHON", "python3")),
    ("%root", os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
]
