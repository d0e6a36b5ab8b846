/* From bound tensors to jobs ready to walk. Three stages, each only when its cause changed:
 *   extents   → dim slots, checks, output extents
 *   dim slots → memory, jobs, integers of all frames, barriers
 *   pointers  → sizes and overlaps of what the caller gave, the frames' pointers */
#include <string.h>

#include "internal.h"

/* --- dims ---------------------------------------------------------------------------------------------------- */

static lpd_status read_symbols(lpd_instance *instance) {
  const lpd_model *model = instance->model;
  char text[LPD_SLOT_TEXT];
  for (uint32_t i = 0; i < model->input_count; ++i)
    if (!instance->slots[i].bound)
      return lpd_fail(instance, LPD_INVALID_ARGUMENT, "%s is not bound", lpd_slot_text(model, (int)i, text));
  for (uint32_t i = 0; i < model->symbol_count; ++i) {
    const lpd_dim extent = model->dims[model->symbol_slots[i]];
    instance->dims[model->symbol_slots[i]] = instance->slots[extent.a].dims[extent.b];
  }
  return LPD_OK;
}

static lpd_status check_input_extents(lpd_instance *instance) {
  const lpd_model *model = instance->model;
  char text[LPD_SLOT_TEXT];
  for (uint32_t i = 0; i < model->input_count; ++i)
    for (uint32_t axis = 0; axis < model->inputs[i].rank; ++axis) {
      const int64_t found = instance->slots[i].dims[axis], expected = instance->dims[model->inputs[i].dims[axis]];
      const char *formula = model->inputs[i].dim_names[axis];
      if (found == expected) continue;
      lpd_slot_text(model, (int)i, text);
      return formula ? lpd_fail(instance, LPD_WRONG_INPUT, "%s: extent %u is %lld, expected %lld (%.80s)", text, axis,
                                (long long)found, (long long)expected, formula)
                     : lpd_fail(instance, LPD_WRONG_INPUT, "%s: extent %u is %lld, expected %lld", text, axis,
                                (long long)found, (long long)expected);
    }
  return LPD_OK;
}

static lpd_status fill_output_extents(lpd_instance *instance) {
  const lpd_model *model = instance->model;
  char text[LPD_SLOT_TEXT];
  for (uint32_t i = 0; i < model->output_count; ++i) {
    const lpd_signature *signature = &model->outputs[i];
    int64_t *dims = instance->slots[model->input_count + i].dims;
    for (uint32_t axis = 0; axis < signature->rank; ++axis) dims[axis] = instance->dims[signature->dims[axis]];
    if (lpd_tensor_bytes(signature->dtype, signature->rank, dims) < 0)
      return lpd_fail(instance, LPD_LIMIT, "%s: its size overflows or an extent is negative",
                      lpd_slot_text(model, (int)(model->input_count + i), text));
  }
  return LPD_OK;
}

static lpd_status compute_dims(lpd_instance *instance) {
  const lpd_model *model = instance->model;
  instance->has_run = 0;
  for (uint32_t e = 0; e < model->entry_count; ++e) instance->plans[e].ready = 0;
  lpd_status status = read_symbols(instance);
  if (status) return status;
  if (lpd_evaluate_dims(model->dims, model->dim_count, model->constants, instance->dims))
    return lpd_fail(instance, LPD_LIMIT, "a size overflows for these input shapes");
  if ((status = check_input_extents(instance))) return status;
  for (uint32_t i = 0; i < model->check_count; ++i)
    if (instance->dims[model->checks[i].slot] == 0)
      return lpd_fail(instance, LPD_WRONG_INPUT, "%.400s", model->checks[i].message);
  if ((status = fill_output_extents(instance))) return status;
  instance->dims_known = 1;
  return LPD_OK;
}

/* --- jobs ---------------------------------------------------------------------------------------------------- */

static int64_t slot_or(const int64_t *dims, uint32_t slot, int64_t otherwise) {
  return slot == LPD_NO_SLOT ? otherwise : dims[slot];
}

const lpd_variant *lpd_chosen_variant(const lpd_model *model, const int64_t *dims, const lpd_step *step) {
  const lpd_variant *variants = &model->variants[step->first_variant];
  for (uint32_t v = 0; v < step->variant_count; ++v)
    if (slot_or(dims, variants[v].when, 1) != 0) return &variants[v];
  return NULL;
}

enum { kPage = 4096 };

static int64_t whole_pages(int64_t bytes) {
  return bytes < 0 || __builtin_add_overflow(bytes, kPage - 1, &bytes) ? -1 : bytes & ~(int64_t)(kPage - 1);
}

int64_t lpd_entry_arena_bytes(const lpd_model *model, const int64_t *dims, uint32_t entry) {
  return whole_pages(dims[model->entries[entry].arena_bytes]);
}

