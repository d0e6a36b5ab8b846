/* Where a program begins: there is no C toolchain, whose crt1.o would otherwise do this. The arguments lie on the stack
 * that the kernel made; libc is started with them and calls lpd_program_main. Not named _start: linkers look for that
 * in libraries too. */
int lpd_program_main(int count, char **arguments);
int __libc_start_main(int (*)(int, char **), int, char **, void (*)(void), void (*)(void), void (*)(void), void *);

__attribute__((noreturn, used)) static void start(long *stack, void (*at_exit)(void)) {
  __libc_start_main(lpd_program_main, (int)stack[0], (char **)(stack + 1), 0, 0, at_exit, stack);
  for (;;) {}
}

#if defined(__x86_64__)
__asm__(
    ".globl lpd_start\n.type lpd_start, @function\nlpd_start:\n"
    "  xorl %ebp, %ebp\n  movq %rsp, %rdi\n  movq %rdx, %rsi\n  andq $-16, %rsp\n  call start\n  hlt\n");
#elif defined(__aarch64__)
__asm__(
    ".globl lpd_start\n.type lpd_start, %function\nlpd_start:\n"
    "  mov x29, xzr\n  mov x30, xzr\n  mov x1, x0\n  mov x0, sp\n  b start\n");
#endif
