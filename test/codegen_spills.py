"""Finds vector spills in the hot loops of a compiled product: disassembles it and looks at innermost loops.

    codegen_spills.py LIBRARY ...      prints each spill; exit status 1 when there is one, or when no hot loop was found

A hot loop is an innermost loop (a backward jump with no other backward jump's target inside) of at least 8 vector
fused multiply-adds. In one, no instruction may move a vector register to or from the stack.
"""
import re
import subprocess
import sys

LEAST_FMAS = 8
FMA = re.compile(r"vf(n?)m(add|sub)\w*[ps][sd]\b")
STACK_VECTOR = re.compile(r"(?=.*%[xyz]mm)(?=.*\(%rsp\b)")
JUMP = re.compile(r"^j\w+\s+([0-9a-f]+)")


def functions(library):
    """Yields (name, [(address, text)]) of every function."""
    listing = subprocess.run(["objdump", "-d", "--no-show-raw-insn", "-j", ".text", library], capture_output=True, text=True, check=True).stdout
    name, code = None, []
    for line in listing.splitlines():
        header = re.match(r"^[0-9a-f]+ <(.*)>:$", line)
        if header:
            if code:
                yield name, code
            name, code = header[1], []
            continue
        parts = line.split("\t")
        if len(parts) >= 2 and parts[0].strip().endswith(":"):
            code.append((int(parts[0].strip()[:-1], 16), parts[-1].strip()))
    if code:
        yield name, code


def innermost_loops(code):
    index = {address: i for i, (address, _) in enumerate(code)}
    loops = []
    for i, (address, text) in enumerate(code):
        jump = JUMP.match(text)
        target = int(jump[1], 16) if jump else None
        if target is not None and target <= address and target in index:
            loops.append((index[target], i))
    return [(a, b) for a, b in loops if not any((c, d) != (a, b) and a <= c and d <= b for c, d in loops)]


def spills(library):
    """(number of hot loops, list of lines that describe spills in them)."""
    hot, found = 0, []
    for name, code in functions(library):
        for begin, end in innermost_loops(code):
            body = code[begin:end + 1]
            if sum(bool(FMA.search(text)) for _, text in body) < LEAST_FMAS:
                continue
            hot += 1
            found += [f"{name} {address:#x}: {text}" for address, text in body if STACK_VECTOR.search(text)]
    return hot, found


def main():
    failed = False
    for library in sys.argv[1:]:
        hot, found = spills(library)
        print(f"{library}: {hot} hot loops, {len(found)} vector accesses to the stack in them")
        print("\n".join(found[:20]))
        failed |= bool(found) or not hot
    return failed


if __name__ == "__main__":
    sys.exit(main())
