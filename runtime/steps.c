/* A run: the steps of an entry point in order, host steps here, regions of kernels through run.c. */
#include <string.h>

#include "internal.h"

typedef struct {
  lpd_instance *instance;
  const lpd_entry *entry;
  const volatile int *cancel;
  int waits; /* until the device is through */
} run;

/* --- what host steps see of the kernels' memory ---------------------------------------------------------------- */

/* Constants and most inputs are the host's too; strings, whose elements point into its memory, the host's alone. */
static int is_on_host(const lpd_instance *instance, const lpd_buffer_ref *ref) {
  const lpd_model *model = instance->model;
  if (!instance->driver || ref->base == LPD_BASE_NONE || ref->base == LPD_BASE_WEIGHTS) return 1;
  if (ref->base == LPD_BASE_INPUT) return !instance->slots[ref->index].device;
  return ref->base == LPD_BASE_OUTPUT && model->outputs[ref->index].dtype == LPD_STRING_TYPE;
}

static void *host_address(const lpd_instance *instance, const lpd_buffer_ref *ref) {
  const int64_t offset = lpd_slot_or(instance->dims, ref->offset, 0);
  if (ref->base == LPD_BASE_WEIGHTS) return (char *)instance->model->weights + offset;
  if (ref->base == LPD_BASE_INPUT) return (char *)instance->slots[ref->index].data + offset;
  return lpd_address(instance, ref);
}

/* Room for a copy of what a device holds; what the host holds, as it is. */
static lpd_status view(lpd_instance *instance, const lpd_buffer_ref *ref, int64_t bytes, uint32_t number, void **out) {
  *out = host_address(instance, ref);
  if (is_on_host(instance, ref)) return LPD_OK;
  if (bytes > instance->views[number].bytes) instance->driver->wait(instance); /* it may be read from still */
  const lpd_status status = lpd_grow(instance, &instance->views[number], LPD_ON_HOST, bytes, 0, "a host step");
  *out = instance->views[number].data;
  return status;
}

/* The copy is there when the device has settled. */
static lpd_status fetch(lpd_instance *instance, const lpd_buffer_ref *ref, int64_t bytes, uint32_t number, void **out) {
  const lpd_status status = view(instance, ref, bytes, number, out);
  if (status || is_on_host(instance, ref)) return status;
  return instance->driver->copy(instance, *out, lpd_address(instance, ref), bytes, LPD_FROM_DEVICE);
}

static lpd_status settle(lpd_instance *instance, int entry) {
  return instance->driver ? instance->driver->settle(instance, entry) : LPD_OK;
}

/* For what the host holds nobody waits. */
static lpd_status fetch_and_settle(lpd_instance *instance, const lpd_buffer_ref *ref, int64_t bytes, void **out) {
  const lpd_status status = fetch(instance, ref, bytes, 0, out);
  return status || is_on_host(instance, ref) ? status : settle(instance, -1);
}

static lpd_status put_back(lpd_instance *instance, const lpd_buffer_ref *ref, const void *view, int64_t bytes) {
  if (is_on_host(instance, ref)) return LPD_OK;
  return instance->driver->copy(instance, lpd_address(instance, ref), view, bytes, LPD_TO_DEVICE);
}

/* What the kernels found wrong with the values they read. */
static lpd_status check_flags(lpd_instance *instance) {
  for (uint32_t i = 0; i < instance->model->flag_count; ++i)
    if (instance->flags[i]) return lpd_fail(instance, LPD_WRONG_INPUT, "%.400s", instance->model->flag_messages[i]);
  return LPD_OK;
}

static int64_t element(const void *data, uint32_t dtype, uint32_t index) {
  enum { kInt32 = 6, kInt64 = 7 };
  if (dtype == kInt64) return ((const int64_t *)data)[index];
  if (dtype == kInt32) return ((const int32_t *)data)[index];
  return ((const uint8_t *)data)[index] != 0;
}

/* For what a loop has counted the device need not be asked. */
static lpd_status fetch_integers(lpd_instance *instance, const lpd_host_step *step, const lpd_buffer_ref *ref,
                                 void **data) {
  if (step->amount != LPD_NO_SLOT) return *data = &instance->dims[step->amount], LPD_OK;
  return fetch_and_settle(instance, ref, lpd_type_bits(step->dtype) / 8 * (int64_t)step->element_count, data);
}

