/* Making and destroying instances. One block holds the instance and every table whose size the model's own tables
 * give, so there is one allocation to fail; the arena, owned outputs and threads come when a run first needs them. */
#include <string.h>

#include "internal.h"

static void carve_slots(lpd_carver *c, const lpd_model *model, lpd_slot *slots) {
  for (uint32_t i = 0; i < model->input_count + model->output_count; ++i) {
    const uint32_t rank = lpd_signature_of(model, (int)i)->rank;
    int64_t *dims = lpd_carve(c, rank, sizeof(int64_t)), *wanted = lpd_carve(c, rank, sizeof(int64_t));
    if (c->block) slots[i].dims = dims, slots[i].wanted = wanted;
  }
}

int64_t lpd_most_integers(const lpd_model *model, const lpd_step *step) {
  int64_t most = 0;
  for (uint32_t v = 0; v < step->variant_count; ++v) {
    const int64_t count = model->variants[step->first_variant + v].integer_count;
    if (count > most) most = count;
  }
  return most;
}

static int runs_kernel(const lpd_step *step) {
  return step->kind == LPD_STEP_KERNEL || step->kind == LPD_STEP_HOST_KERNEL;
}

static int begins_region(const lpd_step *step) {
  return step->kind == LPD_STEP_KERNEL && (step->flags & LPD_STEP_BEGINS_REGION);
}

static void fill_plan(const lpd_model *model, const lpd_entry *entry, lpd_plan *plan) {
  int64_t *integers = plan->integers;
  uint32_t pointer = 0;
  plan->kernels_alone = 1;
  for (uint32_t s = 0; s < entry->step_count; ++s) {
    const lpd_step *step = &model->steps[entry->first_step + s];
    plan->kernels_alone &= step->kind == LPD_STEP_KERNEL;
    if (!runs_kernel(step)) continue;
    plan->jobs[s].frame = (lpd_frame){plan->pointers + pointer, integers};
    integers += lpd_most_integers(model, step);
    if (step->kind == LPD_STEP_HOST_KERNEL) {
      pointer += step->buffer_count;
      continue;
    }
    if (begins_region(step)) {
      plan->region_of[s] = plan->region_count;
      plan->regions[plan->region_count++] = (lpd_region){.first_step = s, .first_patch = plan->patch_count};
    }
    lpd_region *region = &plan->regions[plan->region_count - 1];
    ++region->step_count;
    for (uint32_t b = 0; b < step->buffer_count; ++b, ++pointer)
      if (lpd_moves(&model->buffer_refs[step->first_buffer + b]))
        plan->patches[plan->patch_count++] = (lpd_patch){pointer, step->first_buffer + b};
    region->patch_count = plan->patch_count - region->first_patch;
  }
}

static void carve_plan(lpd_carver *c, const lpd_model *model, const lpd_entry *entry, lpd_plan *plan) {
  int64_t pointers = 0, integers = 0, patches = 0, regions = 0;
  for (uint32_t s = 0; s < entry->step_count; ++s) {
    const lpd_step *step = &model->steps[entry->first_step + s];
    if (!runs_kernel(step)) continue;
    regions += begins_region(step);
    pointers += step->buffer_count;
    integers += lpd_most_integers(model, step);
    for (uint32_t b = 0; b < step->buffer_count; ++b) patches += lpd_moves(&model->buffer_refs[step->first_buffer + b]);
  }
  const lpd_plan carved = {.jobs = lpd_carve(c, entry->step_count, sizeof(lpd_job)),
                           .pointers = lpd_carve(c, pointers, sizeof(void *)),
                           .integers = lpd_carve(c, integers, sizeof(int64_t)),
                           .patches = lpd_carve(c, patches, sizeof(lpd_patch)),
                           .regions = lpd_carve(c, regions, sizeof(lpd_region)),
                           .region_of = lpd_carve(c, entry->step_count, sizeof(uint32_t)),
                           .nanoseconds = lpd_carve(c, entry->step_count, sizeof(int64_t))};
  if (!c->block) return;
  *plan = carved;
  fill_plan(model, entry, plan);
}

static lpd_instance *carve_instance(lpd_carver *c, const lpd_model *model) {
  lpd_instance *instance = lpd_carve(c, 1, sizeof(lpd_instance));
  lpd_slot *slots = lpd_carve(c, model->input_count + model->output_count, sizeof(lpd_slot));
  int64_t *dims = lpd_carve(c, model->dim_count, sizeof(int64_t));
  lpd_plan *plans = lpd_carve(c, model->entry_count, sizeof(lpd_plan));
  int32_t *flags = lpd_carve(c, model->flag_count, sizeof(int32_t));
  lpd_block *registers = lpd_carve(c, model->register_count, sizeof(lpd_block));
  lpd_block *flights = lpd_carve(c, model->reduction_count, sizeof(lpd_block));
  carve_slots(c, model, slots);
  for (uint32_t e = 0; e < model->entry_count; ++e)
    carve_plan(c, model, &model->entries[e], c->block ? &plans[e] : NULL);
  if (!c->block) return NULL;
  instance->slots = slots, instance->dims = dims, instance->plans = plans;
  instance->flags = flags, instance->registers = registers, instance->flights = flights;
  return instance;
}

