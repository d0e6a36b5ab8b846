/* What the runtime's files share. The life of an instance:
 *
 *   lpd_create   one block of memory, sized from the model's tables: slots, jobs, frames        instance.c
 *   lpd_bind     remembers a tensor; notes whether its extents or only its pointer changed      tensor.c
 *   lpd_run      when extents changed: dims, checks, arena (prepare.c); then the steps in order.   steps.c
 *                A run of kernel steps is a region: its jobs are made when dims changed, their      regions.c
 *                pointers patched when only those did, and all threads walk the same jobs           run.c
 *
 * A run with nothing changed does none of this again: the walk itself is what it costs. */
#ifndef LAPIDARY_RUNTIME_INTERNAL_H
#define LAPIDARY_RUNTIME_INTERNAL_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "abi.h"
#include "team.h"

/* A step made ready for the bound shapes. The tasks of a round are dealt out in order: each of the first `threads`
 * threads gets tasks_each, and of these the first tasks_left one more. So two steps of equal tasks and grain are split
 * alike. One thread alone takes all rounds in one call. */
typedef struct {
  lpd_kernel kernel; /* NULL: a device's */
  lpd_frame frame;
  int64_t tasks_each, rounds;
  uint32_t tasks_left, threads; /* threads: 0 when there is nothing to do */
  uint32_t barrier;             /* all threads meet before it */
} lpd_job;

typedef struct {
  void *data;
  int64_t bytes;
} lpd_block;

/* Memory of the host's, or memory that kernels see: of a device, where one runs them, else the host's too. */
enum lpd_where { LPD_ON_HOST, LPD_SEEN };

/* A slot as bound by the caller, or an output the instance owns. */
typedef struct {
  void *data;             /* what the caller sees */
  void *seen;             /* what kernels see: the same, or its copy on a device */
  int64_t bytes;          /* of the caller's memory */
  int64_t *dims;          /* rank of them; of outputs, those of the last prepared shapes */
  int64_t *wanted;        /* outputs: extents the caller gave with the binding */
  lpd_block owned[2];     /* outputs: memory of the instance; the second only while the first is an input */
  uint8_t owned_where[2]; /* an lpd_where */
  uint8_t bound, has_wanted;
  uint8_t device;   /* lpd_tensor's */
  lpd_block mirror; /* on a device: the copy of what is in host memory */
} lpd_slot;

/* Where a caller's tensor or a register sits among the frames' pointers: what a changed pointer patches. */
typedef struct {
  uint32_t pointer, ref;
} lpd_patch;

/* Kernel steps one behind the other, which all threads walk without coming back. */
typedef struct {
  uint32_t first_step, step_count, first_patch, patch_count;
  uint32_t threads;                        /* the most any job uses */
  int64_t stage_bytes;                     /* of each thread */
  uint64_t dims_version, pointers_version; /* of the instance: what its jobs fit; 0: none */
} lpd_region;

typedef struct {     /* of an entry point */
  lpd_job *jobs;     /* one for each step; those of host steps are not used */
  void **pointers;   /* of all frames */
  int64_t *integers; /* of all frames */
  lpd_patch *patches;
  lpd_region *regions;
  uint32_t *region_of; /* of each step that begins one */
  uint32_t patch_count, region_count;
  uint8_t ready;             /* the arena fits the bound extents */
  uint8_t kernels_alone;     /* no step is the host's */
  uint64_t bindings_version; /* of the instance: what its tensors were provided for; 0: none */
  int64_t *nanoseconds;      /* profile, one for each step */
  int64_t profiled_runs;
} lpd_plan;

enum { LPD_STRING_TYPE = 8 }; /* an lpd_tensor's dtype */

/* The strings of a run that are none of the model's constants, by number; texts that the run makes, in pieces. */
typedef struct lpd_text_piece {
  struct lpd_text_piece *before;
  int64_t bytes, used; /* of it, this head counted */
} lpd_text_piece;
typedef struct {
  lpd_block views, table; /* lpd_string each; u32 number + 1 of each slot, or 0 */
  int64_t count, slots;
  lpd_text_piece *texts;
  int64_t text_bytes; /* of all pieces */
} lpd_strings;