static lpd_status read_elements(lpd_instance *instance, const lpd_host_step *step, const lpd_buffer_ref *ref,
                                const char *origin) {
  const lpd_model *model = instance->model;
  void *data;
  lpd_status status = fetch_integers(instance, step, ref, &data);
  if (!status) status = check_flags(instance);
  if (status) return status;
  int changed = 0;
  for (uint32_t i = 0; i < step->element_count; ++i) {
    const uint32_t slot = model->integer_slots[step->first_element + i];
    if (slot == LPD_NO_SLOT) continue;
    const int64_t value = element(data, step->dtype, i);
    changed |= instance->dims[slot] != value;
    instance->dims[slot] = value;
  }
  if (lpd_evaluate_later(model->dims, model->integer_slots + step->first_formula, step->formula_count, model->constants,
                         instance->dims, &changed))
    return lpd_fail(instance, LPD_LIMIT, "%.400s: a size overflows for these input values", origin);
  if (changed) ++instance->dims_version;
  for (uint32_t i = 0; i < step->check_count; ++i) {
    const lpd_check *check = &model->checks[step->first_check + i];
    if (instance->dims[check->slot] == 0) return lpd_fail(instance, LPD_WRONG_INPUT, "%.400s", check->message);
  }
  return LPD_OK;
}

static int64_t *counter_of(const lpd_instance *instance, const lpd_step *loop) {
  const lpd_model *model = instance->model;
  return &instance->dims[model->integer_slots[model->host_steps[loop->first_variant].first_element]];
}

/* The host counts, in a slot; kernels that read the counter have a copy, which is put there before they start. So a
 * loop whose trips are known runs ahead of the device, and what its kernels find wrong is told where the run settles.
 */
static lpd_status count(lpd_instance *instance, const lpd_step *step, int64_t iteration) {
  *counter_of(instance, step) = iteration;
  if (step->buffer_count == 0) return LPD_OK;
  const lpd_buffer_ref *copy = &instance->model->buffer_refs[step->first_buffer];
  if (is_on_host(instance, copy)) return *(int64_t *)host_address(instance, copy) = iteration, LPD_OK;
  return instance->driver->put_integer(instance, lpd_address(instance, copy), iteration);
}

/* A device that the host runs ahead of would do all that it was told after a run is cancelled. */
enum { kIterationsAhead = 16 };

static lpd_status next_iteration(const run *r, const lpd_step *step, int64_t trips, int *done) {
  lpd_instance *instance = r->instance;
  const int64_t iteration = *counter_of(instance, step) + 1;
  *done = iteration >= trips;
  lpd_status status = count(instance, step, iteration);
  if (!status && !*done && r->cancel && iteration % kIterationsAhead == kIterationsAhead - 1)
    status = settle(instance, -1);
  if (!status) status = check_flags(instance);
  if (status || *done) return status;
  if (r->cancel && *r->cancel) return lpd_fail(instance, LPD_CANCELLED, "cancelled");
  if (instance->max_loop > 0 && iteration >= instance->max_loop)
    return lpd_fail(instance, LPD_LIMIT, "%.400s: a loop of more than max_loop = %lld iterations", step->origin,
                    (long long)instance->max_loop);
  return LPD_OK;
}

/* A loop that wrong values keep from ending ends here. */
static lpd_status read_condition(lpd_instance *instance, const lpd_buffer_ref *ref, int *holds) {
  void *condition;
  lpd_status status = fetch_and_settle(instance, ref, 1, &condition);
  if (!status) status = check_flags(instance);
  *holds = !status && *(const uint8_t *)condition;
  return status;
}

/* Told for devices alone. */
static int64_t operand_bytes(const lpd_instance *instance, const lpd_host_step *host, uint32_t operand) {
  return instance->driver ? instance->dims[instance->model->integer_slots[host->first_bytes + operand]] : 0;
}

static void read_integers(const lpd_instance *instance, const lpd_host_step *host, int64_t *integers) {
  for (uint32_t i = 0; i < host->element_count; ++i)
    integers[i] = instance->dims[instance->model->integer_slots[host->first_element + i]];
}

/* What a reducer works on in the device's memory. */
static lpd_status reduce_on_device(lpd_instance *instance, const lpd_step *step, const lpd_host_step *host) {
  const lpd_model *model = instance->model;
  void *data = lpd_address(instance, &model->buffer_refs[step->first_buffer + 1]);
  lpd_status status = settle(instance, -1);
  if (!status) status = check_flags(instance);
  if (status) return status;
  int64_t integers[LPD_MOST_ARGUMENTS];
  read_integers(instance, host, integers);
  const lpd_call call = {instance, step->origin, NULL, &data, integers};
  return model->functions[host->target](&call);
}

