/* Sums over the processes that mpirun started. A thread of its own takes them from a queue and makes them one after the
 * other, so that they go on while kernels run; MPI is called by that thread alone, but for beginning and end.
 *
 * It asks whether a sum is there instead of waiting for it in MPI, which would keep a core busy that kernels want:
 * after kEager questions it sleeps in between. */
#define _GNU_SOURCE
#include <mpi.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "tools/nccl_reducer.h"

enum { kEager = 2000, kNanoseconds = 20000, kMostElements = 1 << 28 };

typedef struct request {
  struct request* next;
  void* data;
  int64_t count;
  MPI_Datatype type;
  int done, failed;
} request;

/* Requests in the order of their starts, until they are finished. */
typedef struct {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  pthread_t thread;
  request* first;
  int leaving;
} queue;

static queue the_queue = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static MPI_Datatype type_of(uint8_t dtype) {
  enum { kFloat = 1, kInt64 = 7, kDouble = 11 };
  return dtype == kFloat    ? MPI_FLOAT
         : dtype == kInt64  ? MPI_INT64_T
         : dtype == kDouble ? MPI_DOUBLE
                            : MPI_DATATYPE_NULL;
}

static int sum_part(void* data, int count, MPI_Datatype type) {
  MPI_Request sum;
  if (MPI_Iallreduce(MPI_IN_PLACE, data, count, type, MPI_SUM, MPI_COMM_WORLD, &sum)) return 1;
  const struct timespec pause = {0, kNanoseconds};
  for (int asked = 0, there = 0;; ++asked) {
    if (MPI_Test(&sum, &there, MPI_STATUS_IGNORE)) return 1;
    if (there) return 0;
    if (asked > kEager) nanosleep(&pause, NULL);
  }
}

/* MPI counts in ints. */
static int make_sum(const request* r) {
  int width;
  if (MPI_Type_size(r->type, &width)) return 1;
  for (int64_t at = 0; at < r->count; at += kMostElements) {
    const int64_t left = r->count - at;
    if (sum_part((char*)r->data + at * width, (int)(left < kMostElements ? left : kMostElements), r->type)) return 1;
  }
  return 0;
}

static request* next_to_do(const queue* q) {
  request* r = q->first;
  while (r && r->done) r = r->next;
  return r;
}

static void* work(void* argument) {
  queue* q = argument;
  pthread_mutex_lock(&q->lock);
  for (;;) {
    request* r = next_to_do(q);
    if (!r && q->leaving) break;
    if (!r) {
      pthread_cond_wait(&q->changed, &q->lock);
      continue;
    }
    pthread_mutex_unlock(&q->lock);
    const int failed = make_sum(r);
    pthread_mutex_lock(&q->lock);
    r->failed = failed;
    r->done = 1;
    pthread_cond_broadcast(&q->changed);
  }
  pthread_mutex_unlock(&q->lock);
  return NULL;
}

static int start(void* self, void* data, int64_t count, uint8_t dtype) {
  queue* q = self;
  request* r = calloc(1, sizeof *r);
  if (!r || type_of(dtype) == MPI_DATATYPE_NULL) {
    free(r);
    return 1;
  }
  *r = (request){.data = data, .count = count, .type = type_of(dtype)};
  pthread_mutex_lock(&q->lock);
  request** end = &q->first;
  while (*end) end = &(*end)->next;
  *end = r;
  pthread_cond_broadcast(&q->changed);
  pthread_mutex_unlock(&q->lock);
  return 0;
}

static int finish(void* self, void* data) {
  queue* q = self;
  int failed = 0;
  pthread_mutex_lock(&q->lock);
  for (request** at = &q->first; *at;) {
    request* r = *at;
    if (data && r->data != data) {
      at = &r->next;
      continue;
    }
    while (!r->done) pthread_cond_wait(&q->changed, &q->lock);
    failed |= r->failed;
    *at = r->next;
    free(r);
  }
  pthread_mutex_unlock(&q->lock);
  return failed;
}

static int local_rank(void) {
  MPI_Comm here;
  int rank = 0;
  if (MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &here)) return 0;
  MPI_Comm_rank(here, &rank);
  MPI_Comm_free(&here);
  return rank;
}

static const char* wrong_anywhere(const char* wrong) {
  int failed = wrong != NULL, failures = 0;
  MPI_Allreduce(&failed, &failures, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
  return wrong || !failures ? wrong : "another rank has no NCCL";
}

/* All have NCCL, or none uses it. */
static const char* on_device(void* self, int device, lpd_reducer* reducer) {
  (void)self;
  lapidary_nccl_id id = {{0}};
  int rank = 0, ranks = 1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  const char* wrong = lapidary_nccl_open(rank == 0 ? &id : NULL);
  if ((wrong = wrong_anywhere(wrong))) return wrong;
  MPI_Bcast(&id, sizeof id, MPI_BYTE, 0, MPI_COMM_WORLD);
  return wrong_anywhere(lapidary_nccl_join(&id, device, rank, ranks, reducer));
}

static void leave(void* self) {
  queue* q = self;
  pthread_mutex_lock(&q->lock);
  q->leaving = 1;
  pthread_cond_broadcast(&q->changed);
  pthread_mutex_unlock(&q->lock);
  pthread_join(q->thread, NULL);
  lapidary_nccl_leave();
  MPI_Finalize();
}

static void end_all(void* self, int code) {
  (void)self;
  MPI_Abort(MPI_COMM_WORLD, code);
  abort();
}

lapidary_join_function lapidary_join;
const char* lapidary_join(lapidary_reducer_library* library) {
  int threads = MPI_THREAD_SINGLE, rank = 0, ranks = 1;
  if (MPI_Init_thread(NULL, NULL, MPI_THREAD_MULTIPLE, &threads)) return "MPI does not begin";
  if (threads < MPI_THREAD_SERIALIZED) return "this MPI cannot be called by a thread of its own";
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  if (pthread_create(&the_queue.thread, NULL, work, &the_queue)) return "no thread for sums";
  *library = (lapidary_reducer_library){.version = LAPIDARY_REDUCER_VERSION,
                                        .reducer = {&the_queue, rank, ranks, 0, 0, start, finish},
                                        .local_rank = local_rank(),
                                        .on_device = on_device,
                                        .leave = leave,
                                        .abort = end_all};
  return NULL;
}