static int is_reducer(const lpd_model *model, const lpd_reducer *reducer) {
  return model->reduction_count > 0 && reducer->start && reducer->finish && reducer->rank >= 0 &&
         reducer->rank < reducer->ranks && (!reducer->on_device || model->driver) && !reducer->reserved;
}

static lpd_status check_options(const lpd_model *model, const lpd_options *options) {
  if (options->threads < 0 || options->threads > LPD_MAX_THREADS || options->max_bytes < 0 || options->max_loop < 0 ||
      options->cuda_device < 0 || options->reserved)
    return LPD_INVALID_ARGUMENT;
  const lpd_executor *executor = options->executor;
  if (executor && (!executor->run || executor->threads < 1 || executor->threads > LPD_MAX_THREADS))
    return LPD_INVALID_ARGUMENT;
  if (options->alloc && (!options->alloc->alloc || !options->alloc->free)) return LPD_INVALID_ARGUMENT;
  if (options->reducer && !is_reducer(model, options->reducer)) return LPD_INVALID_ARGUMENT;
  return LPD_OK;
}

static uint32_t thread_count(const lpd_model *model, const lpd_options *options) {
  if (model->driver) return 1; /* who starts the device's work */
  if (options->executor) return (uint32_t)options->executor->threads;
  return options->threads > 0 ? (uint32_t)options->threads : lpd_usable_cores();
}

static const lpd_model *choose(const lpd_model *const *levels, const lpd_options *options) {
  for (; levels[1]; ++levels) {
    const lpd_model *model = *levels;
    if (!lpd_missing_feature(model->cpu_features) && (!model->driver || model->driver->suits(model, options))) break;
  }
  return *levels;
}

lpd_status lpd_create(const lpd_model *model, const lpd_options *options, lpd_instance **out) {
  const lpd_model *const levels[] = {model, NULL};
  return lpd_create_level(levels, options, out);
}

lpd_status lpd_create_level(const lpd_model *const *levels, const lpd_options *given, lpd_instance **out) {
  if (!out) return LPD_INVALID_ARGUMENT;
  *out = NULL;
  if (!*levels || (*levels)->abi_version != LPD_ABI_VERSION) return LPD_INVALID_ARGUMENT;
  lpd_options known = {.size = sizeof(lpd_options)};
  const lpd_options *options = &known;
  const uint32_t first_version = offsetof(lpd_options, cuda_stream);
  if (given && !lpd_read_struct(&known, first_version, sizeof known, given)) return LPD_INVALID_ARGUMENT;
  lpd_status status = check_options(*levels, options);
  if (status) return status;
  const lpd_model *model = choose(levels, options);
  if (lpd_missing_feature(model->cpu_features)) return LPD_UNSUPPORTED_CPU;

  const lpd_alloc *alloc = options->alloc ? options->alloc : &lpd_default_alloc;
  lpd_carver measure = {NULL, 0};
  carve_instance(&measure, model);
  lpd_carver real = {lpd_take(alloc, measure.used), 0};
  if (!real.block) return LPD_OUT_OF_MEMORY;
  memset(real.block, 0, (size_t)measure.used);
  lpd_instance *instance = carve_instance(&real, model);
  instance->model = model;
  instance->alloc = *alloc;
  instance->block_bytes = measure.used;
  if (options->executor) instance->executor = *options->executor;
  if (options->reducer) instance->reducer = *options->reducer;
  instance->threads = thread_count(model, options);
  instance->max_bytes = options->max_bytes;
  instance->max_loop = options->max_loop;
  instance->dims_version = instance->pointers_version = instance->bindings_version = 1;
  instance->seen_flags = instance->flags;
  if (model->seeded) model->seeded->fill(model);
  instance->seen_weights = model->weights;
  instance->driver = model->driver;
  if (instance->driver) instance->broken = instance->driver->open(instance, levels, options);
  *out = instance;
  return instance->broken;
}

void lpd_destroy(lpd_instance *instance) {
  if (!instance) return;
  const lpd_alloc alloc = instance->alloc;
  if (instance->driver) instance->driver->enter(instance); /* or the driver remembers that it could not */
  lpd_team_destroy(&alloc, instance->team);
  lpd_barrier_destroy(&alloc, instance->barrier);
  for (uint32_t i = 0; i < instance->model->input_count + instance->model->output_count; ++i) {
    lpd_slot *slot = &instance->slots[i];
    for (int k = 0; k < 2; ++k) lpd_release(instance, &slot->owned[k], slot->owned_where[k]);
    lpd_release(instance, &slot->mirror, LPD_SEEN);
  }
  for (uint32_t i = 0; i < instance->model->register_count; ++i)
    lpd_release(instance, &instance->registers[i], LPD_SEEN);
  for (int i = 0; i <= LPD_MOST_VIEWS; ++i) lpd_release(instance, &instance->views[i], LPD_ON_HOST);
  for (uint32_t i = 0; i < instance->model->reduction_count; ++i)
    lpd_release(instance, &instance->flights[i], LPD_ON_HOST);
  lpd_strings_destroy(instance);
  lpd_release(instance, &instance->stages, LPD_SEEN);
  lpd_release(instance, &instance->arena, LPD_SEEN);
  lpd_release(instance, &instance->states, LPD_SEEN);
  if (instance->driver) instance->driver->close(instance);
  lpd_give(&alloc, instance, instance->block_bytes);
}