int64_t lpd_entry_stage_bytes(const lpd_model *model, const int64_t *dims, uint32_t entry) {
  const lpd_entry *table = &model->entries[entry];
  int64_t most = 0;
  for (uint32_t s = 0; s < table->step_count; ++s) {
    const lpd_variant *variant = lpd_chosen_variant(model, dims, &model->steps[table->first_step + s]);
    if (!variant || dims[variant->tasks] <= 0 || slot_or(dims, variant->rounds, 1) <= 0) continue;
    const int64_t bytes = slot_or(dims, variant->stage_bytes, 0);
    if (bytes > most || bytes < 0) most = bytes;
    if (bytes < 0) break;
  }
  return whole_pages(most);
}

static void split(const lpd_instance *instance, const lpd_step *step, const lpd_variant *variant, lpd_job *job) {
  const int64_t tasks = instance->dims[variant->tasks], grain = step->grain > 0 ? step->grain : 1;
  int64_t threads = step->flags & LPD_STEP_SERIAL ? 1 : tasks / grain;
  if (threads > instance->threads) threads = instance->threads;
  if (threads < 1) threads = 1;
  job->rounds = slot_or(instance->dims, variant->rounds, 1);
  job->threads = tasks > 0 && job->rounds > 0 ? (uint32_t)threads : 0;
  job->tasks_each = tasks / threads;
  job->tasks_left = (uint32_t)(tasks % threads);
}

static lpd_status make_job(lpd_instance *instance, const lpd_step *step, lpd_job *job) {
  const lpd_model *model = instance->model;
  const lpd_variant *variant = lpd_chosen_variant(model, instance->dims, step);
  job->threads = 0;
  if (!variant) return LPD_OK;
  job->kernel = model->kernels[variant->kernel];
  split(instance, step, variant, job);
  int64_t all;
  if (__builtin_mul_overflow(instance->dims[variant->tasks], job->rounds, &all))
    return lpd_fail(instance, LPD_LIMIT, "too many tasks for these input shapes");

  int64_t *integers = (int64_t *)job->frame.integers;
  for (uint32_t i = 0; i < variant->integer_count; ++i)
    integers[i] = instance->dims[model->integer_slots[variant->first_integer + i]];
  void **pointers = (void **)job->frame.buffers;
  for (uint32_t b = 0, stage = 0; b < step->buffer_count; ++b)
    if (model->buffer_refs[step->first_buffer + b].base == LPD_BASE_NONE && stage < variant->stage_count)
      pointers[b] = (void *)(uintptr_t)instance->dims[model->integer_slots[variant->first_stage + stage++]];
  return LPD_OK;
}

/* While only thread 0 has worked since the last barrier, a step it alone takes needs none; the barrier is owed to the
 * first step that others take part in. */
static void place_barriers(const lpd_step *steps, lpd_job *jobs, uint32_t count) {
  enum { kNobody, kThread0, kAll } worked = kNobody; /* since the last barrier */
  int owed = 0;
  for (uint32_t i = 0; i < count; ++i) {
    lpd_job *job = &jobs[i];
    owed |= steps[i].flags & LPD_STEP_BARRIER_BEFORE;
    owed &= worked != kNobody;
    job->barrier = 0;
    if (job->threads == 0) continue;
    if (owed && (worked == kAll || job->threads > 1)) {
      job->barrier = 1;
      owed = 0;
      worked = kNobody;
    }
    if (job->threads > 1)
      worked = kAll;
    else if (worked == kNobody)
      worked = kThread0;
    owed |= job->threads > 1 && job->rounds > 1;
  }
}

static lpd_status make_jobs(lpd_instance *instance, uint32_t entry) {
  const lpd_entry *table = &instance->model->entries[entry];
  const lpd_step *steps = &instance->model->steps[table->first_step];
  lpd_plan *plan = &instance->plans[entry];
  plan->threads = 1;
  for (uint32_t s = 0; s < table->step_count; ++s) {
    lpd_status status = make_job(instance, &steps[s], &plan->jobs[s]);
    if (status) return status;
    if (plan->jobs[s].threads > plan->threads) plan->threads = plan->jobs[s].threads;
  }
  place_barriers(steps, plan->jobs, table->step_count);
  return LPD_OK;
}

/* --- memory and threads -------------------------------------------------------------------------------------- */

/* The arena and behind it one stage for each thread, one allocation; it grows and never shrinks. */
static lpd_status provide_arena(lpd_instance *instance, int64_t arena, int64_t stage, uint32_t threads) {
  int64_t total;
  if (arena < 0 || stage < 0 || __builtin_mul_overflow(stage, (int64_t)threads, &total) ||
      __builtin_add_overflow(total, arena, &total))
    return lpd_fail(instance, LPD_LIMIT, "the arena's size overflows for these input shapes");
  if (instance->max_bytes > 0 && total > instance->max_bytes)
    return lpd_fail(instance, LPD_LIMIT, "arena and workspaces need %lld bytes, max_bytes allows %lld",
                    (long long)total, (long long)instance->max_bytes);
  if (total > instance->arena_capacity) {
    for (uint32_t e = 0; e < instance->model->entry_count; ++e) instance->plans[e].ready = 0;
    lpd_give(&instance->alloc, instance->arena, instance->arena_capacity);
    instance->arena_capacity = 0;
    instance->arena = lpd_take(&instance->alloc, total);
    if (!instance->arena)
      return lpd_fail(instance, LPD_OUT_OF_MEMORY, "no memory for an arena of %lld bytes", (long long)total);
    instance->arena_capacity = total;
  }
  return LPD_OK;
}

