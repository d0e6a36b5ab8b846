#!/usr/bin/env python3
"""Fails when an #include crosses the layers: ir/ includes nobody, frontend/ and passes/ only ir/, codegen/ ir/ and
runtime/abi.h, runtime/ nothing of ours but its own."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
ALLOWED = {
    "ir": ["ir/"],
    "frontend": ["frontend/", "ir/"],
    "passes": ["passes/", "ir/"],
    "codegen": ["codegen/", "ir/", "runtime/abi.h", "runtime/lapidary.h"],
    "runtime": [],
}
LAYERS = set(ALLOWED) | {"tools", "test", "bench"}


def main():
    crossings = []
    for layer, allowed in ALLOWED.items():
        for path in sorted((ROOT / layer).rglob("*")):
            if path.suffix not in (".h", ".cpp", ".c", ".def"):
                continue
            for number, line in enumerate(path.read_text().splitlines(), 1):
                match = re.match(r'\s*#\s*include\s*"([^"]+)"', line)
                if not match or match[1].split("/")[0] not in LAYERS or "/" not in match[1]:
                    continue
                if not any(match[1].startswith(prefix) for prefix in allowed):
                    crossings.append(f"{path.relative_to(ROOT)}:{number}: {layer}/ must not include {match[1]}")
    print("\n".join(crossings) or "no include crosses the layers")
    return 1 if crossings else 0


if __name__ == "__main__":
    sys.exit(main())
