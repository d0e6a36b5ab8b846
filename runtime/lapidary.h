/* The C interface of a compiled model. It is linked into each product, local to it, and reached through the model's own
 * symbols: lpd_run is NAME_run. What takes a model here takes none there, where it is always the one.
 *
 * Threads: a model is read-only and may be shared; an instance belongs to one thread at a time; different instances
 * run at the same time. After fork() the child must not use the parent's instances: their threads are not there. It may
 * create its own. Errors: every call returns a status, none aborts, prints, or reads the environment.
 * Memory: shapes, names and signatures returned live as long as the library; data pointers returned by lpd_output
 * until the next run, bind, or destroy of that instance. One of them may be bound as an input: the runs that read it
 * write the output elsewhere.
 * Structs begin with their size, which the caller sets: programs built against an older or a newer header keep
 * working, as long as what this library does not know of a newer struct is zero. */
#ifndef LAPIDARY_H
#define LAPIDARY_H

/* Generated headers hold this part as it is, and of the functions below those with the model's prefix. */
#ifndef LAPIDARY_TYPES
#define LAPIDARY_TYPES

#include <stdint.h>

#define LPD_ABI_VERSION 1
#define LPD_MAX_THREADS 1024

typedef enum {
  LPD_OK = 0,
  LPD_INVALID_ARGUMENT = 1, /* a null, an index out of range, a struct of unknown size */
  LPD_WRONG_INPUT = 2,      /* rank, extent, type or size of a tensor does not fit the model */
  LPD_OUT_OF_MEMORY = 3,
  LPD_CANCELLED = 4,
  LPD_LIMIT = 5,           /* max_bytes, max_loop, overflow in a shape */
  LPD_UNSUPPORTED_CPU = 6, /* the product needs instructions this CPU lacks */
  LPD_SYSTEM = 7,          /* threads could not be started, or a file not be read or written */
  /* Of products for CUDA. When one of these, or LPD_OUT_OF_MEMORY, is why lpd_create fails, there is an instance all
   * the same, if there was memory for it: lpd_error tells of it what was needed and what was found; destroy it. */
  LPD_NO_DRIVER = 8,       /* there is no libcuda.so.1 */
  LPD_DRIVER_TOO_OLD = 9,  /* it lacks calls that the product needs, or is of an earlier CUDA than its code */
  LPD_NO_DEVICE = 10,      /* it knows of no device, or not of the one asked for */
  LPD_NO_DEVICE_CODE = 11, /* the product holds no code that the device runs, or damaged code */
  LPD_PTX_TOO_NEW = 12,    /* it holds PTX that the driver is too old for */
  LPD_DEVICE_ERROR = 13    /* the driver's own error, by name and number */
} lpd_status;

/* Element types are ONNX's TensorProto.DataType codes: 1 float, 6 int32, 7 int64, 9 bool, 10 float16, 11 double, … A
 * string (8) is a lpd_string. */

typedef struct {
  uint32_t size;  /* sizeof(lpd_tensor) */
  int32_t device; /* 0: host memory; 1: memory of the instance's CUDA device */
  void *data;
  int64_t bytes; /* of the memory at data */
  uint8_t dtype, rank;
  const int64_t *dims;    /* rank of them */
  const int64_t *strides; /* in elements; NULL: dense row-major, the only form taken today */
} lpd_tensor;

/* An element of a tensor of strings (type 8): UTF-8, not ended by a zero byte. Of an input, the bytes at data must stay
 * valid and unchanged until the run is over and its outputs are no longer read; those of an output lie in the library,
 * in an input, or in the instance, and are valid until its next run or its end, which is why such an output cannot be
 * bound as an input: its strings must be copied. Bytes that are no UTF-8 are kept as they are. */
typedef struct {
  const char *data;
  int64_t size;
} lpd_string;

/* A team of threads that runs body(arg, 0) … body(arg, threads - 1), all at the same time (they wait for each other
 * inside), and returns when all are done. The caller's thread may be one of them. Instances that share an executor and
 * run at the same time call it at the same time. */
typedef struct {
  void *self;
  int threads;
  void (*run)(void *self, void (*body)(void *arg, int thread), void *arg);
} lpd_executor;

typedef struct {
  void *self;
  void *(*alloc)(void *self, int64_t bytes, int64_t alignment);
  void (*free)(void *self, void *memory, int64_t bytes);
} lpd_alloc;

/* Data-parallel training: instances of one product compiled with --data-parallel, mostly in processes of their own,
 * that run the same entry points one after the other, each with its share of a batch; rank 0 … ranks - 1 is one of
 * them. `start` begins to put in the place of count elements at data their sums over all ranks and returns before they
 * are there, so that the run goes on meanwhile; the elements are left alone until `finish` of the same data has
 * returned, which waits for the sums; of NULL, for all that were started. All ranks start the same sums in the same
 * order. dtype: 1 float, 7 int64 or 11 double. Nonzero is failure: the run ends with LPD_SYSTEM. Both are called by the
 * thread that runs the instance. A rank that fails in the middle of a run leaves the others waiting: whoever wrote the
 * reducer ends them. */