static lpd_status provide_threads(lpd_instance *instance, uint32_t threads) {
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

static void fill_pointers(lpd_instance *instance, uint32_t entry) {
  const lpd_model *model = instance->model;
  const lpd_entry *table = &model->entries[entry];
  for (uint32_t s = 0; s < table->step_count; ++s) {
    const lpd_step *step = &model->steps[table->first_step + s];
    void **pointers = (void **)instance->plans[entry].jobs[s].frame.buffers;
    for (uint32_t b = 0; b < step->buffer_count; ++b) {
      const lpd_buffer_ref *ref = &model->buffer_refs[step->first_buffer + b];
      if (ref->base == LPD_BASE_ARENA) pointers[b] = instance->arena + slot_or(instance->dims, ref->offset, 0);
      if (ref->base == LPD_BASE_FLAG) pointers[b] = &instance->flags[ref->index];
      if (ref->base == LPD_BASE_WEIGHTS) pointers[b] = (char *)model->weights + slot_or(instance->dims, ref->offset, 0);
    }
  }
}

static lpd_status prepare_plan(lpd_instance *instance, uint32_t entry) {
  lpd_plan *plan = &instance->plans[entry];
  lpd_status status = make_jobs(instance, entry);
  if (status) return status;
  const int64_t arena = lpd_entry_arena_bytes(instance->model, instance->dims, entry);
  const int64_t stage = lpd_entry_stage_bytes(instance->model, instance->dims, entry);
  if ((status = provide_arena(instance, arena, stage, plan->threads))) return status;
  if ((status = provide_threads(instance, plan->threads))) return status;
  plan->stage_offset = arena;
  plan->stage_bytes = stage;
  fill_pointers(instance, entry);
  plan->ready = 1;
  instance->pointers_changed = 1;
  return LPD_OK;
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

/* Kernels may assume that what they write overlaps nothing else they see. */
static lpd_status check_overlap(lpd_instance *instance, uint32_t output, int64_t bytes) {
  for (uint32_t other = 0; other < output; ++other) {
    if (!instance->slots[other].bound ||
        !overlap(instance->slots[output].data, bytes, instance->slots[other].data, needed_bytes(instance, other)))
      continue;
    char text[LPD_SLOT_TEXT], other_text[LPD_SLOT_TEXT];
    return lpd_fail(instance, LPD_WRONG_INPUT, "%s overlaps %s in memory",
                    lpd_slot_text(instance->model, (int)output, text),
                    lpd_slot_text(instance->model, (int)other, other_text));
  }
  return LPD_OK;
}

static lpd_status provide_outputs(lpd_instance *instance) {
  const uint32_t first = instance->model->input_count;
  for (uint32_t slot = first; slot < first + instance->model->output_count; ++slot) {
    const int64_t bytes = needed_bytes(instance, slot);
    lpd_status status =
        instance->slots[slot].bound ? check_bound_output(instance, slot, bytes) : provide_owned(instance, slot, bytes);
    if (!status && instance->slots[slot].bound) status = check_overlap(instance, slot, bytes);
    if (status) return status;
  }
  return LPD_OK;
}

static void patch_pointers(lpd_instance *instance) {
  const lpd_model *model = instance->model;
  for (uint32_t e = 0; e < model->entry_count; ++e) {
    const lpd_plan *plan = &instance->plans[e];
    for (uint32_t i = 0; plan->ready && i < plan->patch_count; ++i) {
      const lpd_buffer_ref *ref = &model->buffer_refs[plan->patches[i].ref];
      const uint32_t slot = ref->base == LPD_BASE_INPUT ? ref->index : model->input_count + ref->index;
      plan->pointers[plan->patches[i].pointer] =
          (char *)instance->slots[slot].data + slot_or(instance->dims, ref->offset, 0);
    }
  }
}

lpd_status lpd_prepare(lpd_instance *instance, uint32_t entry) {
  lpd_status status;
  if (!instance->dims_known && (status = compute_dims(instance))) return status;
  if (!instance->plans[entry].ready && (status = prepare_plan(instance, entry))) return status;
  if (!instance->pointers_changed) return LPD_OK;
  instance->has_run = 0;
  if ((status = provide_outputs(instance))) return status;
  patch_pointers(instance);
  instance->pointers_changed = 0;
  return LPD_OK;
}
