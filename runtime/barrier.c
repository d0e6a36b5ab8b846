/* The barrier of team.h. Between two threads on idle cores it takes about 55–100 ns (bench/runtime.cpp).
 * A waiter spins for a bounded time, then marks its gate and sleeps on it; who raises a gate swaps the new value in
 * and sees by the mark whether somebody must be woken, so the fast path has one atomic exchange and no system call.
 * Epochs only rise and a thread is at most one epoch ahead of its partners, so "at least" is the right comparison. */
#define _GNU_SOURCE
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

enum { kSpinNanoseconds = 100 * 1000, kSpinsBetweenClocks = 64 };

static void spin_hint(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb");
#endif
}

int64_t lpd_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int reached(uint32_t value, uint32_t epoch) { return (int32_t)((value & ~1u) - (epoch << 1)) >= 0; }

static void sleep_while(atomic_uint *word, uint32_t value) {
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void wake(atomic_uint *word, int most) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, most, NULL, NULL, 0); }

void lpd_word_wait(atomic_uint *word, uint32_t while_it_is) {
  while (atomic_load(word) == while_it_is) sleep_while(word, while_it_is);
}

void lpd_word_set(atomic_uint *word, uint32_t value) {
  atomic_store(word, value);
  wake(word, INT_MAX);
}

static void raise_gate(lpd_gate *gate, uint32_t epoch) {
  uint32_t before = atomic_exchange_explicit(&gate->value, epoch << 1, memory_order_acq_rel);
  if (before & 1) wake(&gate->value, 1);
}

static void sleep_at(lpd_gate *gate, uint32_t epoch) {
  uint32_t value = atomic_load_explicit(&gate->value, memory_order_acquire);
  while (!reached(value, epoch)) {
    if ((value & 1) || atomic_compare_exchange_weak(&gate->value, &value, value | 1))
      sleep_while(&gate->value, value | 1);
    value = atomic_load_explicit(&gate->value, memory_order_acquire);
  }
}

static void wait_gate(lpd_gate *gate, uint32_t epoch, int64_t spin_nanoseconds) {
  int64_t deadline = 0;
  while (spin_nanoseconds > 0) {
    for (int i = 0; i < kSpinsBetweenClocks; ++i) {
      if (reached(atomic_load_explicit(&gate->value, memory_order_acquire), epoch)) return;
      spin_hint();
    }
    int64_t time = lpd_now();
    if (deadline == 0) deadline = time + spin_nanoseconds;
    if (time > deadline) break;
  }
  sleep_at(gate, epoch);
}

void lpd_barrier_wait(lpd_barrier *barrier, uint32_t thread) {
  const uint32_t threads = barrier->threads, epoch = ++barrier->epochs[thread].value;
  for (uint32_t round = 0, distance = 1; round < barrier->rounds; ++round, distance <<= 1) {
    uint32_t partner = thread + distance;
    if (partner >= threads) partner -= threads;
    raise_gate(&barrier->gates[partner * barrier->rounds + round], epoch);
    wait_gate(&barrier->gates[thread * barrier->rounds + round], epoch, barrier->spin_nanoseconds);
  }
}

lpd_barrier *lpd_barrier_create(const lpd_alloc *alloc, uint32_t threads) {
  uint32_t rounds = 0;
  while ((1u << rounds) < threads) ++rounds;
  const int64_t head = (int64_t)sizeof(lpd_barrier) + 128; /* allocations are 64-byte aligned: room to round up */
  const int64_t bytes =
      head + (int64_t)threads * (rounds * (int64_t)sizeof(lpd_gate) + (int64_t)sizeof(struct lpd_epoch));
  lpd_barrier *barrier = lpd_take(alloc, bytes);
  if (!barrier) return NULL;
  memset(barrier, 0, (size_t)bytes);
  barrier->threads = threads;
  barrier->rounds = rounds;
  barrier->bytes = bytes;
  barrier->spin_nanoseconds = threads <= lpd_usable_cpus() ? kSpinNanoseconds : 0;
  barrier->epochs = (struct lpd_epoch *)(((uintptr_t)(barrier + 1) + 127) & ~(uintptr_t)127);
  barrier->gates = (lpd_gate *)(barrier->epochs + threads);
  return barrier;
}

void lpd_barrier_destroy(const lpd_alloc *alloc, lpd_barrier *barrier) {
  if (barrier) lpd_give(alloc, barrier, barrier->bytes);
}
