/* Regions: from dim slots to jobs ready to walk. */
#include "internal.h"

static void split(const lpd_instance *instance, const lpd_step *step, const lpd_variant *variant, lpd_job *job) {
  const int64_t tasks = instance->dims[variant->tasks], grain = step->grain > 0 ? step->grain : 1;
  int64_t threads = step->flags & LPD_STEP_SERIAL ? 1 : tasks / grain;
  if (threads > instance->threads) threads = instance->threads;
  if (threads < 1) threads = 1;
  job->rounds = lpd_slot_or(instance->dims, variant->rounds, 1);
  job->threads = tasks > 0 && job->rounds > 0 ? (uint32_t)threads : 0;
  job->tasks_each = tasks / threads;
  job->tasks_left = (uint32_t)(tasks % threads);
}

lpd_status lpd_make_job(lpd_instance *instance, const lpd_step *step, lpd_job *job) {
  const lpd_model *model = instance->model;
  const lpd_variant *variant = lpd_chosen_variant(model, instance->dims, step);
  job->threads = 0;
  if (!variant) return LPD_OK;
  job->kernel = model->kernels ? model->kernels[variant->kernel] : NULL;
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

/* --- pointers ------------------------------------------------------------------------------------------------ */

int lpd_moves(const lpd_buffer_ref *ref) {
  return ref->base == LPD_BASE_INPUT || ref->base == LPD_BASE_OUTPUT || ref->base == LPD_BASE_REGISTER;
}

void *lpd_address(const lpd_instance *instance, const lpd_buffer_ref *ref) {
  const int64_t offset = lpd_slot_or(instance->dims, ref->offset, 0);
  switch ((enum lpd_base)ref->base) {
    case LPD_BASE_NONE:
      break;
    case LPD_BASE_ARENA:
      return (char *)instance->arena.data + offset;
    case LPD_BASE_WEIGHTS:
      return (char *)instance->seen_weights + offset;
    case LPD_BASE_INPUT:
      return (char *)instance->slots[ref->index].seen + offset;
    case LPD_BASE_OUTPUT:
      return (char *)instance->slots[instance->model->input_count + ref->index].seen + offset;
    case LPD_BASE_FLAG:
      return &instance->seen_flags[ref->index];
    case LPD_BASE_STATE:
      return (char *)instance->states.data + offset;
    case LPD_BASE_REGISTER:
      return (char *)instance->registers[ref->index].data + offset;
  }
  return NULL;
}

static void fill_pointers(lpd_instance *instance, const lpd_step *step, lpd_job *job) {
  void **pointers = (void **)job->frame.buffers;
  for (uint32_t b = 0; b < step->buffer_count; ++b) {
    const lpd_buffer_ref *ref = &instance->model->buffer_refs[step->first_buffer + b];
    if (ref->base != LPD_BASE_NONE && !lpd_moves(ref)) pointers[b] = lpd_address(instance, ref);
  }
}

static void patch_pointers(lpd_instance *instance, const lpd_plan *plan, const lpd_region *region) {
  const lpd_patch *patches = plan->patches + region->first_patch;
  for (uint32_t i = 0; i < region->patch_count; ++i)
    plan->pointers[patches[i].pointer] = lpd_address(instance, &instance->model->buffer_refs[patches[i].ref]);
}

/* --- regions ------------------------------------------------------------------------------------------------- */

static lpd_status make_jobs(lpd_instance *instance, const lpd_step *steps, lpd_job *jobs, uint32_t count) {
  for (uint32_t s = 0; s < count; ++s) {
    const lpd_status status = lpd_make_job(instance, &steps[s], &jobs[s]);
    if (status) return status;
    fill_pointers(instance, &steps[s], &jobs[s]);
  }
  return LPD_OK;
}

/* Of the host's threads. */
static lpd_status prepare_threads(lpd_instance *instance, const lpd_step *steps, lpd_job *jobs, lpd_region *region) {
  int64_t stage = 0;
  region->threads = 1;
  for (uint32_t s = 0; s < region->step_count; ++s) {
    if (jobs[s].threads > region->threads) region->threads = jobs[s].threads;
    const lpd_variant *variant = lpd_chosen_variant(instance->model, instance->dims, &steps[s]);
    const int64_t bytes = jobs[s].threads > 0 ? lpd_slot_or(instance->dims, variant->stage_bytes, 0) : 0;
    if (bytes < 0) return lpd_fail(instance, LPD_LIMIT, "the workspaces' size overflows for these input shapes");
    if (bytes > stage) stage = bytes;
  }
  place_barriers(steps, jobs, region->step_count);
  region->stage_bytes = lpd_whole_pages(stage);
  lpd_status status = lpd_provide_stages(instance, region->stage_bytes, region->threads);
  return status ? status : lpd_provide_threads(instance, region->threads);
}

lpd_status lpd_prepare_region(lpd_instance *instance, uint32_t entry, lpd_region *region) {
  const lpd_plan *plan = &instance->plans[entry];
  if (region->dims_version != instance->dims_version) {
    const lpd_step *steps = &instance->model->steps[instance->model->entries[entry].first_step + region->first_step];
    lpd_job *jobs = plan->jobs + region->first_step;
    lpd_status status = make_jobs(instance, steps, jobs, region->step_count);
    if (!status)
      status = instance->driver ? instance->driver->prepare_region(instance, entry, region)
                                : prepare_threads(instance, steps, jobs, region);
    if (status) return status;
    region->dims_version = instance->dims_version;
    region->pointers_version = 0;
  }
  if (region->pointers_version == instance->pointers_version) return LPD_OK;
  patch_pointers(instance, plan, region);
  region->pointers_version = instance->pointers_version;
  return LPD_OK;
}
