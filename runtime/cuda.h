/* What the files of the CUDA part share; only products for CUDA link them, by lpd_cuda, the table of abi.h.
 *
 *   cuda_library.c   libcuda.so.1, opened when first needed; its errors as statuses with a line each
 *   cuda_image.c     which of the product's images a device runs
 *   cuda_model.c     what instances of one model on one device share: modules, functions, weights
 *   cuda_memory.c    memory of the device, copies, what kernels see of the caller's tensors
 *   cuda_maps.c      what the copy engine is told of operands
 *   cuda_region.c    steps as launches, one after the other in the instance's stream
 *   cuda_graph.c     the same launches as graphs, for the dims that come again
 *   cuda.c           an instance's life
 *
 * The driver's interface is declared here, as far as it is used: a build needs no header of CUDA's. The names are the
 * driver's own; versions of calls are those that CUDA 11.4 has. */
#ifndef LAPIDARY_RUNTIME_CUDA_H
#define LAPIDARY_RUNTIME_CUDA_H

#include "internal.h"

typedef int CUresult, CUdevice;
typedef uint64_t CUdeviceptr;
typedef struct CUctx_st *CUcontext;
typedef struct CUmod_st *CUmodule;
typedef struct CUfunc_st *CUfunction;
typedef struct CUstream_st *CUstream;
typedef struct CUevent_st *CUevent;
typedef struct CUgraph_st *CUgraph;
typedef struct CUgraphNode_st *CUgraphNode;
typedef struct CUgraphExec_st *CUgraphExec;

typedef struct {
  CUfunction func;
  unsigned grid[3], block[3], shared_bytes;
  void **parameters, **extra;
} CUDA_KERNEL_NODE_PARAMS;

typedef struct {
  unsigned char from_port, to_port, type, reserved[5];
} CUgraphEdgeData;

enum {
  CUDA_SUCCESS = 0,
  CUDA_ERROR_OUT_OF_MEMORY = 2,
  CUDA_ERROR_STUB_LIBRARY = 34,
  CUDA_ERROR_INSUFFICIENT_DRIVER = 35,
  CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER = 36,
  CUDA_ERROR_NO_DEVICE = 100,
  CUDA_ERROR_INVALID_IMAGE = 200,
  CUDA_ERROR_NO_BINARY_FOR_GPU = 209,
  CUDA_ERROR_UNSUPPORTED_PTX_VERSION = 222,
  CUDA_ERROR_NOT_FOUND = 500,

  CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16,
  CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75,
  CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76,
  CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN = 97,
  CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES = 1,
  CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES = 3,
  CU_FUNC_ATTRIBUTE_NUM_REGS = 4,
  CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8,
  CU_POINTER_ATTRIBUTE_MEMORY_TYPE = 2,
  CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL = 9,
  CU_POINTER_ATTRIBUTE_RANGE_START_ADDR = 11,
  CU_POINTER_ATTRIBUTE_RANGE_SIZE = 12,
  CU_MEMORYTYPE_DEVICE = 2,
  CU_STREAM_NON_BLOCKING = 1,
  CU_GRAPH_KERNEL_NODE_PORT_PROGRAMMATIC = 1,
  CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC = 1
};

