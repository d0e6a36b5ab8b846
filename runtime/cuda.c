/* An instance on a CUDA device. Everything it uses there is taken in the device's primary context, which it shares with
 * whatever else of the process uses the device, and which is current only during its calls. */
#include "cuda.h"

#include <string.h>

/* --- tables, in one block ---------------------------------------------------------------------------------------- */

enum { kCommonParameters = 4 + LPD_MOST_MAPS };

typedef struct {
  int64_t parameters; /* the most of any launch */
  uint32_t steps;     /* the most of any region */
  int64_t key_words;  /* likewise */
} sizes;

static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

static sizes measure(const lpd_instance *instance) {
  const lpd_model *model = instance->model;
  sizes found = {kCommonParameters, 0, 0};
  for (uint32_t e = 0; e < model->entry_count; ++e) {
    const lpd_step *steps = &model->steps[model->entries[e].first_step];
    const lpd_plan *plan = &instance->plans[e];
    for (uint32_t r = 0; r < plan->region_count; ++r) {
      const lpd_region *region = &plan->regions[r];
      int64_t words = 0;
      for (uint32_t s = region->first_step; s < region->first_step + region->step_count; ++s) {
        const int64_t integers = lpd_most_integers(model, &steps[s]);
        found.parameters = most(found.parameters, kCommonParameters + (int64_t)steps[s].buffer_count + integers);
        words += LPD_CUDA_KEY_WORDS + integers;
      }
      found.steps = (uint32_t)most(found.steps, region->step_count);
      found.key_words = most(found.key_words, words);
    }
  }
  return found;
}

static int64_t carve_tables(const lpd_instance *instance, const sizes *size, char *block) {
  const lpd_model *model = instance->model;
  lpd_carver carver = {block, 0};
  lpd_cuda_instance *own = lpd_carve(&carver, 1, sizeof *own);
  lpd_cuda_plan *plans = lpd_carve(&carver, model->entry_count, sizeof *plans);
  void **parameters = lpd_carve(&carver, size->parameters, sizeof *parameters);
  int64_t *key = lpd_carve(&carver, size->key_words, sizeof *key);
  CUevent *events = lpd_carve(&carver, (int64_t)size->steps + 1, sizeof *events);
  for (uint32_t e = 0; e < model->entry_count; ++e) {
    const lpd_cuda_plan plan = {.launches = lpd_carve(&carver, model->entries[e].step_count, sizeof(lpd_cuda_launch)),
                                .graphs = lpd_carve(&carver, instance->plans[e].region_count, sizeof(lpd_cuda_graphs))};
    if (block) plans[e] = plan;
  }
  if (block) own->plans = plans, own->parameters = parameters, own->key = key, own->events = events;
  return carver.used;
}

static lpd_status make_tables(lpd_instance *instance) {
  const sizes size = measure(instance);
  const int64_t bytes = carve_tables(instance, &size, NULL);
  char *block = lpd_take(&instance->alloc, bytes);
  if (!block) return lpd_fail(instance, LPD_OUT_OF_MEMORY, "no memory for tables of %lld bytes", (long long)bytes);
  memset(block, 0, (size_t)bytes);
  carve_tables(instance, &size, block);
  instance->device = block;
  lpd_cuda_of(instance)->bytes = bytes;
  return LPD_OK;
}

/* --- life -------------------------------------------------------------------------------------------------------- */

static lpd_status enter(lpd_instance *instance) {
  lpd_cuda_instance *own = lpd_cuda_of(instance);
  if (!own || !own->shared) return instance->broken;
  const CUresult result = lpd_cu.cuCtxPushCurrent_v2(own->shared->context);
  own->entered = result == CUDA_SUCCESS;
  return lpd_cuda_check(instance, result, "entering the device's context");
}

static void leave(lpd_instance *instance) {
  CUcontext none;
  lpd_cu.cuCtxPopCurrent_v2(&none);
  lpd_cuda_of(instance)->entered = 0;
}

static void wait_for(lpd_instance *instance) { lpd_cu.cuStreamSynchronize(lpd_cuda_of(instance)->stream); }

static lpd_status take_stream(lpd_instance *instance, CUstream given) {
  lpd_cuda_instance *own = lpd_cuda_of(instance);
  own->stream = given;
  instance->stream_is_callers = given != NULL;
  if (given) return LPD_OK;
  const CUresult result = lpd_cu.cuStreamCreate(&own->stream, CU_STREAM_NON_BLOCKING);
  own->owns_stream = result == CUDA_SUCCESS;
  return lpd_cuda_check(instance, result, "making a stream");
}

static lpd_status take_flags(lpd_instance *instance) {
  lpd_cuda_instance *own = lpd_cuda_of(instance);
  const int64_t bytes = instance->model->flag_count * (int64_t)sizeof(int32_t);
  const lpd_status status = bytes > 0 ? lpd_cuda_allocate(instance, own->shared, bytes, "flags", &own->flags) : LPD_OK;
  instance->seen_flags = (int32_t *)(uintptr_t)own->flags;
  return status;
}

static lpd_status open_instance(lpd_instance *instance, const lpd_model *const *levels, const lpd_options *options) {
  lpd_status status = make_tables(instance);
  if (status) return status;
  lpd_cuda_instance *own = lpd_cuda_of(instance);
  if ((status = lpd_cuda_take_model(instance, levels, options->cuda_device, &own->shared))) return status;
  instance->seen_weights = (const void *)(uintptr_t)own->shared->weights;
  status = take_stream(instance, options->cuda_stream);
  if (!status) status = take_flags(instance);
  CUcontext none;
  lpd_cu.cuCtxPopCurrent_v2(&none);
  return status;
}

static void close_device(lpd_instance *instance, lpd_cuda_instance *own) {
  if (own->entered) wait_for(instance); /* what it gives back need not be all that its runs use: the caller's is not */
  for (uint32_t e = 0; e < instance->model->entry_count; ++e)
    for (uint32_t r = 0; r < instance->plans[e].region_count; ++r)
      lpd_cuda_drop_graphs(instance, &own->plans[e].graphs[r]);
  for (uint32_t i = 0; own->entered && i < own->event_count; ++i) lpd_cu.cuEventDestroy_v2(own->events[i]);
  if (own->entered && own->flags) lpd_cu.cuMemFree_v2(own->flags);
  if (own->entered && own->owns_stream) lpd_cu.cuStreamDestroy_v2(own->stream);
  lpd_cuda_give_model(own->shared, own->entered);
}

static void close_instance(lpd_instance *instance) {
  lpd_cuda_instance *own = lpd_cuda_of(instance);
  if (!own) return;
  if (own->shared) close_device(instance, own);
  lpd_give(&instance->alloc, own, own->bytes);
}

const lpd_driver lpd_cuda = {.suits = lpd_cuda_suits,
                             .open = open_instance,
                             .close = close_instance,
                             .enter = enter,
                             .leave = leave,
                             .wait = wait_for,
                             .take = lpd_cuda_take,
                             .give = lpd_cuda_give,
                             .copy = lpd_cuda_copy,
                             .clear = lpd_cuda_clear,
                             .put_integer = lpd_cuda_put_integer,
                             .settle = lpd_cuda_settle,
                             .check_memory = lpd_cuda_check_memory,
                             .mirror = lpd_cuda_mirror,
                             .begin = lpd_cuda_begin,
                             .prepare_region = lpd_cuda_prepare_region,
                             .run_region = lpd_cuda_run_region,
                             .tell_needs = lpd_cuda_tell_needs};
