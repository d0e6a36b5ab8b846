#!/usr/bin/env python3
"""Fails when a pass of passes/pipeline.cpp has no tests in test/passes/<its name>/, or when a comment of the form
"Test: test/…" names a file that there is not."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ["ir", "frontend", "passes", "codegen", "runtime", "tools"]


def passes_without_tests():
    names = re.findall(r'^\s*\{"([a-z-]+)", [a-z_]+, "', (ROOT / "passes/pipeline.cpp").read_text(), re.MULTILINE)
    assert names, "no passes found in passes/pipeline.cpp"
    for name in dict.fromkeys(names):
        folder = ROOT / "test/passes" / name.replace("-", "_")
        if not list(folder.glob("*.graph")):
            yield f"pass {name} has no tests in {folder.relative_to(ROOT)}/"


def missing_references():
    for path in sorted(file for folder in FOLDERS for file in (ROOT / folder).rglob("*") if file.suffix in (".h", ".cpp", ".c", ".def")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            for name in re.findall(r"(?:Test: |, |and )(test/[\w./*-]*[\w*/])", line) if "Test: " in line else []:
                if not list(ROOT.glob(name)):
                    yield f"{path.relative_to(ROOT)}:{number}: there is no {name}"


def main():
    problems = [*passes_without_tests(), *missing_references()]
    print("\n".join(problems) or "every pass and every named test is there")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
