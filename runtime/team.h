/* Threads that wait for each other: a barrier and a fixed team. Both spin for a while and then sleep, so that a team
 * between runs costs no CPU time. */
#ifndef LAPIDARY_RUNTIME_TEAM_H
#define LAPIDARY_RUNTIME_TEAM_H

#include <stdatomic.h>
#include <stdint.h>

#include "lapidary.h"

/* A word one thread raises and one thread waits for. Bit 0: the waiter sleeps. Padded to the two lines a prefetcher
 * pulls together. */
typedef struct {
  _Alignas(128) atomic_uint value;
} lpd_gate;

/* A dissemination barrier: in round r thread t raises a gate of thread t + 2^r and waits for one raised by t - 2^r;
 * after ceil(log2 n) rounds every thread has heard, directly or not, from every other. With two threads that is one
 * store each way (D. Hensgen, R. Finkel, U. Manber, "Two algorithms for barrier synchronization", 1988). */
typedef struct {
  uint32_t threads, rounds;
  int64_t spin_nanoseconds;
  int64_t bytes;   /* of the allocation */
  lpd_gate *gates; /* rounds for each thread */
  struct lpd_epoch {
    _Alignas(128) uint32_t value;
  } * epochs; /* barriers each thread has passed; its own business */
} lpd_barrier;

lpd_barrier *lpd_barrier_create(const lpd_alloc *, uint32_t threads); /* NULL: no memory */
void lpd_barrier_destroy(const lpd_alloc *, lpd_barrier *);
void lpd_barrier_wait(lpd_barrier *, uint32_t thread);
/* Nanoseconds of a clock that only goes forwards. */
int64_t lpd_now(void);

/* A word that changes once and many threads wait for. */
void lpd_word_wait(atomic_uint *, uint32_t while_it_is);
void lpd_word_set(atomic_uint *, uint32_t value);

/* The caller of lpd_team_run is thread 0; the others wait at the barrier between runs. */
typedef struct lpd_team lpd_team;
lpd_status lpd_team_create(const lpd_alloc *, uint32_t threads, lpd_team **); /* LPD_OUT_OF_MEMORY or LPD_SYSTEM */
void lpd_team_destroy(const lpd_alloc *, lpd_team *);
lpd_barrier *lpd_team_barrier(lpd_team *); /* the bodies may use it */
void lpd_team_run(lpd_team *, void (*body)(void *arg, int thread), void *arg);

#endif
