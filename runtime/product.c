/* The model-level calls of a product, bound to its one model. The linker gives each of these, and each lpd_ function
 * that takes an instance, its exported name: lpd_product_create is NAME_create, lpd_run is NAME_run. */
#include "internal.h"

/* The tables: the model for each level of the instruction set, best first, then NULL. */
extern const lpd_model *const lpd_product_models[];

const lpd_model *lpd_product_signature(void) { return lpd_product_models[0]; }

lpd_status lpd_product_create(const lpd_options *options, lpd_instance **out) {
  return lpd_create_level(lpd_product_models, options, out);
}

/* The best for this CPU; the last when it lacks something of each. */
static const lpd_model *chosen(void) {
  const lpd_model *const *model = lpd_product_models;
  while (model[1] && lpd_missing_cpu_feature(*model)) ++model;
  return *model;
}

/* The signature is the same in all. */
int32_t lpd_product_input_count(void) { return lpd_input_count(lpd_product_signature()); }
int32_t lpd_product_output_count(void) { return lpd_output_count(lpd_product_signature()); }
lpd_status lpd_product_describe(int slot, lpd_tensor_info *info) {
  return lpd_describe(lpd_product_signature(), slot, info);
}
const char *const *lpd_product_symbols(int32_t *count) { return lpd_symbols(lpd_product_signature(), count); }

/* This CPU is known; a device is not before an instance names one, so every level counts. */
static int64_t most_bytes(const int64_t *symbols, int64_t (*bytes_of)(const lpd_model *, const int64_t *symbols)) {
  if (!lpd_product_models[0]->driver) return bytes_of(chosen(), symbols);
  int64_t most = 0;
  for (const lpd_model *const *model = lpd_product_models; *model && most >= 0; ++model) {
    const int64_t bytes = bytes_of(*model, symbols);
    if (bytes > most || bytes < 0) most = bytes;
  }
  return most;
}

int64_t lpd_product_arena_bytes(const int64_t *symbols) { return most_bytes(symbols, lpd_arena_bytes); }
int64_t lpd_product_workspace_bytes(const int64_t *symbols) { return most_bytes(symbols, lpd_workspace_bytes); }

const char *lpd_product_missing_cpu_feature(void) { return lpd_missing_cpu_feature(chosen()); }
int32_t lpd_product_entry_index(const char *name) { return lpd_entry_index(lpd_product_signature(), name); }
int32_t lpd_product_state_count(void) { return lpd_state_count(lpd_product_signature()); }
lpd_status lpd_product_state_describe(int state, lpd_state_info *info) {
  return lpd_state_describe(lpd_product_signature(), state, info);
}
