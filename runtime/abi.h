/* The tables between codegen and runtime: what codegen writes into a product's data and the runtime walks. The structs
 * have no padding, so that their bytes are determined by their values.
 * Internal to one product: both sides are always of one version, and nothing here is visible to its user. */
#ifndef LAPIDARY_RUNTIME_ABI_H
#define LAPIDARY_RUNTIME_ABI_H

#include <stdint.h>

#include "lapidary.h"

/* --- kernels ------------------------------------------------------------------------------------------------- */

/* What a kernel gets: one frame for each step, filled when shapes are bound. The same frame serves all threads;
 * `stage` differs and is passed apart. */
typedef struct {
  void *const *buffers; /* of the step, in order; Stage entries hold their byte offset into `stage` instead */
  const int64_t *integers;
} lpd_frame;
typedef void (*lpd_kernel)(const lpd_frame *, int64_t task_begin, int64_t task_end, void *stage);

/* --- dims: formulas evaluated in order into a slot table ---------------------------------------------------- */

enum lpd_dim_op {
  LPD_DIM_CONSTANT, /* slot = constants[a] */
  LPD_DIM_EXTENT,   /* slot = extent b of input a */
  LPD_DIM_ADD,
  LPD_DIM_MUL,
  LPD_DIM_FLOORDIV,
  LPD_DIM_MOD,
  LPD_DIM_MIN,
  LPD_DIM_MAX, /* of slots a and b */
  LPD_DIM_EQUAL,
  LPD_DIM_LESS,
  LPD_DIM_SELECT, /* slot a != 0 ? slot b : slot c */
  LPD_DIM_ELEMENT /* of integers that a LPD_STEP_ELEMENTS reads; without LPD_DIM_LATER, what a loop has counted */
};
/* Added to the operation of what depends on elements: not evaluated when shapes are bound, but by the step that reads
 * the last of them. */
enum { LPD_DIM_LATER = 256 };
typedef struct {
  uint32_t op, a, b, c;
} lpd_dim; /* the i-th fills slot i; overflow is LPD_LIMIT */

/* --- steps --------------------------------------------------------------------------------------------------- */

enum lpd_base {
  LPD_BASE_NONE,
  LPD_BASE_ARENA,
  LPD_BASE_WEIGHTS,
  LPD_BASE_INPUT,
  LPD_BASE_OUTPUT,
  LPD_BASE_FLAG,
  LPD_BASE_REGISTER,
  LPD_BASE_STATE
};
#define LPD_NO_SLOT UINT32_MAX
typedef struct {
  uint32_t base;   /* an lpd_base */
  uint32_t index;  /* INPUT, OUTPUT, FLAG, REGISTER: which */
  uint32_t offset; /* slot of the byte offset (ARENA, WEIGHTS, STATE: from the start of all); LPD_NO_SLOT is 0 */
} lpd_buffer_ref;

typedef struct {
  uint32_t kernel; /* into kernels */
  uint32_t when;   /* slot, LPD_NO_SLOT: always */
  uint32_t tasks;  /* slot: of one round */
  uint32_t rounds; /* slot, LPD_NO_SLOT: 1. Round r runs tasks [r * tasks, (r + 1) * tasks) over the team, a barrier
                      after each */
  uint32_t first_integer, integer_count; /* into integer_slots */
  uint32_t stage_bytes;                  /* slot, LPD_NO_SLOT: 0 */
  uint32_t first_stage, stage_count;     /* into integer_slots: byte offsets of the Stage buffers, in order */
} lpd_variant;

/* A function that the host runs between kernels: buffers and integers of a LPD_STEP_HOST_CALL. `dictionary`: the
 * strings of the model's constants, laid out as ir/strings.h says; NULL where none are needed. */
typedef struct {
  lpd_instance *instance;
  const char *origin;
  const void *dictionary;
  void *const *operands; /* the last one is the result */
  const int64_t *integers;
} lpd_call;
typedef lpd_status (*lpd_host_function)(const lpd_call *);
enum { LPD_MOST_OPERANDS = 4, LPD_MOST_ARGUMENTS = 4 };
enum { LPD_MOST_VIEWS = 16 }; /* of what a device holds, for one step of the host's */