/* The calls that are used: name in the library, result and parameters. */
#define LPD_CUDA_CALLS(X)                                                                                     \
  X(cuDriverGetVersion, (int *))                                                                              \
  X(cuInit, (unsigned flags))                                                                                 \
  X(cuGetErrorName, (CUresult, const char **))                                                                \
  X(cuDeviceGetCount, (int *))                                                                                \
  X(cuDeviceGet, (CUdevice *, int ordinal))                                                                   \
  X(cuDeviceGetName, (char *, int room, CUdevice))                                                            \
  X(cuDeviceGetAttribute, (int *, int attribute, CUdevice))                                                   \
  X(cuDevicePrimaryCtxRetain, (CUcontext *, CUdevice))                                                        \
  X(cuDevicePrimaryCtxRelease_v2, (CUdevice))                                                                 \
  X(cuCtxPushCurrent_v2, (CUcontext))                                                                         \
  X(cuCtxPopCurrent_v2, (CUcontext *))                                                                        \
  X(cuModuleLoadData, (CUmodule *, const void *image))                                                        \
  X(cuModuleUnload, (CUmodule))                                                                               \
  X(cuModuleGetFunction, (CUfunction *, CUmodule, const char *name))                                          \
  X(cuFuncSetAttribute, (CUfunction, int attribute, int value))                                               \
  X(cuFuncGetAttribute, (int *value, int attribute, CUfunction))                                              \
  X(cuMemAlloc_v2, (CUdeviceptr *, size_t))                                                                   \
  X(cuMemFree_v2, (CUdeviceptr))                                                                              \
  X(cuMemGetInfo_v2, (size_t * free, size_t * total))                                                         \
  X(cuMemcpyHtoDAsync_v2, (CUdeviceptr, const void *, size_t, CUstream))                                      \
  X(cuMemcpyDtoHAsync_v2, (void *, CUdeviceptr, size_t, CUstream))                                            \
  X(cuMemcpyDtoDAsync_v2, (CUdeviceptr, CUdeviceptr, size_t, CUstream))                                       \
  X(cuMemsetD8Async, (CUdeviceptr, unsigned char, size_t, CUstream))                                          \
  X(cuMemsetD32Async, (CUdeviceptr, unsigned, size_t, CUstream))                                              \
  X(cuPointerGetAttribute, (void *, int attribute, CUdeviceptr))                                              \
  X(cuStreamCreate, (CUstream *, unsigned flags))                                                             \
  X(cuStreamDestroy_v2, (CUstream))                                                                           \
  X(cuStreamSynchronize, (CUstream))                                                                          \
  X(cuEventCreate, (CUevent *, unsigned flags))                                                               \
  X(cuEventDestroy_v2, (CUevent))                                                                             \
  X(cuEventRecord, (CUevent, CUstream))                                                                       \
  X(cuEventElapsedTime, (float *milliseconds, CUevent, CUevent))                                              \
  X(cuLaunchKernel, (CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned shared, \
                     CUstream, void **parameters, void **extra))                                              \
  X(cuGraphCreate, (CUgraph *, unsigned flags))                                                               \
  X(cuGraphDestroy, (CUgraph))                                                                                \
  X(cuGraphAddKernelNode,                                                                                     \
    (CUgraphNode *, CUgraph, const CUgraphNode *dependencies, size_t, const CUDA_KERNEL_NODE_PARAMS *))       \
  X(cuGraphInstantiateWithFlags, (CUgraphExec *, CUgraph, unsigned long long flags))                          \
  X(cuGraphExecKernelNodeSetParams, (CUgraphExec, CUgraphNode, const CUDA_KERNEL_NODE_PARAMS *))              \
  X(cuGraphExecDestroy, (CUgraphExec))                                                                        \
  X(cuGraphLaunch, (CUgraphExec, CUstream))

/* What it is told of a tensor; what is in it only the driver knows. */
typedef struct {
  _Alignas(64) uint64_t opaque[16];
} lpd_cuda_tensor_map;

/* Calls of later versions, which products with certain kernels need; NULL where they are not. */
#define LPD_CUDA_LATER_CALLS(X)                                                                                       \
  X(cuGraphAddDependencies_v2,                                                                                        \
    (CUgraph, const CUgraphNode *from, const CUgraphNode *to, const CUgraphEdgeData *, size_t))                       \
  X(cuTensorMapEncodeTiled,                                                                                           \
    (lpd_cuda_tensor_map *, int type, uint32_t rank, void *address, const uint64_t *extents, const uint64_t *strides, \
     const uint32_t *box, const uint32_t *steps, int interleave, int swizzle, int promotion, int fill))

typedef struct {
  void *handle;
#define LPD_CUDA_FIELD(name, parameters) CUresult(*name) parameters;
  LPD_CUDA_CALLS(LPD_CUDA_FIELD)
  LPD_CUDA_LATER_CALLS(LPD_CUDA_FIELD)
#undef LPD_CUDA_FIELD
} lpd_cuda_calls;

