#!/usr/bin/env python3
"""Fails when a pass of passes/pipeline.cpp has no tests in test/passes/<its name>/, or when a comment or a page of docs
names a file or folder of ours that there is not."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SUFFIXES = (".h", ".cpp", ".c", ".def", ".py", ".md", ".txt", ".test", ".graph", ".loops")


def passes_without_tests():
    names = re.findall(r'^\s*\{"([a-z-]+)", [a-z_]+, "', (ROOT / "passes/pipeline.cpp").read_text(), re.MULTILINE)
    assert names, "no passes found in passes/pipeline.cpp"
    for name in dict.fromkeys(names):
        folder = ROOT / "test/passes" / name.replace("-", "_")
        if not list(folder.glob("*.graph")):
            yield f"pass {name} has no tests in {folder.relative_to(ROOT)}/"


def comments(path, text):
    """(line number, what of the line is prose): everything in docs, comments elsewhere."""
    in_block = False
    for number, line in enumerate(text.splitlines(), 1):
        if path.suffix == ".md":
            yield number, line
        elif path.suffix not in (".py", ".txt"):
            starts = [at for at in (line.find("//"), line.find("/*")) if at >= 0]
            if in_block or starts:
                yield number, line if in_block else line[min(starts):]
            in_block = (in_block or "/*" in line) and line.rfind("*/") <= line.rfind("/*")
        elif "#" in line:
            yield number, line[line.index("#"):]


def is_there(name):
    """A path as prose has it: with * for anything, a folder with or without its slash, a file without its suffix."""
    return any(ROOT.glob(name)) or any(ROOT.glob(name.rstrip("/") + ".*"))


def missing_references():
    tops = [entry.name for entry in ROOT.iterdir() if entry.is_dir() and not entry.name.startswith((".", "build"))]
    named = re.compile(rf"(?<![\w/.$}}-])(?:{'|'.join(tops)})/[\w./*-]*[\w*/]")
    for path in sorted(file for top in tops for file in (ROOT / top).rglob("*")) + sorted(ROOT.glob("*.*")):
        if path.suffix not in SUFFIXES or "results" in path.parts:
            continue
        for number, prose in comments(path, path.read_text()):
            for name in named.findall(prose):
                if not re.search(r"[A-Z]{4}", name) and not is_there(name):   # NAME, IDEA: to be filled in
                    yield f"{path.relative_to(ROOT)}:{number}: there is no {name}"


def main():
    problems = [*passes_without_tests(), *missing_references()]
    print("\n".join(problems) or "every pass has tests, and every path that is named is there")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