/* The last operand is the result. */
static lpd_status host_call(lpd_instance *instance, const lpd_step *step, const lpd_host_step *host) {
  if (host->reduces && instance->reducer.on_device) return reduce_on_device(instance, step, host);
  const lpd_model *model = instance->model;
  const lpd_buffer_ref *refs = &model->buffer_refs[step->first_buffer];
  const uint32_t last = step->buffer_count - 1;
  void *operands[LPD_MOST_OPERANDS];
  int64_t integers[LPD_MOST_ARGUMENTS];
  lpd_status status = LPD_OK;
  for (uint32_t i = 1; i <= last && !status; ++i)
    status = (i < last ? fetch : view)(instance, &refs[i], operand_bytes(instance, host, i), i, &operands[i - 1]);
  if (!status) status = settle(instance, -1);
  if (!status) status = check_flags(instance);
  if (status) return status;
  read_integers(instance, host, integers);
  const lpd_call call = {instance, step->origin, host_address(instance, &refs[0]), operands, integers};
  status = model->functions[host->target](&call);
  return status ? status : put_back(instance, &refs[last], operands[last - 1], operand_bytes(instance, host, last));
}

/* A kernel, by this thread, on copies of what the device holds. */
static lpd_status host_kernel(lpd_instance *instance, const lpd_step *step, lpd_job *job) {
  const lpd_model *model = instance->model;
  const lpd_host_step *host = &model->host_steps[step->host_step];
  lpd_status status = lpd_make_job(instance, step, job);
  if (status || job->threads == 0) return status;
  const lpd_buffer_ref *refs = &model->buffer_refs[step->first_buffer];
  void **pointers = (void **)job->frame.buffers;
  for (uint32_t b = 0; b < step->buffer_count && !status; ++b) {
    if (refs[b].base == LPD_BASE_FLAG)
      pointers[b] = &instance->flags[refs[b].index];
    else if (refs[b].base != LPD_BASE_NONE)
      status = fetch(instance, &refs[b], operand_bytes(instance, host, b), b, &pointers[b]);
  }
  if (!status) status = settle(instance, -1);
  if (!status) status = check_flags(instance);
  const lpd_variant *variant = lpd_chosen_variant(model, instance->dims, step);
  const int64_t stage = lpd_slot_or(instance->dims, variant->stage_bytes, 0);
  lpd_block *own = &instance->views[LPD_MOST_VIEWS];
  if (!status) status = lpd_grow(instance, own, LPD_ON_HOST, stage, 0, "a host kernel's workspace");
  if (status) return status;
  lpd_run_alone(job, own->data);
  if ((status = check_flags(instance))) return status;
  for (uint32_t b = 0; b < step->buffer_count && !status; ++b)
    if (refs[b].base != LPD_BASE_FLAG && (host->written >> b & 1))
      status = put_back(instance, &refs[b], pointers[b], operand_bytes(instance, host, b));
  return status;
}

/* Gives the step to go on with in *next. */
static lpd_status host_step(const run *r, const lpd_step *step, uint32_t *next) {
  lpd_instance *instance = r->instance;
  const lpd_model *model = instance->model;
  const lpd_host_step *host = &model->host_steps[step->first_variant];
  const lpd_buffer_ref *refs = &model->buffer_refs[step->first_buffer];
  const int64_t amount = host->amount == LPD_NO_SLOT ? 0 : instance->dims[host->amount];
  int holds = 0;
  lpd_status status = LPD_OK;
  ++*next;
  switch ((enum lpd_step_kind)step->kind) {
    case LPD_STEP_KERNEL:
    case LPD_STEP_HOST_KERNEL:
      break;
    case LPD_STEP_ELEMENTS:
      return read_elements(instance, host, refs, step->origin);
    case LPD_STEP_RESERVE:
      if (amount < 0)
        return lpd_fail(instance, LPD_WRONG_INPUT, "%.400s: its result would have %lld bytes", step->origin,
                        (long long)amount);
      status = lpd_reserve(instance, refs->index, amount, (int)host->keep);
      break;
    case LPD_STEP_PROVIDE:
      return lpd_provide_output(instance, model->input_count + refs->index);
    case LPD_STEP_BRANCH:
      if (amount == 0) *next = host->target;
      break;
    case LPD_STEP_BRANCH_UNLESS:
      status = read_condition(instance, refs, &holds);
      if (!holds) *next = host->target;
      break;
    case LPD_STEP_LOOP_BEGIN:
      return count(instance, step, -1);
    case LPD_STEP_LOOP_NEXT:
      status = next_iteration(r, step, amount, &holds);
      if (holds) *next = host->target;
      break;
    case LPD_STEP_HOST_CALL:
      return host_call(instance, step, host);
    case LPD_STEP_SWAP: {
      const lpd_block block = instance->registers[refs[0].index];
      instance->registers[refs[0].index] = instance->registers[refs[1].index];
      instance->registers[refs[1].index] = block;
      ++instance->pointers_version;
      break;
    }
  }
  return status;
}

