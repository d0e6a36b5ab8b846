"""Finds vector spills in the hot loops of compiled products and objects: disassembles them and looks at innermost loops.

    codegen_spills.py FILE ...      prints each spill; exit status 1 when there is one, or when no hot loop was found

A hot loop is an innermost loop (a backward jump with no other backward jump's loop inside) of at least 8 vector
fused multiply-adds or dots. In one, no instruction may move a vector register to or from the stack, nor compute on the stack's
memory: neither through %rsp, nor a frame or base pointer, nor an address taken of a local before. Tested on assembled
examples by codegen_spills_test.py.

Products are stripped, so that functions can't be told apart; the scan for pointers to the stack goes straight through
the text. At a `ret` and a `call` it forgets what the calling convention lets them change.
"""
import re
import subprocess
import sys

LEAST_FMAS = 8
FMA = re.compile(r"^(vfn?m(add|sub)\d*[ps][sd]|vpdpbusd|vpmaddwd)\b")  # dots of bytes count too
VECTOR = re.compile(r"%[xyz]mm\d")
MEMORY = re.compile(r"\((%\w+)?(?:,(%\w+))?(?:,[1248])?\)")
JUMP = re.compile(r"^(?:bnd |notrack )?j\w+\s+(?:0x)?([0-9a-f]+)")
CALLER_SAVED = {"%rax", "%rcx", "%rdx", "%rsi", "%rdi", "%r8", "%r9", "%r10", "%r11"}
NARROW = re.compile(r"%e?([abcd]x|[sd]i|bp|sp)$|%r(\d+)[dwb]$")
# What reads its last operand only, or writes none.
READS_ONLY = re.compile(r"^(cmp|test|ucomis|vucomis|vcomis|comis|push|prefetch|bt[lqw]?\b|nop|endbr|kortest|vptest|vtestp)")


def instructions(file):
    """[(address, text)] of the file's .text."""
    command = ["objdump", "-d", "--no-show-raw-insn", "-j", ".text", file]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    code = []
    for line in listing.splitlines():
        parts = line.split("\t")
        if len(parts) >= 2 and parts[0].strip().endswith(":"):
            code.append((int(parts[0].strip()[:-1], 16), parts[-1].split("#")[0].strip()))
    return code


def innermost_loops(code):
    """[(first, last)] as indices."""
    index = {address: i for i, (address, _) in enumerate(code)}
    loops = set()
    for i, (address, text) in enumerate(code):
        jump = JUMP.match(text)
        target = int(jump[1], 16) if jump else None
        if target is not None and target <= address and target in index:
            loops.add((index[target], i))
    return sorted((a, b) for a, b in loops if not any((c, d) != (a, b) and a <= c and d <= b for c, d in loops))


def operands(text):
    """The operands of an instruction in AT&T order: the destination is the last one."""
    parts = text.split(None, 1)
    while len(parts) == 2 and parts[0] in ("lock", "rep", "repz", "repnz", "data16", "cs", "bnd", "notrack"):
        parts = parts[1].split(None, 1)
    found, depth = [""], 0
    for c in parts[1] if len(parts) == 2 else "":
        depth += (c == "(") - (c == ")")
        if c == "," and depth == 0:
            found.append("")
        else:
            found[-1] += c
    return parts[0], [operand.strip() for operand in found if operand.strip()]


def wide(register):
    """%eax, %r8d → %rax, %r8: a write to a part is a write to the whole."""
    narrow = NARROW.match(register)
    return register if not narrow else f"%r{narrow[1] or narrow[2]}"


def touches_stack(text, pointers):
    """A vector instruction with an operand in the stack's memory."""
    if not VECTOR.search(text) or text.startswith("lea"):
        return False
    return any(register in pointers for match in MEMORY.finditer(text) for register in match.groups() if register)


def note_pointers(text, pointers):
    """Follows pointers to the stack from register to register."""
    name, args = operands(text)
    if name in ("ret", "retq"):
        pointers -= CALLER_SAVED
    elif name.startswith("call"):
        pointers -= CALLER_SAVED
    if not args or name.startswith(("pop", "leave")) or READS_ONLY.match(name) or not re.fullmatch(r"%r\w+|%e\w\w", args[-1]):
        return   # `pop %rbp` may stand before code that still uses the frame
    target = wide(args[-1])
    if target == "%rsp":
        return
    lea, loads = name.startswith("lea"), "(" in args[0]   # what a pointer is loaded from is no pointer
    sources = {wide(r) for r in re.findall(r"%\w+", args[0])} if lea or not loads else set()
    keeps = re.match(r"^(add|sub|inc|dec|and|or|cmov\w+)[lq]?$", name) and target in pointers
    moves = lea or re.match(r"^(mov|add|sub|cmov\w+)[lq]?$", name)
    points = keeps or moves and sources & pointers
    pointers.add(target) if points else pointers.discard(target)


def spills_in(code):
    hot, found, loops = 0, [], {}
    for begin, end in innermost_loops(code):
        if sum(bool(FMA.match(text)) and bool(VECTOR.search(text)) for _, text in code[begin:end + 1]) >= LEAST_FMAS:
            hot += 1
            loops.update(dict.fromkeys(range(begin, end + 1)))
    pointers = {"%rsp"}
    for i, (address, text) in enumerate(code):
        if i in loops and touches_stack(text, pointers):
            found.append(f"{address:#x}: {text}")
        note_pointers(text, pointers)
    return hot, found


def spills(file):
    """(number of hot loops, list of lines that describe spills in them)."""
    return spills_in(instructions(file))


def main():
    failed = False
    for file in sys.argv[1:]:
        hot, found = spills(file)
        print(f"{file}: {hot} hot loops, {len(found)} vector accesses to the stack in them")
        if found:
            print("\n".join(found[:20]))
        failed |= bool(found) or not hot
    return failed


if __name__ == "__main__":
    sys.exit(main())
