/* Sums over the ranks of data-parallel training, of which only products compiled for it hold this part. The caller's
 * reducer works on a bucket of gradients where the kernels wrote it, while they go on with the backward pass; what is
 * in a device's memory is worked on in a copy of the host's. Test: test/train/parallel.py. */
#include <string.h>

#include "internal.h"

static lpd_status failed(const lpd_call *call, const char *what) {
  return lpd_fail(call->instance, LPD_SYSTEM, "%.400s: %s a sum over %d ranks failed", call->origin, what,
                  (int)call->instance->reducer.ranks);
}

static int64_t bytes_of(const lpd_call *call) {
  return call->integers[0] * (lpd_type_bits((uint32_t)call->integers[1]) / 8);
}

/* Is what kernels see elsewhere than what the reducer does? */
static int is_copied(const lpd_instance *instance) { return instance->driver && !instance->reducer.on_device; }

/* Where the reducer finds it: operands that are copies of a device's do not outlive the call. */
static void *in_flight(const lpd_call *call) {
  return is_copied(call->instance) ? call->instance->flights[call->integers[2]].data : call->operands[0];
}

/* Integers: elements, code of their type, number. */
lpd_status lpd_start_reduction(const lpd_call *call) {
  lpd_instance *instance = call->instance;
  const lpd_reducer *reducer = &instance->reducer;
  if (!reducer->start) return LPD_OK;
  if (is_copied(instance)) {
    lpd_block *copy = &instance->flights[call->integers[2]];
    const lpd_status status = lpd_grow(instance, copy, LPD_ON_HOST, bytes_of(call), 0, "gradients");
    if (status) return status;
    memcpy(copy->data, call->operands[0], (size_t)bytes_of(call));
  }
  if (reducer->start(reducer->self, in_flight(call), call->integers[0], (uint8_t)call->integers[1]))
    return failed(call, "starting");
  return LPD_OK;
}

lpd_status lpd_finish_reduction(const lpd_call *call) {
  const lpd_instance *instance = call->instance;
  const lpd_reducer *reducer = &instance->reducer;
  if (!reducer->start) return LPD_OK;
  if (reducer->finish(reducer->self, in_flight(call))) return failed(call, "finishing");
  if (is_copied(instance)) memcpy(call->operands[0], in_flight(call), (size_t)bytes_of(call));
  return LPD_OK;
}

lpd_status lpd_reduction_rank(const lpd_call *call) {
  *(int64_t *)call->operands[1] = call->instance->reducer.rank;
  return LPD_OK;
}

void lpd_settle_reductions(lpd_instance *instance) {
  if (instance->reducer.start) instance->reducer.finish(instance->reducer.self, NULL);
}
