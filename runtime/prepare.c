/* From bound tensors to steps ready to take. Stages, each only when its cause changed:
 *   extents   → dim slots, checks, output extents
 *   dim slots → the arena
 *   pointers  → sizes and overlaps of what the caller gave, memory of the outputs */
#include "internal.h"

/* --- dims ---------------------------------------------------------------------------------------------------- */

static int takes_inputs(const lpd_model *model, const lpd_entry *entry) {
  for (uint32_t i = 0; i < entry->slot_count; ++i)
    if (model->integer_slots[entry->first_slot + i] < model->input_count) return 1;
  return 0;
}

/* Each symbol is an extent of an input that every entry has that takes any; to one that takes none it does not matter
 * what they are. */
static lpd_status read_symbols(lpd_instance *instance, uint32_t entry) {
  const lpd_model *model = instance->model;
  char text[LPD_SLOT_TEXT];
  const lpd_entry *table = &model->entries[entry];
  for (uint32_t i = 0; i < table->slot_count; ++i) {
    const uint32_t slot = model->integer_slots[table->first_slot + i];
    if (slot < model->input_count && !instance->slots[slot].bound)
      return lpd_fail(instance, LPD_INVALID_ARGUMENT, "%s is not bound", lpd_slot_text(model, (int)slot, text));
  }
  for (uint32_t i = 0; i < model->symbol_count; ++i) {
    const lpd_dim extent = model->dims[model->symbol_slots[i]];
    instance->dims[model->symbol_slots[i]] =
        instance->slots[extent.a].bound ? instance->slots[extent.a].dims[extent.b] : 1;
  }
  return LPD_OK;
}

static lpd_status check_input_extents(lpd_instance *instance) {
  const lpd_model *model = instance->model;
  char text[LPD_SLOT_TEXT];
  for (uint32_t i = 0; i < model->input_count; ++i)
    for (uint32_t axis = 0; instance->slots[i].bound && axis < model->inputs[i].rank; ++axis) {
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
    if (signature->later) continue;
    int64_t *dims = instance->slots[model->input_count + i].dims;
    for (uint32_t axis = 0; axis < signature->rank; ++axis) dims[axis] = instance->dims[signature->dims[axis]];
    if (lpd_tensor_bytes(signature->dtype, signature->rank, dims) < 0)
      return lpd_fail(instance, LPD_LIMIT, "%s: its size overflows or an extent is negative",
                      lpd_slot_text(model, (int)(model->input_count + i), text));
  }
  return LPD_OK;
}

static lpd_status compute_dims(lpd_instance *instance, uint32_t entry) {
  const lpd_model *model = instance->model;
  instance->has_run = 0;
  for (uint32_t e = 0; e < model->entry_count; ++e) instance->plans[e].ready = 0;
  lpd_status status = read_symbols(instance, entry);
  if (status) return status;
  if (lpd_evaluate_dims(model->dims, model->dim_count, model->constants, instance->dims))
    return lpd_fail(instance, LPD_LIMIT, "a size overflows for these input shapes");
  const int decides = takes_inputs(model, &model->entries[entry]);
  if (decides && (status = check_input_extents(instance))) return status;
  for (uint32_t i = 0; decides && i < model->check_count; ++i)
    if (instance->dims[model->checks[i].slot] == 0)
      return lpd_fail(instance, LPD_WRONG_INPUT, "%.400s", model->checks[i].message);
  if ((status = fill_output_extents(instance))) return status;
  instance->dims_known = decides || model->symbol_count == 0;
  ++instance->dims_version;
  return LPD_OK;
}

/* --- how much memory ------------------------------------------------------------------------------------------ */

const lpd_variant *lpd_chosen_variant(const lpd_model *model, const int64_t *dims, const lpd_step *step) {
  const lpd_variant *variants = &model->variants[step->first_variant];
  for (uint32_t v = 0; v < step->variant_count; ++v)
    if (lpd_slot_or(dims, variants[v].when, 1) != 0) return &variants[v];
  return NULL;
}

enum { kPage = 4096 };

int64_t lpd_whole_pages(int64_t bytes) {
  return bytes < 0 || __builtin_add_overflow(bytes, kPage - 1, &bytes) ? -1 : bytes & ~(int64_t)(kPage - 1);
}

int64_t lpd_entry_arena_bytes(const lpd_model *model, const int64_t *dims, uint32_t entry) {
  return lpd_whole_pages(dims[model->entries[entry].arena_bytes]);
}

int64_t lpd_entry_stage_bytes(const lpd_model *model, const int64_t *dims, uint32_t entry) {
  const lpd_entry *table = &model->entries[entry];
  int64_t most = 0;
  for (uint32_t s = 0; s < table->step_count; ++s) {
    const lpd_step *step = &model->steps[table->first_step + s];
    const lpd_variant *variant = step->kind == LPD_STEP_KERNEL ? lpd_chosen_variant(model, dims, step) : NULL;
    if (!variant || dims[variant->tasks] <= 0 || lpd_slot_or(dims, variant->rounds, 1) <= 0) continue;
    const int64_t bytes = lpd_slot_or(dims, variant->stage_bytes, 0);
    if (bytes > most || bytes < 0) most = bytes;
    if (bytes < 0) break;
  }
  return lpd_whole_pages(most);
}

/* --- all of it ----------------------------------------------------------------------------------------------- */

lpd_status lpd_prepare(lpd_instance *instance, uint32_t entry) {
  lpd_status status;
  lpd_plan *plan = &instance->plans[entry];
  if (!instance->dims_known) {
    if ((status = compute_dims(instance, entry))) return status;
  } else if (plan->bindings_version == 0 && (status = read_symbols(instance, entry))) {
    return status;
  }
  if (!plan->ready) {
    if ((status = lpd_provide_states(instance))) return status;
    if ((status = lpd_provide_arena(instance, lpd_entry_arena_bytes(instance->model, instance->dims, entry))))
      return status;
    plan->ready = 1;
    plan->bindings_version = 0;
  }
  if (plan->bindings_version == instance->bindings_version) return LPD_OK;
  instance->has_run = 0;
  if ((status = lpd_provide_tensors(instance, entry))) return status;
  ++instance->pointers_version;
  plan->bindings_version = instance->bindings_version;
  return LPD_OK;
}
