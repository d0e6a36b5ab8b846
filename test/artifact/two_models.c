/* Two models in one program, as objects or archives, both run by the program's own threads in its own memory. Built
 * with -DONE=name -DONE_HEADER='"name.h"' -DTWO=… ; writes the bytes of all outputs of the first, then of the second.
 * Inputs of symbolic extents get 2 for each; elements are 0, 1, 2, 0, 1, 2, … */
#include ONE_HEADER
#include TWO_HEADER

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JOIN(a, b) a##_##b
#define NAMED(a, b) JOIN(a, b)

enum { kThreads = 2, kMostRank = 16, kMostSlots = 16 };

/* --- the program's threads and memory ---------------------------------------------------------------------------- */

typedef struct {
  void (*body)(void *, int);
  void *arg;
  int thread;
} part;

static void *run_part(void *argument) {
  part *p = argument;
  p->body(p->arg, p->thread);
  return NULL;
}

static int teams_run;

static void run_team(void *self, void (*body)(void *, int), void *arg) {
  pthread_t threads[kThreads];
  part parts[kThreads];
  int i;
  ++*(int *)self;
  for (i = 0; i < kThreads; ++i) {
    parts[i].body = body, parts[i].arg = arg, parts[i].thread = i;
    if (pthread_create(&threads[i], NULL, run_part, &parts[i])) abort();
  }
  for (i = 0; i < kThreads; ++i) pthread_join(threads[i], NULL);
}

static int64_t bytes_taken, bytes_held;

static void *take(void *self, int64_t bytes, int64_t alignment) {
  void *memory = NULL;
  (void)self;
  if (posix_memalign(&memory, (size_t)alignment, (size_t)bytes)) return NULL;
  bytes_taken += bytes, bytes_held += bytes;
  return memory;
}

static void give(void *self, void *memory, int64_t bytes) {
  (void)self;
  bytes_held -= bytes;
  free(memory);
}

/* --- one model --------------------------------------------------------------------------------------------------- */

typedef struct {
  int32_t (*input_count)(void), (*output_count)(void);
  lpd_status (*describe)(int, lpd_tensor_info *);
  lpd_status (*create)(const lpd_options *, lpd_instance **);
  lpd_status (*bind)(lpd_instance *, int, const lpd_tensor *);
  lpd_status (*run)(lpd_instance *, int, const volatile int *);
  lpd_status (*output)(lpd_instance *, int, lpd_tensor *);
  void (*destroy)(lpd_instance *);
  const char *(*error)(const lpd_instance *);
} model;

#define MODEL(name)                                                                                        \
  {                                                                                                        \
    NAMED(name, input_count), NAMED(name, output_count), NAMED(name, describe), NAMED(name, create),       \
        NAMED(name, bind), NAMED(name, run), NAMED(name, output), NAMED(name, destroy), NAMED(name, error) \
  }

static void check(lpd_status status, const model *m, const lpd_instance *instance) {
  if (status == LPD_OK) return;
  fprintf(stderr, "two_models: status %d: %s\n", (int)status, instance ? m->error(instance) : "");
  exit(1);
}

static void bind_input(const model *m, lpd_instance *instance, int slot, void **memory) {
  lpd_tensor_info info;
  lpd_tensor tensor;
  int64_t dims[kMostRank], count = 1, i;
  int axis, width;
  info.size = sizeof info;
  check(m->describe(slot, &info), m, NULL);
  for (axis = 0; axis < info.rank; ++axis) count *= dims[axis] = info.dims[axis] < 0 ? 2 : info.dims[axis];
  width = info.dtype == 7 ? 8 : 4;
  *memory = malloc((size_t)(count * width));
  for (i = 0; i < count; ++i) {
    if (info.dtype == 1) ((float *)*memory)[i] = (float)(i % 3);
    if (info.dtype == 6) ((int32_t *)*memory)[i] = (int32_t)(i % 3);
    if (info.dtype == 7) ((int64_t *)*memory)[i] = i % 3;
  }
  memset(&tensor, 0, sizeof tensor);
  tensor.size = sizeof tensor, tensor.data = *memory, tensor.bytes = count * width;
  tensor.dtype = info.dtype, tensor.rank = info.rank, tensor.dims = dims;
  check(m->bind(instance, slot, &tensor), m, instance);
}

static lpd_instance *open_model(const model *m, const lpd_options *options, void **memory) {
  lpd_instance *instance = NULL;
  int slot;
  check(m->create(options, &instance), m, NULL);
  for (slot = 0; slot < m->input_count(); ++slot) bind_input(m, instance, slot, &memory[slot]);
  return instance;
}

static void close_model(const model *m, lpd_instance *instance, void **memory) {
  int slot;
  for (slot = 0; slot < m->output_count(); ++slot) {
    lpd_tensor tensor;
    tensor.size = sizeof tensor;
    check(m->output(instance, m->input_count() + slot, &tensor), m, instance);
    fwrite(tensor.data, 1, (size_t)tensor.bytes, stdout);
  }
  m->destroy(instance);
  for (slot = 0; slot < m->input_count(); ++slot) free(memory[slot]);
}

int main(void) {
  static const model one = MODEL(ONE), two = MODEL(TWO);
  lpd_executor executor;
  lpd_alloc alloc;
  lpd_options options;
  void *memory_one[kMostSlots], *memory_two[kMostSlots];
  lpd_instance *first, *second;
  executor.self = &teams_run, executor.threads = kThreads, executor.run = run_team;
  alloc.self = NULL, alloc.alloc = take, alloc.free = give;
  memset(&options, 0, sizeof options);
  options.size = sizeof options, options.executor = &executor, options.alloc = &alloc;
  first = open_model(&one, &options, memory_one);
  second = open_model(&two, &options, memory_two);
  check(one.run(first, 0, NULL), &one, first);
  check(two.run(second, 0, NULL), &two, second);
  close_model(&one, first, memory_one);
  close_model(&two, second, memory_two);
  if (teams_run != 2 || bytes_taken == 0 || bytes_held != 0) {
    fprintf(stderr, "two_models: %d runs in our threads, %ld bytes taken, %ld not given back\n", teams_run,
            (long)bytes_taken, (long)bytes_held);
    return 1;
  }
  return 0;
}
