/* A fixed team of threads. Between runs they wait at the barrier, so starting a run is one barrier crossing and ending
 * it another. They block all signals: handlers stay with the threads of the program that loaded us. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "internal.h"

enum { kStackBytes = 2 << 20 }; /* kernels keep little on the stack */
enum start_state { kStarting, kGo, kAbandon };

struct member {
  lpd_team *team;
  uint32_t thread;
  pthread_t handle;
};

struct lpd_team {
  lpd_barrier *barrier;
  int64_t bytes;                       /* of the allocation */
  void (*body)(void *arg, int thread); /* NULL ends the team */
  void *arg;
  atomic_uint start;         /* a start_state */
  uint32_t threads, started; /* started: members with a handle */
  struct member members[];
};

static void *work(void *argument) {
  struct member *self = argument;
  lpd_team *team = self->team;
  lpd_word_wait(&team->start, kStarting);
  if (atomic_load(&team->start) == kAbandon) return NULL;
  for (;;) {
    lpd_barrier_wait(team->barrier, self->thread);
    if (!team->body) return NULL;
    team->body(team->arg, (int)self->thread);
    lpd_barrier_wait(team->barrier, self->thread);
  }
}

static int start_members(lpd_team *team) {
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes)) return 0;
  pthread_attr_setstacksize(&attributes, kStackBytes);
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int fine = 1;
  for (uint32_t i = 1; fine && i < team->threads; ++i) {
    struct member *member = &team->members[i];
    *member = (struct member){team, i, 0};
    fine = pthread_create(&member->handle, &attributes, work, member) == 0;
    if (fine) ++team->started;
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
  return fine;
}

static void free_team(const lpd_alloc *alloc, lpd_team *team) {
  for (uint32_t i = 1; i <= team->started; ++i) pthread_join(team->members[i].handle, NULL);
  lpd_barrier_destroy(alloc, team->barrier);
  lpd_give(alloc, team, team->bytes);
}

lpd_status lpd_team_create(const lpd_alloc *alloc, uint32_t threads, lpd_team **out) {
  const int64_t bytes = (int64_t)(sizeof(lpd_team) + threads * sizeof(struct member));
  lpd_team *team = lpd_take(alloc, bytes);
  if (!team) return LPD_OUT_OF_MEMORY;
  memset(team, 0, (size_t)bytes);
  team->bytes = bytes;
  team->threads = threads;
  team->barrier = lpd_barrier_create(alloc, threads);
  if (!team->barrier) return lpd_give(alloc, team, bytes), LPD_OUT_OF_MEMORY;
  if (!start_members(team)) return lpd_word_set(&team->start, kAbandon), free_team(alloc, team), LPD_SYSTEM;
  lpd_word_set(&team->start, kGo);
  *out = team;
  return LPD_OK;
}

lpd_barrier *lpd_team_barrier(lpd_team *team) { return team->barrier; }

void lpd_team_run(lpd_team *team, void (*body)(void *arg, int thread), void *arg) {
  team->body = body;
  team->arg = arg;
  lpd_barrier_wait(team->barrier, 0);
  body(arg, 0);
  lpd_barrier_wait(team->barrier, 0);
}

void lpd_team_destroy(const lpd_alloc *alloc, lpd_team *team) {
  if (!team) return;
  team->body = NULL;
  lpd_barrier_wait(team->barrier, 0);
  free_team(alloc, team);
}
