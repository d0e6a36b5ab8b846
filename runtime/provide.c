/* Memory and threads, provided when first needed. What grows never shrinks; max_bytes bounds arena, stages and
 * registers together, and each output that the instance holds. */
#include <string.h>

#include "internal.h"

static int64_t held_bytes(const lpd_instance *instance) {
  const lpd_strings *strings = &instance->strings;
  int64_t total = instance->arena.bytes + instance->stages.bytes;
  total += strings->views.bytes + strings->table.bytes + strings->text_bytes;
  for (uint32_t i = 0; i < instance->model->register_count; ++i) total += instance->registers[i].bytes;
  return total;
}

/* What is held beside a block that grows: a block whose contents are kept is there until they are copied. */
static int64_t held_beside(const lpd_instance *instance, const lpd_block *block, int keep) {
  return held_bytes(instance) - (keep ? 0 : block->bytes);
}

static int allowed(const lpd_instance *instance, int64_t held, int64_t bytes) {
  return instance->max_bytes == 0 || (bytes <= instance->max_bytes && held <= instance->max_bytes - bytes);
}

static lpd_status check_limit(lpd_instance *instance, int64_t more, int64_t held, const char *what) {
  if (allowed(instance, held, more)) return LPD_OK;
  return lpd_fail(instance, LPD_LIMIT, "%s need %lld bytes, max_bytes allows %lld", what, (long long)held + more,
                  (long long)instance->max_bytes);
}

lpd_status lpd_check_limit(lpd_instance *instance, int64_t more, const char *what) {
  return check_limit(instance, more, held_bytes(instance), what);
}

lpd_status lpd_grow(lpd_instance *instance, lpd_block *block, int64_t bytes, int keep, const char *what) {
  if (bytes <= block->bytes) return LPD_OK;
  const lpd_status status = check_limit(instance, bytes, held_beside(instance, block, keep), "arena and workspaces");
  if (status) return status;
  if (!keep) {
    lpd_give(&instance->alloc, block->data, block->bytes);
    *block = (lpd_block){NULL, 0};
  }
  void *data = lpd_take(&instance->alloc, bytes);
  if (!data) return lpd_fail(instance, LPD_OUT_OF_MEMORY, "no memory for %s of %lld bytes", what, (long long)bytes);
  if (keep && block->bytes > 0) memcpy(data, block->data, (size_t)block->bytes);
  lpd_give(&instance->alloc, block->data, block->bytes);
  *block = (lpd_block){data, bytes};
  return LPD_OK;
}

lpd_status lpd_provide_arena(lpd_instance *instance, int64_t bytes) {
  if (bytes < 0) return lpd_fail(instance, LPD_LIMIT, "the arena's size overflows for these input shapes");
  const void *before = instance->arena.data;
  const lpd_status status = lpd_grow(instance, &instance->arena, bytes, 0, "an arena");
  if (instance->arena.data == before) return status;
  ++instance->dims_version; /* all frames point into the one before */
  for (uint32_t e = 0; e < instance->model->entry_count; ++e) instance->plans[e].ready = 0;
  return status;
}

lpd_status lpd_provide_stages(lpd_instance *instance, int64_t bytes_each, uint32_t threads) {
  int64_t total;
  if (bytes_each < 0 || __builtin_mul_overflow(bytes_each, (int64_t)threads, &total))
    return lpd_fail(instance, LPD_LIMIT, "the workspaces' size overflows for these input shapes");
  return lpd_grow(instance, &instance->stages, total, 0, "workspaces");
}

/* Room to spare where contents are kept: what grows by a row at a time is copied a logarithm of times. */
lpd_status lpd_reserve(lpd_instance *instance, uint32_t reg, int64_t bytes, int keep) {
  enum { kLeast = 4096 };
  lpd_block *block = &instance->registers[reg];
  if (bytes <= block->bytes && block->data) return LPD_OK;
  int64_t wanted = bytes < kLeast ? kLeast : bytes, roomy;
  const int has_room = keep && !__builtin_add_overflow(wanted, block->bytes / 2, &roomy);
  if (has_room && allowed(instance, held_beside(instance, block, keep), roomy)) wanted = roomy;
  const lpd_status status = lpd_grow(instance, block, wanted, keep, "a tensor");
  ++instance->pointers_version;
  return status;
}

lpd_status lpd_provide_threads(lpd_instance *instance, uint32_t threads) {
  if (threads == 1) return LPD_OK;
  lpd_status status = LPD_OK;
  if (instance->executor.run) {
    if (!instance->barrier) instance->barrier = lpd_barrier_create(&instance->alloc, instance->threads);
    if (!instance->barrier) status = LPD_OUT_OF_MEMORY;
  } else if (!instance->team) {
    status = lpd_team_create(&instance->alloc, instance->threads, &instance->team);
  }
  if (status == LPD_OUT_OF_MEMORY) lpd_fail(instance, status, "no memory for %u threads", instance->threads);
  if (status == LPD_SYSTEM) lpd_fail(instance, status, "could not start %u threads", instance->threads);
  return status;
}

/* --- the caller's tensors ------------------------------------------------------------------------------------ */

static int64_t needed_bytes(const lpd_instance *instance, uint32_t slot) {
  const lpd_signature *signature = lpd_signature_of(instance->model, (int)slot);
  return lpd_tensor_bytes(signature->dtype, signature->rank, instance->slots[slot].dims);
}

static int overlap(const void *a, int64_t a_bytes, const void *b, int64_t b_bytes) {
  return a_bytes > 0 && b_bytes > 0 && (uintptr_t)a < (uintptr_t)b + (uint64_t)b_bytes &&
         (uintptr_t)b < (uintptr_t)a + (uint64_t)a_bytes;
}

