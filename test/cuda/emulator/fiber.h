// A stack of its own and a way to switch to it: six registers on x86-64, ucontext elsewhere.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#if !defined(__x86_64__) || defined(EMULATOR_UCONTEXT)
#define EMULATOR_SWITCHES_BY_UCONTEXT 1
#include <ucontext.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define EMULATOR_UNPOISON(begin, bytes) __asan_unpoison_memory_region(begin, bytes)
#else
#define EMULATOR_UNPOISON(begin, bytes) (void)0
#endif

#pragma GCC visibility push(hidden)  // each shared object of kernels has its own
namespace emulator {

constexpr size_t kStackBytes = 256 << 10;

// Stacks are used again and again; each has a page below it that must not be touched.
class Stacks {
 public:
  char* take() {
    if (free_.empty()) grow();
    char* stack = free_.back();
    free_.pop_back();
    EMULATOR_UNPOISON(stack, kStackBytes);  // frames that were left without a return keep their poison
    return stack;
  }
  void give(char* stack) { free_.push_back(stack); }
  ~Stacks() {
    for (char* arena : arenas_) munmap(arena, kArena * pitch());
  }

 private:
  static constexpr size_t kArena = 64;
  static size_t page() { return size_t(sysconf(_SC_PAGESIZE)); }
  static size_t pitch() { return kStackBytes + page(); }
  void grow() {
    void* arena =
        mmap(nullptr, kArena * pitch(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (arena == MAP_FAILED) __builtin_trap();
    arenas_.push_back(static_cast<char*>(arena));
    for (size_t i = 0; i < kArena; ++i) {
      char* guard = arenas_.back() + i * pitch();
      mprotect(guard, page(), PROT_NONE);
      free_.push_back(guard + page());
    }
  }
  std::vector<char*> free_, arenas_;
};

#ifdef EMULATOR_SWITCHES_BY_UCONTEXT
struct Context {
  ucontext_t state;
};
inline void switch_context(Context& from, Context& to) { swapcontext(&from.state, &to.state); }
inline void prepare_context(Context& context, char* stack, size_t bytes, void (*entry)()) {
  getcontext(&context.state);
  context.state.uc_stack.ss_sp = stack;
  context.state.uc_stack.ss_size = bytes;
  context.state.uc_link = nullptr;
  makecontext(&context.state, entry, 0);
}
#else
struct Context {
  void* stack_pointer;
};
__attribute__((naked, noinline, unused)) static void exchange_stacks(void** /*from*/, void* /*to*/) {
  asm("push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15; mov %rsp, (%rdi); mov %rsi, %rsp;"
      "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp; ret");
}
inline void switch_context(Context& from, Context& to) { exchange_stacks(&from.stack_pointer, to.stack_pointer); }
inline void prepare_context(Context& context, char* stack, size_t bytes, void (*entry)()) {
  void** top = reinterpret_cast<void**>(reinterpret_cast<uintptr_t>(stack + bytes) & ~uintptr_t(15));
  *--top = nullptr;  // where entry would return to, so that the stack is aligned as after a call
  *--top = reinterpret_cast<void*>(entry);
  context.stack_pointer = top - 6;
}
#endif

}  // namespace emulator
#pragma GCC visibility pop