/* What each does: StepKind in ir/program.h. */
enum lpd_step_kind {
  LPD_STEP_KERNEL,
  LPD_STEP_ELEMENTS,
  LPD_STEP_RESERVE,
  LPD_STEP_PROVIDE,
  LPD_STEP_BRANCH,
  LPD_STEP_BRANCH_UNLESS,
  LPD_STEP_LOOP_BEGIN,
  LPD_STEP_LOOP_NEXT,
  LPD_STEP_SWAP,
  LPD_STEP_HOST_CALL,
  LPD_STEP_HOST_KERNEL
};
enum lpd_step_flags { LPD_STEP_BARRIER_BEFORE = 1, LPD_STEP_SERIAL = 2, LPD_STEP_BEGINS_REGION = 4 };
typedef struct {
  const char *origin;
  int64_t grain;
  uint32_t kind, flags;
  uint32_t first_variant, variant_count; /* kernels: into variants; the first whose `when` is nonzero runs. Others:
                                            one host_step */
  uint32_t first_buffer, buffer_count;   /* into buffer_refs; Stage buffers are LPD_BASE_NONE */
  uint32_t flops, bytes;                 /* slots or LPD_NO_SLOT */
  uint32_t host_step, unused;            /* HOST_KERNEL, which has variants: its host_step */
} lpd_step;

typedef struct {
  uint32_t amount;                       /* slot or LPD_NO_SLOT; ELEMENTS: the slot to read, else buffer 0 */
  uint32_t target;                       /* a step of the entry; HOST_CALL: into functions */
  uint32_t keep, dtype;                  /* RESERVE; ELEMENTS */
  uint32_t first_element, element_count; /* into integer_slots. ELEMENTS: the slots to fill, or LPD_NO_SLOT;
                                            LOOP_BEGIN, LOOP_NEXT: the counter's; HOST_CALL: its integers */
  uint32_t first_formula, formula_count; /* into integer_slots: what is evaluated then, in order */
  uint32_t first_check, check_count;     /* into checks: what must hold then */
  uint32_t first_bytes; /* into integer_slots; of host steps where kernels run on a device: bytes of each buffer */
  uint32_t written;     /* HOST_KERNEL: a bit for each buffer */
  uint32_t reduces;     /* HOST_CALL: starts or finishes a sum over ranks, of which only one buffer is told */
} lpd_host_step;

typedef struct {
  const char *name;
  uint32_t first_step, step_count;
  uint32_t arena_bytes;            /* slot */
  uint32_t first_slot, slot_count; /* into integer_slots: the model's inputs and outputs that this one has, by their
                                      numbers as slots of an instance */
  uint32_t unused;
} lpd_entry;

/* A tensor that lives as long as an instance, in one block with the others. */
typedef struct {
  const char *name;
  const int64_t *dims; /* rank of them */
  int64_t offset, bytes;
  int64_t initial; /* where its first value lies in the weights; -1: it is zeros */
  uint32_t dtype, rank;
  uint32_t kind; /* an lpd_state_kind */
  uint32_t unused;
} lpd_state;

typedef struct {
  uint32_t dtype, rank;
  uint32_t later; /* an output whose extents a LPD_STEP_PROVIDE knows first */
  uint32_t unused;
  const char *name;
  const uint32_t *dims;       /* slots */
  const int64_t *static_dims; /* -1 where symbolic: what lpd_describe shows */
  const char *const *dim_names;
} lpd_signature;

typedef struct {
  const char *message;
  uint32_t slot; /* must be nonzero */
  uint32_t unused;
} lpd_check;

/* --- code for a device: kernels that the host does not call but has its driver load and start --------------------- */

/* Of a kernel whose tasks are a thread's each; a launch may have smaller blocks. */
enum { LPD_BLOCK_THREADS = 128 };

/* `factor`, times an integer of the kernel unless that is LPD_NO_SLOT. */
typedef struct {
  int64_t factor;
  uint32_t integer, unused;
} lpd_number;

/* A tensor of which the device's copy engine brings boxes, as cuTensorMapEncodeTiled takes it; innermost dimension
 * first, the lines of a box permuted in 128 bytes, 0 where there is nothing. */
enum { LPD_MOST_MAP_RANK = 4, LPD_MOST_MAPS = 4 };
typedef struct {
  uint32_t buffer, type, rank; /* of the step; CUtensorMapDataType */
  uint32_t box[LPD_MOST_MAP_RANK];
  uint32_t unused;
  lpd_number offset;                         /* bytes behind the buffer's begin */
  lpd_number extents[LPD_MOST_MAP_RANK];     /* elements; less than 1 is 1 */
  lpd_number strides[LPD_MOST_MAP_RANK - 1]; /* bytes, from the second dimension on */
} lpd_tensor_map;