typedef struct lpd_driver lpd_driver;
enum { LPD_ERROR_BYTES = 512, LPD_ALIGNMENT = 64 };

struct lpd_instance {
  const lpd_model *model;
  lpd_alloc alloc;
  int64_t block_bytes;   /* of the allocation that holds this struct and all tables */
  lpd_executor executor; /* run is NULL: the instance's own team */
  lpd_barrier *barrier;  /* of the executor's threads; NULL until needed */
  lpd_team *team;        /* likewise */
  uint32_t threads;
  int64_t max_bytes;
  const lpd_driver *driver; /* the model's; NULL: the host runs the kernels */
  void *device;             /* the driver's part of the instance */
  lpd_status broken;        /* why lpd_create failed; the instance only tells of it */

  lpd_slot *slots;     /* inputs, then outputs */
  int64_t *dims;       /* values of model->dims */
  lpd_plan *plans;     /* one for each entry */
  int32_t *flags;      /* of the model's flag_messages; 0 before a run */
  int32_t *seen_flags; /* what kernels see: the same and the model's, or their copies on a device */
  const void *seen_weights;

  lpd_block states;                    /* no data until they are needed */
  lpd_block arena, stages;             /* stages: one for each thread */
  lpd_block *registers;                /* of the model's register_count */
  lpd_block views[LPD_MOST_VIEWS + 1]; /* what a host step reads of a device's memory and writes there; its stage */
  lpd_strings strings;
  lpd_reducer reducer; /* start is NULL: one rank of one */
  lpd_block *flights;  /* of the model's reduction_count: on a device, the host's copies of what is being summed */
  int64_t max_loop;
  uint64_t dims_version, pointers_version, bindings_version; /* count changes; from 1 */
  uint8_t dims_known;                                        /* they fit the bound extents */
  uint8_t has_run, profiling;
  uint8_t stream_is_callers; /* set by the driver: what follows a run is ordered behind it without anybody waiting */
  uint8_t pending;           /* there are runs that nobody has waited for; their flags are kept until somebody does */
  char error[LPD_ERROR_BYTES];
};

/* A device that runs the kernels in the host's place: what only products for it hold of the runtime. */
enum lpd_way { LPD_TO_DEVICE, LPD_FROM_DEVICE, LPD_WITHIN_DEVICE };
struct lpd_driver {
  /* Does the device that the options ask for run the model's kernels? Yes where that cannot be known: open tells why.
   */
  int (*suits)(const lpd_model *, const lpd_options *);
  /* open is lpd_create's last act, close lpd_destroy's, after an open that failed too. An error of open's tells of all
   * levels what they hold. */
  lpd_status (*open)(lpd_instance *, const lpd_model *const *levels, const lpd_options *);
  void (*close)(lpd_instance *);
  /* Before and after all that follows, in the thread that calls. Where lpd_destroy cannot enter, it gives back what is
   * the host's alone: `give` and `close` leave what the device holds, which is gone or out of reach. */
  lpd_status (*enter)(lpd_instance *);
  void (*leave)(lpd_instance *);
  void (*wait)(lpd_instance *); /* the device is done with the instance, whatever came of it */
  lpd_status (*take)(lpd_instance *, int64_t bytes, const char *what, void **memory);
  void (*give)(lpd_instance *, void *memory);
  /* In order with the kernels. What is copied to the host is there when the device has settled; what is copied from it
   * must stay as it is until then. */
  lpd_status (*copy)(lpd_instance *, void *to, const void *from, int64_t bytes, enum lpd_way);
  lpd_status (*clear)(lpd_instance *, void *to, int64_t bytes);
  lpd_status (*put_integer)(lpd_instance *, void *to, int64_t value);
  /* All is done, flags are the host's, and, but for entry -1, so are its outputs in host memory. */
  lpd_status (*settle)(lpd_instance *, int entry);
  lpd_status (*check_memory)(lpd_instance *, int slot, const lpd_tensor *); /* is it the device's? */
  lpd_status (*mirror)(lpd_instance *, uint32_t slot, int64_t bytes);       /* sets `seen` */
  lpd_status (*begin)(lpd_instance *,
                      uint32_t entry); /* a run: inputs are there, flags are 0 or those of pending runs */
  lpd_status (*prepare_region)(lpd_instance *, uint32_t entry, lpd_region *); /* its frames are filled */
  lpd_status (*run_region)(lpd_instance *, uint32_t entry, lpd_region *, const volatile int *cancel);
  void (*tell_needs)(const lpd_instance *, uint32_t kernel, lpd_step_profile *);
};