typedef struct {
  void *self;
  int32_t rank, ranks;
  int32_t
      on_device; /* nonzero, for products for CUDA alone: data is in the memory of the instance's device, which is done
                    with it at the start, and goes on when finish returns; 0: in the host's, where copies are made */
  int32_t reserved; /* 0 */
  int (*start)(void *self, void *data, int64_t count, uint8_t dtype);
  int (*finish)(void *self, void *data);
} lpd_reducer;

typedef struct {
  uint32_t size;                /* sizeof(lpd_options) */
  int32_t threads;              /* 0: one for each core this process may use; ignored with an executor */
  const lpd_executor *executor; /* NULL: a team of the instance's own */
  const lpd_alloc *alloc;       /* NULL: malloc */
  int64_t max_bytes;            /* of arena_bytes + threads * workspace_bytes, and of tensors whose size only a run
                                   can tell, and new strings; of each output that is not bound, too; 0: no limit */
  int64_t max_loop;             /* iterations of a loop; 0: no limit */
  /* Products for CUDA; there, arena and workspaces (64 MiB at most, or one thread's) are memory of the device, where
   * copies of tensors in host memory are held besides, and `threads` and `executor` mean nothing. */
  void *cuda_stream;   /* a CUstream of the device's primary context, to run in, which outlives the instance (the legacy
                          default one is CU_STREAM_LEGACY, 1): see lpd_run; NULL: a stream of the instance's own */
  int32_t cuda_device; /* which, as the driver counts them */
  int32_t reserved;    /* 0 */
  /* NULL: one rank of one. LPD_INVALID_ARGUMENT for products that do not train data-parallel. */
  const lpd_reducer *reducer;
} lpd_options;

typedef struct {
  uint32_t size;    /* sizeof(lpd_tensor_info) */
  const char *name; /* as in the model, UTF-8 */
  uint8_t dtype, rank;
  const int64_t *dims;          /* -1 where symbolic */
  const char *const *dim_names; /* "N", "N*S + 1"; NULL where constant */
} lpd_tensor_info;

/* Of one step while profiling was on: sums over `runs` runs. */
typedef struct {
  uint32_t size;      /* sizeof(lpd_step_profile) */
  const char *kernel; /* the variant that runs for the bound shapes: "contraction tile=13x32" */
  const char *origin; /* "node 'conv1' (Conv, opset 17)" */
  int64_t nanoseconds, runs;
  int64_t flops, bytes; /* for the bound shapes */
  /* Of a kernel on a device, by its driver, else 0: registers of a thread, bytes of a thread's that are in memory for
   * want of registers, bytes of shared memory of a block. */
  int32_t registers, local_bytes, shared_bytes;
  uint32_t unused;
} lpd_step_profile;

/* A tensor that lives as long as an instance, and that runs change: models compiled for training have them. */
typedef enum {
  LPD_PARAMETER = 0,       /* what training is about; named as in the model */
  LPD_STATISTIC = 1,       /* what a forward pass leaves: running means and variances; named as in the model */
  LPD_OPTIMIZER_STATE = 2, /* moments */
  LPD_PROGRESS = 3         /* "step": steps done, i64; "learning_rate", f32, which may be set */
} lpd_state_kind;
typedef struct {
  uint32_t size; /* sizeof(lpd_state_info) */
  lpd_state_kind kind;
  const char *name; /* UTF-8 */
  uint8_t dtype, rank;
  const int64_t *dims; /* rank of them */
} lpd_state_info;
typedef struct lpd_model lpd_model;
typedef struct lpd_instance lpd_instance;
#endif /* LAPIDARY_TYPES */

