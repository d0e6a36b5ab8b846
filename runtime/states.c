/* States: tensors that live as long as an instance, in one block where kernels see them, beginning as the model's
 * initial values. They are there from the first run, or the first look at one. */
#include <string.h>
#include <sys/mman.h>

#include "internal.h"

static lpd_status copy(lpd_instance *instance, void *to, const void *from, int64_t bytes, enum lpd_way way) {
  if (instance->driver) return instance->driver->copy(instance, to, from, bytes, way);
  if (bytes > 0) memcpy(to, from, (size_t)bytes);
  return LPD_OK;
}

static lpd_status clear(lpd_instance *instance, void *to, int64_t bytes) {
  if (instance->driver) return instance->driver->clear(instance, to, bytes);
  if (bytes > 0) memset(to, 0, (size_t)bytes);
  return LPD_OK;
}

/* The initial values are in memory as long as nobody needs that for something else, unless it is said that they are not
 * needed any more; pages of the product's file, they come back when they are. */
static void forget(const lpd_instance *instance, const char *from, int64_t bytes) {
  if (instance->model->seeded) return; /* made-up ones come back from nowhere */
  const uintptr_t page = 4096, begin = ((uintptr_t)from + page - 1) / page * page,
                  end = ((uintptr_t)from + (uintptr_t)bytes) / page * page;
  if (end > begin) madvise((void *)begin, end - begin, MADV_DONTNEED);
}

lpd_status lpd_provide_states(lpd_instance *instance) {
  const lpd_model *model = instance->model;
  if (instance->states.data || model->state_bytes == 0) return LPD_OK;
  lpd_status status = lpd_grow(instance, &instance->states, LPD_SEEN, model->state_bytes, 0, "the states");
  for (uint32_t i = 0; i < model->state_count && !status; ++i) {
    const lpd_state *state = &model->states[i];
    char *to = (char *)instance->states.data + state->offset;
    const char *from = (const char *)model->weights + state->initial;
    status =
        state->initial < 0 ? clear(instance, to, state->bytes) : copy(instance, to, from, state->bytes, LPD_TO_DEVICE);
    if (state->initial >= 0) forget(instance, from, state->bytes);
  }
  if (status) lpd_release(instance, &instance->states, LPD_SEEN);
  return status;
}

int32_t lpd_state_count(const lpd_model *model) { return model ? (int32_t)model->state_count : 0; }

lpd_status lpd_state_describe(const lpd_model *model, int state, lpd_state_info *info) {
  if (!model || state < 0 || (uint32_t)state >= model->state_count) return LPD_INVALID_ARGUMENT;
  const lpd_state *table = &model->states[state];
  const lpd_state_info found = {.name = table->name,
                                .kind = (lpd_state_kind)table->kind,
                                .dtype = (uint8_t)table->dtype,
                                .rank = (uint8_t)table->rank,
                                .dims = table->dims};
  return info && lpd_write_struct(info, &found, sizeof found) ? LPD_OK : LPD_INVALID_ARGUMENT;
}

/* Is it a tensor in host memory, of the state's type and extents? */
static lpd_status check(lpd_instance *instance, int index, const lpd_tensor *given, lpd_tensor *tensor) {
  const lpd_model *model = instance->model;
  if (index < 0 || (uint32_t)index >= model->state_count)
    return lpd_fail(instance, LPD_INVALID_ARGUMENT, "no state %d", index);
  const lpd_state *state = &model->states[index];
  if (!given || !lpd_read_struct(tensor, sizeof *tensor, sizeof *tensor, given))
    return lpd_fail(instance, LPD_INVALID_ARGUMENT, "state '%.80s': tensor is null or its size is not set",
                    state->name);
  if (tensor->device || tensor->strides || !tensor->data)
    return lpd_fail(instance, LPD_INVALID_ARGUMENT, "state '%.80s': not dense memory of the host", state->name);
  if (tensor->dtype != state->dtype)
    return lpd_fail(instance, LPD_WRONG_INPUT, "state '%.80s': element type is %s, expected %s", state->name,
                    lpd_type_name(tensor->dtype), lpd_type_name(state->dtype));
  if (tensor->rank != state->rank)
    return lpd_fail(instance, LPD_WRONG_INPUT, "state '%.80s': rank is %d, expected %u", state->name, tensor->rank,
                    state->rank);
  for (uint32_t i = 0; i < state->rank; ++i)
    if (!tensor->dims || tensor->dims[i] != state->dims[i])
      return lpd_fail(instance, LPD_WRONG_INPUT, "state '%.80s': extent %u is %lld, expected %lld", state->name, i,
                      tensor->dims ? (long long)tensor->dims[i] : -1LL, (long long)state->dims[i]);
  if (tensor->bytes < state->bytes)
    return lpd_fail(instance, LPD_WRONG_INPUT, "state '%.80s': %lld bytes of memory, its extents need %lld",
                    state->name, (long long)tensor->bytes, (long long)state->bytes);
  return LPD_OK;
}

static lpd_status transfer(lpd_instance *instance, int index, const lpd_tensor *given, enum lpd_way way) {
  if (!instance) return LPD_INVALID_ARGUMENT;
  if (instance->broken) return instance->broken;
  instance->error[0] = 0;
  lpd_tensor tensor;
  lpd_status status = check(instance, index, given, &tensor);
  if (!status && instance->driver) status = instance->driver->enter(instance);
  if (status) return status;
  status = lpd_catch_up(instance);
  if (!status && !(status = lpd_provide_states(instance))) {
    const lpd_state *state = &instance->model->states[index];
    void *seen = (char *)instance->states.data + state->offset;
    if (way == LPD_TO_DEVICE)
      status = copy(instance, seen, tensor.data, state->bytes, way);
    else
      status = copy(instance, tensor.data, seen, state->bytes, way);
    if (!status && instance->driver) status = instance->driver->settle(instance, -1);
  }
  if (status && instance->driver) instance->driver->wait(instance);
  if (instance->driver) instance->driver->leave(instance);
  return status;
}

lpd_status lpd_state_get(lpd_instance *instance, int state, const lpd_tensor *tensor) {
  return transfer(instance, state, tensor, LPD_FROM_DEVICE);
}

lpd_status lpd_state_set(lpd_instance *instance, int state, const lpd_tensor *tensor) {
  return transfer(instance, state, tensor, LPD_TO_DEVICE);
}