/* --- instance.c ---------------------------------------------------------------------------------------------- */
/* Of the first of these levels, one model's, that this machine runs; of the last when it lacks something of each.
 * Behind the last is NULL. */
lpd_status lpd_create_level(const lpd_model *const *levels, const lpd_options *, lpd_instance **);

/* --- dims.c -------------------------------------------------------------------------------------------------- */
/* Fills every slot but the LPD_DIM_EXTENT ones, which hold their values already; LPD_DIM_LATER ones are 0. LPD_LIMIT on
 * overflow. */
lpd_status lpd_evaluate_dims(const lpd_dim *, uint32_t count, const int64_t *constants, int64_t *slots);
static inline int64_t lpd_slot_or(const int64_t *slots, uint32_t slot, int64_t otherwise) {
  return slot == LPD_NO_SLOT ? otherwise : slots[slot];
}
/* The slots listed; *changed becomes 1 when one did. */
lpd_status lpd_evaluate_later(const lpd_dim *, const uint32_t *which, uint32_t count, const int64_t *constants,
                              int64_t *slots, int *changed);

/* --- tensor.c ------------------------------------------------------------------------------------------------ */
const lpd_signature *lpd_signature_of(const lpd_model *, int slot);
/* By ONNX's TensorProto.DataType: "float32"; of one element, 0 for what has no size of its own. */
const char *lpd_type_name(uint32_t dtype);
unsigned lpd_type_bits(uint32_t dtype);
/* Bytes of a dense tensor; -1 on overflow or an extent below 0. */
int64_t lpd_tensor_bytes(uint32_t dtype, uint32_t rank, const int64_t *dims);
enum { LPD_SLOT_TEXT = 112 };
/* "input 'x'", with the model's name for it made safe to print. */
const char *lpd_slot_text(const lpd_model *, int slot, char text[LPD_SLOT_TEXT]);

/* --- memory.c ------------------------------------------------------------------------------------------------ */
extern const lpd_alloc lpd_default_alloc;
/* NULL for bytes < 0 too; 64-byte aligned. */
void *lpd_take(const lpd_alloc *, int64_t bytes);
void lpd_give(const lpd_alloc *, void *memory, int64_t bytes);

/* --- error.c ------------------------------------------------------------------------------------------------- */
__attribute__((format(printf, 3, 4))) lpd_status lpd_fail(lpd_instance *, lpd_status, const char *format, ...);

/* --- structs.c ----------------------------------------------------------------------------------------------- */
/* Structs of callers begin with their size. Reading: 0 when the caller's is shorter than the first version of it
 * (`least`) or says something this library does not know; what an older one does not have is 0. Writing: as much as the
 * caller's struct has room for. */
int lpd_read_struct(void *into, uint32_t least, uint32_t known, const void *from);
int lpd_write_struct(void *into, const void *from, uint32_t known);

/* --- prepare.c ----------------------------------------------------------------------------------------------- */
/* The variant of a step for these dims; NULL when no condition holds: there is nothing to do. */
const lpd_variant *lpd_chosen_variant(const lpd_model *, const int64_t *dims, const lpd_step *);
/* Bytes an entry's arena and each thread's stage take, whole pages; -1 on overflow. */
int64_t lpd_entry_arena_bytes(const lpd_model *, const int64_t *dims, uint32_t entry);
int64_t lpd_entry_stage_bytes(const lpd_model *, const int64_t *dims, uint32_t entry);
int64_t lpd_whole_pages(int64_t bytes); /* rounded up; -1 on overflow */
/* Everything between binding and the first step; cheap when nothing changed. */
lpd_status lpd_prepare(lpd_instance *, uint32_t entry);

