/* The model-level calls of a product, bound to its one model. The linker gives each of these, and each lpd_ function
 * that takes an instance, its exported name: lpd_product_create is NAME_create, lpd_run is NAME_run. */
#include "internal.h"

extern const lpd_model lpd_product_model; /* the tables */

lpd_status lpd_product_create(const lpd_options *options, lpd_instance **out) {
  return lpd_create(&lpd_product_model, options, out);
}

int32_t lpd_product_input_count(void) { return lpd_input_count(&lpd_product_model); }
int32_t lpd_product_output_count(void) { return lpd_output_count(&lpd_product_model); }
lpd_status lpd_product_describe(int slot, lpd_tensor_info *info) {
  return lpd_describe(&lpd_product_model, slot, info);
}
const char *const *lpd_product_symbols(int32_t *count) { return lpd_symbols(&lpd_product_model, count); }
int64_t lpd_product_arena_bytes(const int64_t *symbols) { return lpd_arena_bytes(&lpd_product_model, symbols); }
int64_t lpd_product_workspace_bytes(const int64_t *symbols) { return lpd_workspace_bytes(&lpd_product_model, symbols); }
const char *lpd_product_missing_cpu_feature(void) { return lpd_missing_cpu_feature(&lpd_product_model); }
