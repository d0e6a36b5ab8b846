/* Per-step times, taken by thread 0 while profiling is on; see run.c for what counts as a step's own. */
#include <string.h>

#include "internal.h"

lpd_status lpd_profile_enable(lpd_instance *instance, int on) {
  if (!instance) return LPD_INVALID_ARGUMENT;
  instance->profiling = on != 0;
  for (uint32_t e = 0; on && e < instance->model->entry_count; ++e) {
    lpd_plan *plan = &instance->plans[e];
    plan->profiled_runs = 0;
    memset(plan->nanoseconds, 0, instance->model->entries[e].step_count * sizeof(int64_t));
  }
  return LPD_OK;
}

static int is_entry(const lpd_instance *instance, int entry) {
  return instance && entry >= 0 && (uint32_t)entry < instance->model->entry_count;
}

int32_t lpd_profile_count(const lpd_instance *instance, int entry) {
  return is_entry(instance, entry) ? (int32_t)instance->model->entries[entry].step_count : 0;
}

static int64_t value_in(const lpd_instance *instance, uint32_t slot) {
  return slot == LPD_NO_SLOT || !instance->dims_known ? 0 : instance->dims[slot];
}

lpd_status lpd_profile(const lpd_instance *instance, int entry, int step, lpd_step_profile *profile) {
  if (!is_entry(instance, entry) || step < 0 || step >= lpd_profile_count(instance, entry) || !profile)
    return LPD_INVALID_ARGUMENT;
  const lpd_step *table = &instance->model->steps[instance->model->entries[entry].first_step + (uint32_t)step];
  const lpd_plan *plan = &instance->plans[entry];
  const int on_host = table->kind == LPD_STEP_HOST_KERNEL, is_kernel = table->kind == LPD_STEP_KERNEL || on_host;
  const lpd_variant *variant =
      instance->dims_known && is_kernel ? lpd_chosen_variant(instance->model, instance->dims, table) : NULL;
  lpd_step_profile found = {.kernel = variant     ? instance->model->kernel_names[variant->kernel]
                                      : is_kernel ? ""
                                                  : "host",
                            .origin = table->origin,
                            .nanoseconds = plan->nanoseconds[step],
                            .runs = plan->profiled_runs,
                            .flops = value_in(instance, table->flops),
                            .bytes = value_in(instance, table->bytes)};
  if (variant && instance->driver && !on_host) instance->driver->tell_needs(instance, variant->kernel, &found);
  return lpd_write_struct(profile, &found, sizeof found) ? LPD_OK : LPD_INVALID_ARGUMENT;
}
