/* The walk of a region: every thread goes through the same jobs, takes its share of each, and meets the others at the
 * barriers. About 2 ns a step besides barriers and kernels (bench/runtime.cpp).
 *
 * Cancelling: thread 0 polls the flag and, before it enters a barrier, may name that barrier as the last; the others
 * read this behind it. Since nobody can be two barriers ahead, all leave at the same one. */
#define _GNU_SOURCE
#include "internal.h"

typedef struct {
  const lpd_job *jobs;
  uint32_t job_count, threads;
  char *stage;
  int64_t stage_bytes;
  lpd_barrier *barrier;
  const volatile int *cancel;
  atomic_uint last_barrier; /* number of the barrier at which all leave; 0: none */
  int64_t *nanoseconds;     /* NULL: not profiled */
} region;

/* Kernels run in the default floating-point environment whatever the calling program has set, and leave its own. */
#if defined(__x86_64__)
enum { kDefaultMxcsr = 0x1f80, kStickyFlags = 0x3f };
static uint64_t enter_float_environment(void) {
  unsigned before = __builtin_ia32_stmxcsr();
  if ((before & ~(unsigned)kStickyFlags) != kDefaultMxcsr) __builtin_ia32_ldmxcsr(kDefaultMxcsr);
  return before;
}
static void leave_float_environment(uint64_t before) {
  if ((before & ~(uint64_t)kStickyFlags) != kDefaultMxcsr) __builtin_ia32_ldmxcsr((unsigned)before);
}
#elif defined(__aarch64__)
static uint64_t enter_float_environment(void) {
  uint64_t before;
  __asm__ volatile("mrs %0, fpcr" : "=r"(before));
  if (before) __asm__ volatile("msr fpcr, %0" ::"r"(UINT64_C(0)));
  return before;
}
static void leave_float_environment(uint64_t before) {
  if (before) __asm__ volatile("msr fpcr, %0" ::"r"(before));
}
#endif

/* Nonzero: leave. `passed` counts this thread's barriers in this run. */
static int meet(region *r, uint32_t thread, uint32_t *passed) {
  const uint32_t number = ++*passed;
  if (!r->cancel) {
    lpd_barrier_wait(r->barrier, thread);
    return 0;
  }
  if (thread == 0 && *r->cancel) atomic_store_explicit(&r->last_barrier, number, memory_order_relaxed);
  lpd_barrier_wait(r->barrier, thread);
  return atomic_load_explicit(&r->last_barrier, memory_order_relaxed) == number;
}

/* The same for a walk by one thread, which meets nobody. */
static int cancel_alone(region *r) {
  const int cancelled = *r->cancel != 0;
  if (cancelled) atomic_store_explicit(&r->last_barrier, 1, memory_order_relaxed);
  return cancelled;
}

static void call(const lpd_job *job, int64_t round, uint32_t thread, void *stage) {
  const int64_t left = job->tasks_left, tasks = job->tasks_each * job->threads + left;
  const int64_t begin = round * tasks + job->tasks_each * thread + (thread < left ? thread : left);
  job->kernel(&job->frame, begin, begin + job->tasks_each + (thread < left), stage);
}

static int run_rounds(region *r, const lpd_job *job, uint32_t thread, void *stage, uint32_t *passed) {
  for (int64_t round = 0; round < job->rounds; ++round) {
    if (round > 0 && meet(r, thread, passed)) return 1;
    if (thread < job->threads) call(job, round, thread, stage);
  }
  return 0;
}

/* A step's time runs from its start on thread 0 to the next one's: its waiting for the others is its own. */
static void stamp(const region *r, const lpd_job *job, int64_t *since) {
  const int64_t time = lpd_now();
  if (job > r->jobs) r->nanoseconds[job - r->jobs - 1] += time - *since;
  *since = time;
}

static void walk(void *argument, int thread_number) {
  region *r = argument;
  const uint32_t thread = (uint32_t)thread_number;
  const int profiled = r->nanoseconds && thread == 0;
  const uint64_t environment = enter_float_environment();
  void *stage = r->stage + r->stage_bytes * thread;
  uint32_t passed = 0;
  int64_t since = 0;
  const lpd_job *job = r->jobs, *end = job + r->job_count;
  for (; job < end; ++job) {
    if (job->barrier && meet(r, thread, &passed)) break;
    if (r->cancel && r->threads == 1 && cancel_alone(r)) break;
    if (profiled) stamp(r, job, &since);
    if (job->threads == 1) {
      if (thread == 0) job->kernel(&job->frame, 0, job->tasks_each * job->rounds, stage);
    } else if (job->rounds == 1) {
      if (thread < job->threads) call(job, 0, thread, stage);
    } else if (job->threads > 0 && run_rounds(r, job, thread, stage, &passed)) {
      break;
    }
  }
  if (profiled) stamp(r, job, &since);
  leave_float_environment(environment);
}

static void start(lpd_instance *instance, region *r) {
  if (r->threads == 1)
    walk(r, 0);
  else if (instance->executor.run)
    instance->executor.run(instance->executor.self, walk, r);
  else
    lpd_team_run(instance->team, walk, r);
}

void lpd_run_alone(const lpd_job *job, void *stage) {
  const uint64_t environment = enter_float_environment();
  job->kernel(&job->frame, 0, (job->tasks_each * job->threads + job->tasks_left) * job->rounds, stage);
  leave_float_environment(environment);
}

lpd_status lpd_run_region(lpd_instance *instance, uint32_t entry, lpd_region *prepared, const volatile int *cancel) {
  const lpd_plan *plan = &instance->plans[entry];
  region r = {.jobs = plan->jobs + prepared->first_step,
              .job_count = prepared->step_count,
              .stage = instance->stages.data,
              .stage_bytes = prepared->stage_bytes,
              .threads = prepared->threads,
              .cancel = cancel,
              .nanoseconds = instance->profiling ? plan->nanoseconds + prepared->first_step : NULL};
  if (r.threads > 1) r.barrier = instance->executor.run ? instance->barrier : lpd_team_barrier(instance->team);
  start(instance, &r);
  return atomic_load(&r.last_barrier) != 0 ? lpd_fail(instance, LPD_CANCELLED, "cancelled") : LPD_OK;
}