/* --- shared by the instances of one model on one device -------------------------------------------------------- */

typedef struct lpd_cuda_model {
  const lpd_model *model;
  int ordinal;
  CUdevice device;
  CUcontext context;
  char name[64];
  uint32_t capability; /* 10 * major + minor */
  int multiprocessors;
  const lpd_device_image *image; /* the one taken; NULL: there are no kernels */
  int starts_early; /* kernels wait themselves for those before them (await_turn in codegen/cuda/device.h) */
  CUmodule *modules;
  uint32_t module_count;
  CUfunction *functions; /* of each kernel */
  CUdeviceptr weights;
  uint32_t instances;
  struct lpd_cuda_model *next;
} lpd_cuda_model;

/* --- an instance's part ------------------------------------------------------------------------------------------ */

/* A kernel step made ready for the bound shapes; its tasks and rounds are the job's. */
typedef struct {
  CUfunction function;
  unsigned grid, block, shared_bytes;
  int64_t stage_each; /* bytes of each thread, or of each block that does a task */
  uint32_t integers, map_count;
  const lpd_tensor_map *maps;
} lpd_cuda_launch;

/* The launches of a region for certain dims as a graph. Its nodes hold pointers, and numbers that the dims decide, as
 * they were, which `pointers` and `told` remember. */
typedef struct {
  lpd_block key;    /* what the dims make of the launches; no data: nothing was launched yet */
  CUgraphExec exec; /* NULL: none, they were launched once */
  CUgraph graph;
  CUgraphNode *nodes; /* of the steps in order, a node each round */
  void **pointers;
  int64_t *told;      /* the key that they had then */
  lpd_block memory;   /* that of the three */
  const void *stage;  /* what the nodes were told of */
  int refused;        /* the driver makes none of these nodes */
  uint64_t last_used; /* counts looks at the region's graphs */
} lpd_cuda_graph;

/* Those of a region: for as many dims, of which those unused for longest make room. */
enum { LPD_CUDA_GRAPHS = 4 };
typedef struct {
  lpd_cuda_graph graphs[LPD_CUDA_GRAPHS];
  lpd_cuda_graph *current; /* the one of the dims of */
  uint64_t dims_version;   /* the instance's; 0: none */
  uint64_t looks;
} lpd_cuda_graphs;

typedef struct {
  lpd_cuda_launch *launches; /* one for each step; those of host steps are not used */
  lpd_cuda_graphs *graphs;   /* of each region */
} lpd_cuda_plan;

typedef struct {
  lpd_cuda_model *shared;
  CUstream stream;
  int owns_stream, entered; /* entered: the context is current by this instance's doing */
  CUdeviceptr flags;
  lpd_cuda_plan *plans; /* one for each entry */
  void **parameters;    /* of one launch */
  int64_t *key;         /* of a region's launches, before it is looked for */
  CUevent *events;      /* before each step of a region and behind the last; made when profiling */
  uint32_t event_count;
  int64_t bytes; /* of the allocation that holds this and its tables */
} lpd_cuda_instance;

static inline lpd_cuda_instance *lpd_cuda_of(const lpd_instance *instance) { return instance->device; }

extern const lpd_driver lpd_cuda;

/* --- cuda_library.c ---------------------------------------------------------------------------------------------- */
/* One thread at a time: around opening the library and changing what instances share. */
void lpd_cuda_lock(void);
void lpd_cuda_unlock(void);
/* Opens the library unless it is open; under the lock. The instance is told of errors, and of the version of a driver
 * that takes the program's images; it may be NULL. */
lpd_status lpd_cuda_open_library(lpd_instance *, int images_need);
extern lpd_cuda_calls lpd_cu; /* filled then */
/* "what: CUDA_ERROR_ILLEGAL_ADDRESS (700)", with the status that fits. */
lpd_status lpd_cuda_fail(lpd_instance *, CUresult, const char *what);
static inline lpd_status lpd_cuda_check(lpd_instance *instance, CUresult result, const char *what) {
  return result == CUDA_SUCCESS ? LPD_OK : lpd_cuda_fail(instance, result, what);
}