static lpd_status take_steps(const run *r, uint32_t entry) {
  lpd_instance *instance = r->instance;
  lpd_plan *plan = &instance->plans[entry];
  const lpd_step *steps = &instance->model->steps[r->entry->first_step];
  for (uint32_t s = 0; s < r->entry->step_count;) {
    const uint32_t step = s;
    lpd_status status;
    if (steps[s].kind == LPD_STEP_KERNEL) {
      lpd_region *region = &plan->regions[plan->region_of[s]];
      status = lpd_prepare_region(instance, entry, region);
      if (!status)
        status = (instance->driver ? instance->driver->run_region : lpd_run_region)(instance, entry, region, r->cancel);
      s += region->step_count;
    } else {
      const int64_t since = instance->profiling ? lpd_now() : 0;
      const int is_kernel = steps[s].kind == LPD_STEP_HOST_KERNEL;
      status = is_kernel ? host_kernel(instance, &steps[s], &plan->jobs[s]) : host_step(r, &steps[s], &s);
      s += (uint32_t)is_kernel;
      if (instance->profiling) plan->nanoseconds[step] += lpd_now() - since;
    }
    if (status) return status;
  }
  if (!r->waits) return instance->pending = 1, LPD_OK;
  const lpd_status status = settle(instance, (int)entry);
  return status ? status : check_flags(instance);
}

lpd_status lpd_catch_up(lpd_instance *instance) {
  if (!instance->pending) return LPD_OK;
  instance->pending = 0;
  const lpd_status status = settle(instance, -1);
  return status ? status : check_flags(instance);
}

/* Not where all of it is the device's, in an order that the caller has a hold of. */
static int must_wait(const lpd_instance *instance, uint32_t entry) {
  if (!instance->stream_is_callers || !instance->plans[entry].kernels_alone || instance->profiling) return 1;
  const lpd_entry *table = &instance->model->entries[entry];
  for (uint32_t i = 0; i < table->slot_count; ++i)
    if (!instance->slots[instance->model->integer_slots[table->first_slot + i]].device) return 1;
  return 0;
}

static lpd_status run_entry(lpd_instance *instance, uint32_t entry, const volatile int *cancel) {
  const run r = {instance, &instance->model->entries[entry], cancel, must_wait(instance, entry)};
  if (r.waits) {
    const lpd_status before = lpd_catch_up(instance);
    if (before) return before;
  }
  lpd_status status = lpd_prepare(instance, entry);
  if (status) return status;
  if (cancel && *cancel) return lpd_fail(instance, LPD_CANCELLED, "cancelled");
  if ((status = lpd_check_own_strings(instance))) return status;
  memset(instance->flags, 0, instance->model->flag_count * sizeof *instance->flags);
  instance->has_run = 0;
  lpd_strings_reset(instance);
  if (instance->driver && (status = instance->driver->begin(instance, entry))) return status;
  status = take_steps(&r, entry);
  if (status && instance->model->settle_reductions) instance->model->settle_reductions(instance);
  return status;
}

lpd_status lpd_run(lpd_instance *instance, int entry, const volatile int *cancel) {
  if (!instance) return LPD_INVALID_ARGUMENT;
  if (instance->broken) return instance->broken;
  instance->error[0] = 0;
  if (entry < 0 || (uint32_t)entry >= instance->model->entry_count)
    return lpd_fail(instance, LPD_INVALID_ARGUMENT, "no entry point %d", entry);
  lpd_status status = instance->driver ? instance->driver->enter(instance) : LPD_OK;
  if (status) return status;
  status = run_entry(instance, (uint32_t)entry, cancel);
  if (status && instance->driver) instance->driver->wait(instance);
  if (instance->driver) instance->driver->leave(instance);
  if (status) return status;
  instance->plans[entry].profiled_runs += instance->profiling;
  instance->has_run = 1;
  return LPD_OK;
}

lpd_status lpd_wait(lpd_instance *instance) {
  if (!instance) return LPD_INVALID_ARGUMENT;
  if (instance->broken) return instance->broken;
  instance->error[0] = 0;
  if (!instance->pending) return LPD_OK;
  lpd_status status = instance->driver->enter(instance);
  if (status) return status;
  status = lpd_catch_up(instance);
  instance->driver->leave(instance);
  return status;
}