/* Parameters, 8 bytes each: the step's buffers in order (Stage ones: their offset), i64 task_begin, i64 task_end, the
 * stage, i64 bytes of it that are each thread's, then the integers; then, of 128 bytes, the maps. */
typedef struct {
  const char *name;              /* NULL: one of the host's */
  int64_t shared_bytes;          /* dynamic shared memory of a block */
  uint32_t threads;              /* of the block that does a task; 0: a task is one thread's */
  uint32_t persistent;           /* blocks go from task to task: one for each multiprocessor is enough */
  uint32_t first_map, map_count; /* into maps */
  uint32_t module, unused;       /* which of each image's has it */
} lpd_device_kernel;

/* All kernels, compiled for one kind of device: modules, one after the other in a frame of Zstandard. Each is a cubin,
 * or PTX as text that ends in a zero byte, and holds some of the kernels. */
enum { LPD_MODULE_ALIGNMENT = 64 };
typedef struct {
  const char *arch;    /* "sm_90a", "compute_80" */
  const void *content; /* the frame, of so many bytes; unpacked, of plain_bytes */
  int64_t bytes, plain_bytes;
  const int64_t *modules; /* where each begins when they are unpacked */
  uint32_t module_count;
  uint32_t capability; /* of devices: 10 * major + minor */
  uint16_t is_ptx;
  uint16_t exact;   /* runs on devices of that capability alone */
  uint32_t made_by; /* version of CUDA, as drivers tell theirs: 1000 * major + 10 * minor */
} lpd_device_image;

typedef struct {
  const lpd_device_kernel *kernels; /* in the place of the model's, which are NULL */
  const lpd_device_image *images;
  const lpd_tensor_map *maps;
  uint32_t kernel_count, image_count;
} lpd_device_code;

/* Weights that are made up when a product is opened (--weights=seeded): from `start` on in the model's weights these
 * bytes, or, where there are none, words of 8 bytes that are random & mask | bits. */
typedef struct {
  int64_t start, bytes;
  uint64_t mask, bits;
  const void *exact;
} lpd_seeded_weight;

struct lpd_model;
typedef struct {
  int64_t count;
  uint64_t seed;
  const lpd_seeded_weight *list;
  void (*fill)(const struct lpd_model *); /* seeded.c */
} lpd_seeded_weights;

struct lpd_driver; /* the part of the runtime that uses it; internal.h */

struct lpd_model {
  uint32_t abi_version, input_count, output_count, dim_count, entry_count, symbol_count, check_count, flag_count;
  uint32_t register_count, state_count, reduction_count, unused;
  const char *name;
  const char *const *cpu_features; /* "avx512f", …, NULL-terminated: what the kernels need */
  const lpd_signature *inputs, *outputs;
  const lpd_dim *dims;
  const int64_t *constants;
  const lpd_entry *entries;
  const lpd_step *steps;
  const lpd_variant *variants;
  const lpd_host_step *host_steps;
  const lpd_buffer_ref *buffer_refs;
  const uint32_t *integer_slots;
  const lpd_kernel *kernels;
  const lpd_host_function *functions;
  const char *const *kernel_names; /* of the same kernels: for reports */
  /* A symbol is read off an input's extent, the LPD_DIM_EXTENT in its slot; every other extent of the signature is
   * checked against its formula. */
  const char *const *symbol_names;
  const uint32_t *symbol_slots;
  const lpd_check *checks; /* check_count that are asked when shapes are bound, then those of host steps */
  /* Kernels set flags; one that is set after a run says what is wrong with the inputs' values. */
  const char *const *flag_messages;
  const void *weights; /* 64-byte aligned */
  int64_t weights_bytes,
      read_weights_bytes;             /* the latter from the start: behind it are values that only states begin as */
  const lpd_device_code *device_code; /* both NULL in products for a CPU, which hold nothing of the driver's part */
  const struct lpd_driver *driver;
  const lpd_seeded_weights *seeded; /* NULL: the product holds its weights */
  const lpd_state *states;
  int64_t state_bytes; /* of all */
  /* reductions.c: waits for all sums over the ranks that were started; NULL where reduction_count is 0 */
  void (*settle_reductions)(lpd_instance *);
  const char *f32_products; /* of a GPU's kernels: "ieee", "tf32", "3xtf32" or "bf16"; for who reads the product */
};

#endif