/* --- cuda_image.c ------------------------------------------------------------------------------------------------ */
/* Of the images, one that a device of this capability runs, the best; NULL when there is none. */
const lpd_device_image *lpd_cuda_pick_image(const lpd_device_code *, uint32_t capability);
/* Its modules, in memory to be freed. NULL when there is no memory for them, or, `damaged`, when they are not what was
 * packed. */
char *lpd_cuda_unpack_image(const lpd_device_image *, int *damaged);

/* --- cuda_model.c ------------------------------------------------------------------------------------------------ */
int lpd_cuda_suits(const lpd_model *, const lpd_options *);
/* Finds or loads what instances share; on success the device's context is current. Of the levels, all that there are of
 * the model, an error tells. */
lpd_status lpd_cuda_take_model(lpd_instance *, const lpd_model *const *levels, int ordinal, lpd_cuda_model **);
/* The last instance's unloads it. With its context current, which is left; else what the device holds stays there. */
void lpd_cuda_give_model(lpd_cuda_model *, int entered);
void lpd_cuda_tell_needs(const lpd_instance *, uint32_t kernel, lpd_step_profile *);

/* --- cuda_memory.c ----------------------------------------------------------------------------------------------- */
lpd_status lpd_cuda_take(lpd_instance *, int64_t bytes, const char *what, void **memory);
lpd_status lpd_cuda_allocate(lpd_instance *, const lpd_cuda_model *, int64_t bytes, const char *what, CUdeviceptr *);
void lpd_cuda_give(lpd_instance *, void *memory);
lpd_status lpd_cuda_copy(lpd_instance *, void *to, const void *from, int64_t bytes, enum lpd_way);
lpd_status lpd_cuda_clear(lpd_instance *, void *to, int64_t bytes);
lpd_status lpd_cuda_put_integer(lpd_instance *, void *to, int64_t value);
lpd_status lpd_cuda_settle(lpd_instance *, int entry);
lpd_status lpd_cuda_check_memory(lpd_instance *, int slot, const lpd_tensor *);
lpd_status lpd_cuda_mirror(lpd_instance *, uint32_t slot, int64_t bytes);
lpd_status lpd_cuda_begin(lpd_instance *, uint32_t entry);

/* --- cuda_region.c ----------------------------------------------------------------------------------------------- */
lpd_status lpd_cuda_prepare_region(lpd_instance *, uint32_t entry, lpd_region *);
lpd_status lpd_cuda_run_region(lpd_instance *, uint32_t entry, lpd_region *, const volatile int *cancel);
/* The launch of a step in one round, as the driver takes it; what parameters point to are the job's frame and `tasks`,
 * which must both last until the driver has them. */
typedef struct {
  lpd_cuda_tensor_map maps[LPD_MOST_MAPS];
  int64_t begin, end;
  void *stage;
} lpd_cuda_tasks;
CUresult lpd_cuda_node(lpd_instance *, const lpd_step *, const lpd_job *, const lpd_cuda_launch *, int64_t round,
                       lpd_cuda_tasks *, CUDA_KERNEL_NODE_PARAMS *);

/* --- cuda_maps.c -------------------------------------------------------------------------------------------------- */
/* Those of a launch, for the buffers as they are bound now. */
CUresult lpd_cuda_encode_maps(const lpd_cuda_launch *, const lpd_frame *, lpd_cuda_tensor_map *);

/* --- cuda_graph.c ------------------------------------------------------------------------------------------------ */
enum { LPD_CUDA_KEY_WORDS = 5 }; /* of each step, beside its integers */
/* In *graph the one of a region's dims where its kernels came before and are fit for one; else NULL. */
lpd_status lpd_cuda_find_graph(lpd_instance *, uint32_t entry, const lpd_region *, lpd_cuda_graph **);
/* 0: the driver refuses it; nothing was started. */
int lpd_cuda_launch_graph(lpd_instance *, uint32_t entry, const lpd_region *, lpd_cuda_graph *);
void lpd_cuda_drop_graphs(lpd_instance *, lpd_cuda_graphs *); /* entered, or only their tables */

#endif
