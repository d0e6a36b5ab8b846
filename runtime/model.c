/* What can be asked of a model without an instance. */
#include <stdlib.h>

#include "internal.h"

const char *lpd_model_name(const lpd_model *model) { return model->name; }
int32_t lpd_input_count(const lpd_model *model) { return (int32_t)model->input_count; }
int32_t lpd_output_count(const lpd_model *model) { return (int32_t)model->output_count; }

lpd_status lpd_describe(const lpd_model *model, int slot, lpd_tensor_info *info) {
  const lpd_signature *signature = lpd_signature_of(model, slot);
  if (!signature || !info) return LPD_INVALID_ARGUMENT;
  *info = (lpd_tensor_info){signature->name, (uint8_t)signature->dtype, (uint8_t)signature->rank, signature->static_dims,
                            signature->dim_names};
  return LPD_OK;
}

const char *const *lpd_symbols(const lpd_model *model, int32_t *count) {
  if (count) *count = (int32_t)model->symbol_count;
  return model->symbol_names;
}

int64_t lpd_arena_bytes(const lpd_model *model, const int64_t *symbols) {
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
  for (uint32_t i = 0; i < model->entry_count; ++i) {
    int64_t bytes = slots[model->entries[i].arena_bytes];
    if (bytes > most) most = bytes;
  }
  free(slots);
  return most;
}
