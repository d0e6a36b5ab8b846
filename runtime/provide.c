/* Memory and threads, provided when first needed. What grows never shrinks; max_bytes bounds arena, stages and
 * registers together, and each output that the instance holds. What kernels see is taken from their device, where one
 * runs them. */
#include <string.h>

#include "internal.h"

static int64_t held_bytes(const lpd_instance *instance) {
  const lpd_strings *strings = &instance->strings;
  int64_t total = instance->arena.bytes + instance->stages.bytes;
  total += strings->views.bytes + strings->table.bytes + strings->text_bytes;
  for (uint32_t i = 0; i < instance->model->register_count; ++i) total += instance->registers[i].bytes;
  for (uint32_t i = 0; i < instance->model->reduction_count; ++i) total += instance->flights[i].bytes;
  for (int i = 0; i <= LPD_MOST_VIEWS; ++i) total += instance->views[i].bytes;
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

static int is_on_device(const lpd_instance *instance, enum lpd_where where) {
  return instance->driver && where == LPD_SEEN;
}

void lpd_release(lpd_instance *instance, lpd_block *block, enum lpd_where where) {
  if (!is_on_device(instance, where))
    lpd_give(&instance->alloc, block->data, block->bytes);
  else if (block->data)
    instance->driver->give(instance, block->data);
  *block = (lpd_block){NULL, 0};
}

static lpd_status take(lpd_instance *instance, lpd_block *block, enum lpd_where where, int64_t bytes,
                       const char *what) {
  *block = (lpd_block){NULL, bytes};
  if (is_on_device(instance, where)) return instance->driver->take(instance, bytes, what, &block->data);
  block->data = lpd_take(&instance->alloc, bytes);
  return block->data ? LPD_OK
                     : lpd_fail(instance, LPD_OUT_OF_MEMORY, "no memory for %s of %lld bytes", what, (long long)bytes);
}

static lpd_status copy_block(lpd_instance *instance, void *to, const lpd_block *from, enum lpd_where where) {
  if (from->bytes == 0) return LPD_OK;
  if (is_on_device(instance, where))
    return instance->driver->copy(instance, to, from->data, from->bytes, LPD_WITHIN_DEVICE);
  memcpy(to, from->data, (size_t)from->bytes);
  return LPD_OK;
}

lpd_status lpd_grow(lpd_instance *instance, lpd_block *block, enum lpd_where where, int64_t bytes, int keep,
                    const char *what) {
  if (bytes <= block->bytes) return LPD_OK;
  lpd_status status = check_limit(instance, bytes, held_beside(instance, block, keep), "arena and workspaces");
  if (status) return status;
  if (!keep) lpd_release(instance, block, where);
  lpd_block larger;
  if ((status = take(instance, &larger, where, bytes, what))) return status;
  status = copy_block(instance, larger.data, block, where);
  lpd_release(instance, block, where);
  *block = larger;
  return status;
}

lpd_status lpd_provide_arena(lpd_instance *instance, int64_t bytes) {
  if (bytes < 0) return lpd_fail(instance, LPD_LIMIT, "the arena's size overflows for these input shapes");
  const void *before = instance->arena.data;
  const lpd_status status = lpd_grow(instance, &instance->arena, LPD_SEEN, bytes, 0, "an arena");
  if (instance->arena.data == before) return status;
  ++instance->dims_version; /* all frames point into the one before */
  for (uint32_t e = 0; e < instance->model->entry_count; ++e) instance->plans[e].ready = 0;
  return status;
}

lpd_status lpd_provide_stages(lpd_instance *instance, int64_t bytes_each, uint32_t threads) {
  int64_t total;
  if (bytes_each < 0 || __builtin_mul_overflow(bytes_each, (int64_t)threads, &total))
    return lpd_fail(instance, LPD_LIMIT, "the workspaces' size overflows for these input shapes");
  return lpd_grow(instance, &instance->stages, LPD_SEEN, total, 0, "workspaces");
}

/* Room to spare where contents are kept: what grows by a row at a time is copied a logarithm of times. */
lpd_status lpd_reserve(lpd_instance *instance, uint32_t reg, int64_t bytes, int keep) {
  enum { kLeast = 4096 };
  lpd_block *block = &instance->registers[reg];
  if (bytes <= block->bytes && block->data) return LPD_OK;
  int64_t wanted = bytes < kLeast ? kLeast : bytes, roomy;
  const int has_room = keep && !__builtin_add_overflow(wanted, block->bytes / 2, &roomy);
  if (has_room && allowed(instance, held_beside(instance, block, keep), roomy)) wanted = roomy;
  const lpd_status status = lpd_grow(instance, block, LPD_SEEN, wanted, keep, "a tensor");
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
  while (k < 2 && is_bound(instance, output->owned[k].data, output->owned[k].bytes)) ++k;
  if (k == 2) return lpd_fail(instance, LPD_WRONG_INPUT, "%s: both of its last values are bound", text);
  lpd_block *owned = &output->owned[k];
  const enum lpd_where where = output->device ? LPD_SEEN : LPD_ON_HOST;
  if (bytes > owned->bytes || !owned->data || output->owned_where[k] != where) {
    if (instance->max_bytes > 0 && bytes > instance->max_bytes)
      return lpd_fail(instance, LPD_LIMIT, "%s: needs %lld bytes, max_bytes allows %lld", text, (long long)bytes,
                      (long long)instance->max_bytes);
    lpd_release(instance, owned, output->owned_where[k]);
    output->owned_where[k] = where;
    lpd_block larger;
    const lpd_status status = take(instance, &larger, where, bytes > 0 ? bytes : 1, text);
    if (status) return status;
    *owned = larger;
  }
  output->data = owned->data;
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

static lpd_status show(lpd_instance *instance, uint32_t slot) {
  if (instance->driver) return instance->driver->mirror(instance, slot, needed_bytes(instance, slot));
  instance->slots[slot].seen = instance->slots[slot].data;
  return LPD_OK;
}

/* One of the outputs, whose extents are known. */
static lpd_status provide(lpd_instance *instance, uint32_t slot) {
  const int64_t bytes = needed_bytes(instance, slot);
  const int bound = instance->slots[slot].bound;
  lpd_status status = bound ? check_bound_output(instance, slot, bytes) : provide_owned(instance, slot, bytes);
  if (!status && bound) status = check_overlap(instance, slot, bytes);
  return status ? status : show(instance, slot);
}

lpd_status lpd_provide_tensors(lpd_instance *instance, uint32_t entry) {
  const lpd_model *model = instance->model;
  const lpd_entry *table = &model->entries[entry];
  for (uint32_t i = 0; i < table->slot_count; ++i) {
    const uint32_t slot = model->integer_slots[table->first_slot + i], inputs = model->input_count;
    if (lpd_signature_of(instance->model, (int)slot)->later) continue;
    const lpd_status status = slot < inputs ? show(instance, slot) : provide(instance, slot);
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
  const void *before = instance->slots[slot].seen;
  const lpd_status status = provide(instance, slot);
  if (instance->slots[slot].seen != before) ++instance->pointers_version;
  return status;
}
