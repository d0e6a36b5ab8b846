"""codegen_spills.py on assembled loops: it finds what it says it finds, and nothing else."""
import os
import subprocess
import tempfile

from codegen_spills import spills

FMAS = "\n".join(f"vfmadd231ps (%rdi), %zmm16, %zmm{i}" for i in range(8))


def loop(body, head="", fmas=FMAS):
    return f"{head}\n1:\n{fmas}\n{body}\nadd $64, %rdi\ncmp %rsi, %rdi\njne 1b\nret\n"


FRAME = "push %rbp\nmov %rsp, %rbp\nand $-64, %rsp\nsub $256, %rsp"
CASES = [   # what, code, hot loops, spills
    ("no spill", loop("vmovups %zmm0, (%rdx)"), 1, 0),
    ("store", loop("vmovups %zmm0, 64(%rsp)"), 1, 1),
    ("reload", loop("vmovaps (%rsp), %zmm3"), 1, 1),
    ("both", loop("vmovaps %ymm4, 32(%rsp)\nvmovaps 32(%rsp), %ymm5"), 1, 2),
    ("operand in memory", loop("vfmadd231ps 64(%rsp), %zmm1, %zmm2"), 1, 1),
    ("broadcast from the stack", loop("vfmadd231ps 4(%rsp){1to16}, %zmm1, %zmm2"), 1, 1),
    ("scalar index", loop("vmovups %zmm0, 64(%rsp,%rax,8)"), 1, 1),
    ("scalar lane", loop("vmovss %xmm0, 4(%rsp,%rcx,4)"), 1, 1),
    ("frame pointer", loop("vmovups %zmm0, -64(%rbp)", FRAME), 1, 1),
    ("frame pointer, indexed", loop("vmovups -128(%rbp,%rax,4), %zmm1", FRAME), 1, 1),
    ("frame pointer as index", loop("vmovups -128(%rax,%rbp), %zmm1", FRAME), 1, 1),
    ("%rbp of no frame", loop("vmovups %zmm0, -64(%rbp)", "push %rbp\nmov 8(%rdi), %rbp"), 1, 0),
    ("%rbp after an early return", loop("vmovups %zmm0, -64(%rbp)", FRAME + "\ntest %rsi, %rsi\njne 2f\npop %rbp\nret\n2:"), 1, 1),
    ("%rbp reused by the next function", FRAME + "\nleave\nret\n" + loop("vmovups %zmm0, -64(%rbp)", "push %rbp\nlea (%rdi,%rsi), %rbp"), 1, 0),
    ("base pointer", loop("vmovups %zmm0, 64(%rbx)", FRAME + "\nmov %rsp, %rbx"), 1, 1),
    ("address of a local", loop("vmovups %zmm0, (%rax)", "lea 64(%rsp), %rax"), 1, 1),
    ("address of a local, walking", loop("vmovups %zmm0, (%rax)\nadd $64, %rax", "lea 64(%rsp), %rax"), 1, 1),
    ("address handed to a call", "lea 64(%rsp), %rdi\ncall f\nret\n" + loop("vmovups %zmm0, (%rdx)"), 1, 0),
    ("register loaded from the stack", loop("vmovups %zmm0, (%rax)", "mov 64(%rsp), %rax"), 1, 0),
    ("register increased by what lies on the stack", loop("vmovups %zmm0, (%rax)", "add 64(%rsp), %rax"), 1, 0),
    ("address of a local, computed", loop("vmovups %zmm0, (%rax)", "mov %rsi, %rax\nadd %rsp, %rax"), 1, 1),
    ("integer spill", loop("mov %rax, 8(%rsp)\nmov 8(%rsp), %rcx"), 1, 0),
    ("spill before the loop", loop("", "vmovups %zmm0, 64(%rsp)"), 1, 0),
    ("few products", loop("vmovups %zmm0, 64(%rsp)", fmas="vfmadd231ps (%rdi), %zmm1, %zmm2"), 0, 0),
    ("outer loop", "3:\nvmovups %zmm0, 64(%rsp)\n" + loop("").replace("ret", "dec %rcx\njne 3b\nret"), 1, 0),
    ("jump backward in the middle", "jmp 2f\n1:\n" + FMAS + "\nvmovups %zmm0, 64(%rsp)\n2:\ncmp %rsi, %rdi\nje 3f\nadd $4, %rdi\njmp 1b\n3: ret\n", 1, 1),
    ("AVX2", loop("vmovups %ymm0, 32(%rsp)", fmas="\n".join(f"vfmadd231ps %ymm{i}, %ymm14, %ymm15" for i in range(8))), 1, 1),
    ("no loop", "ret\n", 0, 0),
]


def main():
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "code.o")
        for what, code, hot, count in CASES:
            subprocess.run(["as", "-o", file], input=code, text=True, check=True)
            found = spills(file)
            assert (found[0], len(found[1])) == (hot, count), f"{what}: {found}, expected {hot} hot loops, {count} spills"
    print(len(CASES), "examples")


if __name__ == "__main__":
    main()