#ifdef __cplusplus
extern "C" {
#endif

const char *lpd_model_name(const lpd_model *);
/* --- functions --- */
/* LPD_ABI_VERSION of the library. */
int32_t lpd_abi_version(void);
/* The name of a feature that this CPU or its system lacks and the library needs; NULL when there is none. */
const char *lpd_missing_cpu_feature(const lpd_model *);
int32_t lpd_input_count(const lpd_model *);
int32_t lpd_output_count(const lpd_model *);
/* Slots count the inputs first, then the outputs. */
lpd_status lpd_describe(const lpd_model *, int slot, lpd_tensor_info *);
/* Names of the symbols, in the order lpd_arena_bytes takes them; count may be NULL. */
const char *const *lpd_symbols(const lpd_model *, int32_t *count);
/* What a run with these symbol values takes beside weights, inputs and outputs: bytes of the arena, and of each
 * thread's workspace. Of a product with kernels for several kinds of CUDA devices, the most that any of them takes. -1
 * on overflow. */
int64_t lpd_arena_bytes(const lpd_model *, const int64_t *symbols);
int64_t lpd_workspace_bytes(const lpd_model *, const int64_t *symbols);

/* NULL options are the defaults. */
lpd_status lpd_create(const lpd_model *, const lpd_options *, lpd_instance **);
void lpd_destroy(lpd_instance *);
/* What went wrong in the last call with this instance, one line; "" when nothing did. */
const char *lpd_error(const lpd_instance *);

/* An input is read in place during each run and must stay valid and unchanged. An output is written there; one that
 * is not bound (or bound with data NULL) belongs to the instance and is found with lpd_output.
 * Products for CUDA: a tensor in the device's memory (device 1), aligned to 16 bytes, is used where it lies; what was
 * started for it in another stream than the instance's must be done. One in host memory is copied on each run. An
 * output bound with data NULL is the instance's, in the memory that `device` says. Strings are in host memory. */
lpd_status lpd_bind(lpd_instance *, int slot, const lpd_tensor *);
/* Entry points: one, "run", or of models compiled for training "run", "train_step" and "eval_step". -1: there is none
 * of this name. */
int32_t lpd_entry_index(const lpd_model *, const char *name);
/* Runs an entry point, whose inputs must be bound; others need not be. cancel, when given, is polled: nonzero ends the
 * run with LPD_CANCELLED, when the device has done what it was told, at most 16 iterations of a loop. A run that fails
 * midway may leave some states changed and others not.
 * lpd_run returns when all is done, with one exception. In a stream of the caller's (cuda_stream), an entry point whose
 * inputs and outputs are all in the device's memory (those bound with data NULL too), without loops, branches, strings
 * and extents that values tell, and while profiling is off, is only put into the stream: its tensors are read and
 * written, and must stay as they are, until the stream has passed it; what the caller puts behind it in the stream
 * follows it. Then:
 *   lpd_bind, lpd_output   do not wait: an output's address and shape are known, its values are there in the stream's
 *                          order
 *   lpd_run                of such an entry point again: goes behind the one before, whatever is bound now. It waits
 *                          only where the instance's memory must grow, as for larger shapes, or one of its graphs make
 *                          room for one of other kernels
 *   lpd_wait, any other lpd_run, lpd_state_get, lpd_state_set, lpd_save, lpd_load
 *                          wait first. If one of the runs before found wrong values among its inputs, they return its
 *                          LPD_WRONG_INPUT, once, and have done nothing else; outputs and states since then are not to
 *                          be used. An error of the device's may be told by whichever call comes next
 *   lpd_destroy            waits, and tells nothing */
lpd_status lpd_run(lpd_instance *, int entry, const volatile int *cancel);
/* Until the instance's runs are done; what was wrong in those that did not wait. */
lpd_status lpd_wait(lpd_instance *);
/* The tensor in a slot; of an output, its shape as of the last run. */
lpd_status lpd_output(lpd_instance *, int slot, lpd_tensor *);

/* States, of which an instance has copies of its own. Getting and setting copy the whole tensor to and from dense host
 * memory of the state's type and extents. */
int32_t lpd_state_count(const lpd_model *);
lpd_status lpd_state_describe(const lpd_model *, int state, lpd_state_info *);
lpd_status lpd_state_get(lpd_instance *, int state, const lpd_tensor *);
lpd_status lpd_state_set(lpd_instance *, int state, const lpd_tensor *);
/* All states in one file, with a text of the caller's (64 KiB at most; may be NULL). The file appears under its name
 * when it is whole and on the disk; the checkpoint that was there is kept as PATH.previous. A file that is no
 * checkpoint is not overwritten. One call at a time for each path. */
lpd_status lpd_save(lpd_instance *, const char *path, const char *note);
/* Sets all states, or, when it fails, none; and the text, ended by a zero byte, where `note` is not NULL and has `room`
 * bytes. When the file is missing, unreadable or damaged, PATH.previous is taken, where that is whole: the status then
 * is LPD_OK and lpd_error says what was wrong. LPD_WRONG_INPUT: the file is truncated or damaged; LPD_INVALID_ARGUMENT:
 * it is no checkpoint, of another version, or of a model with other states; LPD_SYSTEM: it cannot be read. */
lpd_status lpd_load(lpd_instance *, const char *path, char *note, int64_t room);

/* Starts or ends counting; starting sets all counts to 0. */
lpd_status lpd_profile_enable(lpd_instance *, int on);
/* Steps of an entry point. */
int32_t lpd_profile_count(const lpd_instance *, int entry);
lpd_status lpd_profile(const lpd_instance *, int entry, int step, lpd_step_profile *);
/* --- end of functions --- */

#ifdef __cplusplus
}
#endif
#endif