/* --- provide.c ----------------------------------------------------------------------------------------------- */
lpd_status lpd_provide_arena(lpd_instance *, int64_t bytes);
lpd_status lpd_provide_stages(lpd_instance *, int64_t bytes_each, uint32_t threads);
lpd_status lpd_provide_threads(lpd_instance *, uint32_t threads);
lpd_status lpd_reserve(lpd_instance *, uint32_t reg, int64_t bytes, int keep);
/* Memory for outputs of an entry, the caller's or the instance's: of all whose extents are known when shapes are bound;
 * of one. After the first, kernels see the inputs too. */
lpd_status lpd_provide_tensors(lpd_instance *, uint32_t entry);
lpd_status lpd_provide_output(lpd_instance *, uint32_t slot);

/* A block of at least so many bytes, within max_bytes. What it held is kept, or lost when it must grow. */
lpd_status lpd_grow(lpd_instance *, lpd_block *, enum lpd_where, int64_t bytes, int keep, const char *what);
void lpd_release(lpd_instance *, lpd_block *, enum lpd_where);
lpd_status lpd_check_limit(lpd_instance *, int64_t more, const char *what); /* may so much more be taken? */

/* --- strings.c ----------------------------------------------------------------------------------------------- */
lpd_status lpd_check_own_strings(lpd_instance *);
int lpd_strings_hold(const lpd_instance *, const char *text); /* is it one that a run of this instance made? */
void lpd_strings_reset(lpd_instance *);
void lpd_strings_destroy(lpd_instance *);

/* --- steps.c ------------------------------------------------------------------------------------------------- */
/* Waits for the pending runs, and tells what was wrong with one; within the device. */
lpd_status lpd_catch_up(lpd_instance *);

/* --- states.c ------------------------------------------------------------------------------------------------ */
lpd_status lpd_provide_states(lpd_instance *);

/* --- regions.c ----------------------------------------------------------------------------------------------- */
int lpd_moves(const lpd_buffer_ref *); /* may its address change while dims do not? */
void *lpd_address(const lpd_instance *, const lpd_buffer_ref *);
/* Jobs that fit the dims and pointers of now. */
lpd_status lpd_prepare_region(lpd_instance *, uint32_t entry, lpd_region *);
/* What a step does for these dims; pointers are not filled in. */
lpd_status lpd_make_job(lpd_instance *, const lpd_step *, lpd_job *);
int64_t lpd_most_integers(const lpd_model *, const lpd_step *); /* of any variant of the step */

/* --- run.c --------------------------------------------------------------------------------------------------- */
/* Walks a prepared region. */
lpd_status lpd_run_region(lpd_instance *, uint32_t entry, lpd_region *, const volatile int *cancel);
void lpd_run_alone(const lpd_job *, void *stage); /* by this thread */

/* --- cpu.c, cores.c ------------------------------------------------------------------------------------------ */
/* The first of these features this CPU or its system lacks; NULL when it has all. */
const char *lpd_missing_feature(const char *const *features);
/* Cores this process may keep busy: distinct cores in its affinity mask, at most its cgroup's quota; at least 1. */
uint32_t lpd_usable_cores(void);
/* Logical CPUs in the affinity mask: more threads than that should not spin for each other. */
uint32_t lpd_usable_cpus(void);

/* --- tables in one block: handed out in pieces of whole 16 bytes; with block NULL they are only added up ---------- */
typedef struct {
  char *block;
  int64_t used;
} lpd_carver;

static inline void *lpd_carve(lpd_carver *carver, int64_t count, int64_t size) {
  void *piece = carver->block ? carver->block + carver->used : NULL;
  carver->used += (count * size + 15) & ~(int64_t)15;
  return piece;
}

#endif
