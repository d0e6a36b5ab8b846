/* Sums go into a stream of their own, in which they run beside the instance's kernels: those that made what is summed
 * are done, those that read it wait for the stream. Types and numbers are those of nccl.h and cuda.h, version 2 and 12.
 */
#include "tools/nccl_reducer.h"

#include <dlfcn.h>
#include <stddef.h>

enum { kNcclSum = 0, kNcclInt64 = 4, kNcclFloat32 = 7, kNcclFloat64 = 8, kNonBlocking = 1 };

typedef struct {
  int (*cuInit)(unsigned);
  int (*cuDeviceGet)(int*, int);
  int (*cuDevicePrimaryCtxRetain)(void**, int);
  int (*cuDevicePrimaryCtxRelease_v2)(int);
  int (*cuCtxPushCurrent_v2)(void*);
  int (*cuCtxPopCurrent_v2)(void**);
  int (*cuStreamCreate)(void**, unsigned);
  int (*cuStreamDestroy_v2)(void*);
  int (*cuStreamSynchronize)(void*);
  int (*ncclGetUniqueId)(lapidary_nccl_id*);
  int (*ncclCommInitRank)(void**, int, lapidary_nccl_id, int);
  int (*ncclAllReduce)(const void*, void*, size_t, int type, int op, void* comm, void* stream);
  int (*ncclCommDestroy)(void*);
} calls;

typedef struct {
  calls call;
  void *context, *stream, *comm;
  int device;
} group;

static group the_group;

static int find(void* library, const char* name, void* function) {
  void* found = library ? dlsym(library, name) : NULL;
  *(void**)function = found;
  return found != NULL;
}

const char* lapidary_nccl_open(lapidary_nccl_id* id) {
  calls* c = &the_group.call;
  void *cuda = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL), *nccl = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
  if (!nccl) return "there is no libnccl.so.2";
  if (!cuda) return "there is no libcuda.so.1";
#define FIND(library, name) find(library, #name, &c->name)
  if (!FIND(cuda, cuInit) || !FIND(cuda, cuDeviceGet) || !FIND(cuda, cuDevicePrimaryCtxRetain) ||
      !FIND(cuda, cuDevicePrimaryCtxRelease_v2) || !FIND(cuda, cuCtxPushCurrent_v2) ||
      !FIND(cuda, cuCtxPopCurrent_v2) || !FIND(cuda, cuStreamCreate) || !FIND(cuda, cuStreamDestroy_v2) ||
      !FIND(cuda, cuStreamSynchronize))
    return "libcuda.so.1 is too old";
  if (!FIND(nccl, ncclGetUniqueId) || !FIND(nccl, ncclCommInitRank) || !FIND(nccl, ncclAllReduce) ||
      !FIND(nccl, ncclCommDestroy))
    return "libnccl.so.2 lacks functions of NCCL 2";
#undef FIND
  if (c->cuInit(0)) return "there is no CUDA device";
  return id && c->ncclGetUniqueId(id) ? "ncclGetUniqueId failed" : NULL;
}

static void enter(const group* g) { g->call.cuCtxPushCurrent_v2(g->context); }
static void leave(const group* g) {
  void* before;
  g->call.cuCtxPopCurrent_v2(&before);
}

static int start(void* self, void* data, int64_t count, uint8_t dtype) {
  enum { kFloat = 1, kInt64 = 7, kDouble = 11 };
  const group* g = self;
  const int type = dtype == kFloat ? kNcclFloat32 : dtype == kInt64 ? kNcclInt64 : dtype == kDouble ? kNcclFloat64 : -1;
  if (type < 0) return 1;
  enter(g);
  const int failed = g->call.ncclAllReduce(data, data, (size_t)count, type, kNcclSum, g->comm, g->stream);
  leave(g);
  return failed;
}

/* Also for those that were started behind it. */
static int finish(void* self, void* data) {
  (void)data;
  const group* g = self;
  enter(g);
  const int failed = g->call.cuStreamSynchronize(g->stream);
  leave(g);
  return failed;
}

const char* lapidary_nccl_join(const lapidary_nccl_id* id, int ordinal, int rank, int ranks, lpd_reducer* reducer) {
  group* g = &the_group;
  if (g->call.cuDeviceGet(&g->device, ordinal)) return "there is no CUDA device for this rank";
  if (g->call.cuDevicePrimaryCtxRetain(&g->context, g->device)) return "the device's context cannot be had";
  enter(g); /* ncclCommInitRank takes the current device */
  const int failed =
      g->call.cuStreamCreate(&g->stream, kNonBlocking) || g->call.ncclCommInitRank(&g->comm, ranks, *id, rank);
  leave(g);
  if (failed) return "ncclCommInitRank failed";
  *reducer = (lpd_reducer){g, rank, ranks, 1, 0, start, finish};
  return NULL;
}

void lapidary_nccl_leave(void) {
  group* g = &the_group;
  if (!g->comm) return;
  enter(g);
  g->call.ncclCommDestroy(g->comm);
  g->call.cuStreamDestroy_v2(g->stream);
  leave(g);
  g->call.cuDevicePrimaryCtxRelease_v2(g->device);
}