/* Is some of this memory bound, as an input or as another output? */
static int is_bound(const lpd_instance *instance, const void *memory, int64_t bytes) {
  for (uint32_t i = 0; i < instance->model->input_count + instance->model->output_count; ++i)
    if (instance->slots[i].bound && overlap(memory, bytes, instance->slots[i].data, instance->slots[i].bytes)) return 1;
  return 0;
}

static lpd_status provide_owned(lpd_instance *instance, uint32_t slot, int64_t bytes) {
  lpd_slot *output = &instance->slots[slot];
  char text[LPD_SLOT_TEXT];
  lpd_slot_text(instance->model, (int)slot, text);
  int k = 0;
  while (k < 2 && is_bound(instance, output->owned[k], output->owned_bytes[k])) ++k;
  if (k == 2) return lpd_fail(instance, LPD_WRONG_INPUT, "%s: both of its last values are bound", text);
  if (bytes > output->owned_bytes[k] || !output->owned[k]) {
    if (instance->max_bytes > 0 && bytes > instance->max_bytes)
      return lpd_fail(instance, LPD_LIMIT, "%s: needs %lld bytes, max_bytes allows %lld", text, (long long)bytes,
                      (long long)instance->max_bytes);
    lpd_give(&instance->alloc, output->owned[k], output->owned_bytes[k]);
    output->owned_bytes[k] = 0;
    output->owned[k] = lpd_take(&instance->alloc, bytes > 0 ? bytes : 1);
    if (!output->owned[k])
      return lpd_fail(instance, LPD_OUT_OF_MEMORY, "%s: no memory for %lld bytes", text, (long long)bytes);
    output->owned_bytes[k] = bytes > 0 ? bytes : 1;
  }
  output->data = output->owned[k];
  return LPD_OK;
}

static lpd_status check_bound_output(lpd_instance *instance, uint32_t slot, int64_t bytes) {
  const lpd_slot *output = &instance->slots[slot];
  const uint32_t rank = lpd_signature_of(instance->model, (int)slot)->rank;
  char text[LPD_SLOT_TEXT];
  lpd_slot_text(instance->model, (int)slot, text);
  for (uint32_t i = 0; output->has_wanted && i < rank; ++i)
    if (output->wanted[i] != output->dims[i])
      return lpd_fail(instance, LPD_WRONG_INPUT, "%s: bound with extent %u of %lld, computed is %lld", text, i,
                      (long long)output->wanted[i], (long long)output->dims[i]);
  if (output->bytes < bytes)
    return lpd_fail(instance, LPD_WRONG_INPUT, "%s: %lld bytes of memory, its extents need %lld", text,
                    (long long)output->bytes, (long long)bytes);
  return LPD_OK;
}

/* Kernels may assume that what they write overlaps nothing else they see. Outputs of known extents come first, in
 * order, those that the run sizes later; of such a one all of its memory counts. */
static lpd_status check_overlap(lpd_instance *instance, uint32_t output, int64_t bytes) {
  const lpd_model *model = instance->model;
  const uint32_t all = model->input_count + model->output_count;
  const uint32_t slots = lpd_signature_of(model, (int)output)->later ? all : output;
  for (uint32_t other = 0; other < slots; ++other) {
    const lpd_slot *slot = &instance->slots[other];
    if (other == output || !slot->bound) continue;
    const int later = other >= model->input_count && lpd_signature_of(model, (int)other)->later;
    if (!overlap(instance->slots[output].data, bytes, slot->data, later ? slot->bytes : needed_bytes(instance, other)))
      continue;
    char text[LPD_SLOT_TEXT], other_text[LPD_SLOT_TEXT];
    return lpd_fail(instance, LPD_WRONG_INPUT, "%s overlaps %s in memory",
                    lpd_slot_text(instance->model, (int)output, text),
                    lpd_slot_text(instance->model, (int)other, other_text));
  }
  return LPD_OK;
}

/* One of the outputs, whose extents are known. */
static lpd_status provide(lpd_instance *instance, uint32_t slot) {
  const int64_t bytes = needed_bytes(instance, slot);
  if (!instance->slots[slot].bound) return provide_owned(instance, slot, bytes);
  const lpd_status status = check_bound_output(instance, slot, bytes);
  return status ? status : check_overlap(instance, slot, bytes);
}

lpd_status lpd_provide_outputs(lpd_instance *instance) {
  const uint32_t first = instance->model->input_count;
  for (uint32_t i = 0; i < instance->model->output_count; ++i) {
    if (instance->model->outputs[i].later) continue;
    const lpd_status status = provide(instance, first + i);
    if (status) return status;
  }
  return LPD_OK;
}

lpd_status lpd_provide_output(lpd_instance *instance, uint32_t slot) {
  const lpd_signature *signature = lpd_signature_of(instance->model, (int)slot);
  int64_t *dims = instance->slots[slot].dims;
  char text[LPD_SLOT_TEXT];
  for (uint32_t axis = 0; axis < signature->rank; ++axis) dims[axis] = instance->dims[signature->dims[axis]];
  if (lpd_tensor_bytes(signature->dtype, signature->rank, dims) < 0)
    return lpd_fail(instance, LPD_LIMIT, "%s: its size overflows or an extent is negative",
                    lpd_slot_text(instance->model, (int)slot, text));
  const void *before = instance->slots[slot].data;
  const lpd_status status = provide(instance, slot);
  if (instance->slots[slot].data != before) ++instance->pointers_version;
  return status;
}
