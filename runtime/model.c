/* What can be asked of a model without an instance. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

const char *lpd_model_name(const lpd_model *model) { return model->name; }
int32_t lpd_input_count(const lpd_model *model) { return (int32_t)model->input_count; }
int32_t lpd_output_count(const lpd_model *model) { return (int32_t)model->output_count; }

lpd_status lpd_describe(const lpd_model *model, int slot, lpd_tensor_info *info) {
  const lpd_signature *signature = lpd_signature_of(model, slot);
  if (!signature || !info) return LPD_INVALID_ARGUMENT;
  const lpd_tensor_info found = {.name = signature->name,
                                 .dtype = (uint8_t)signature->dtype,
                                 .rank = (uint8_t)signature->rank,
                                 .dims = signature->static_dims,
                                 .dim_names = signature->dim_names};
  return lpd_write_struct(info, &found, sizeof found) ? LPD_OK : LPD_INVALID_ARGUMENT;
}

const char *const *lpd_symbols(const lpd_model *model, int32_t *count) {
  if (count) *count = (int32_t)model->symbol_count;
  return model->symbol_names;
}

int32_t lpd_entry_index(const lpd_model *model, const char *name) {
  for (uint32_t i = 0; name && i < model->entry_count; ++i)
    if (strcmp(model->entries[i].name, name) == 0) return (int32_t)i;
  return -1;
}

const char *lpd_missing_cpu_feature(const lpd_model *model) { return lpd_missing_feature(model->cpu_features); }
int32_t lpd_abi_version(void) { return LPD_ABI_VERSION; }

/* The most that `bytes_of` gives over all entries, for these symbols. */
static int64_t most_bytes(const lpd_model *model, const int64_t *symbols,
                          int64_t (*bytes_of)(const lpd_model *, const int64_t *dims, uint32_t entry)) {
  if (model->symbol_count > 0 && !symbols) return -1;
  int64_t *slots = malloc(model->dim_count * sizeof(int64_t) + 1);
  if (!slots) return -1;
  int64_t most = 0;
  for (uint32_t i = 0; i < model->symbol_count; ++i) {
    slots[model->symbol_slots[i]] = symbols[i];
    if (symbols[i] < 0) most = -1;
  }
  if (most < 0 || lpd_evaluate_dims(model->dims, model->dim_count, model->constants, slots)) {
    free(slots);
    return -1;
  }
  for (uint32_t i = 0; i < model->entry_count && most >= 0; ++i) {
    const int64_t bytes = bytes_of(model, slots, i);
    if (bytes > most || bytes < 0) most = bytes;
  }
  free(slots);
  return most;
}

int64_t lpd_arena_bytes(const lpd_model *model, const int64_t *symbols) {
  return most_bytes(model, symbols, lpd_entry_arena_bytes);
}

int64_t lpd_workspace_bytes(const lpd_model *model, const int64_t *symbols) {
  return most_bytes(model, symbols, lpd_entry_stage_bytes);
}
