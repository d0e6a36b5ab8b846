/* Memory of the device, and what kernels see of the caller's tensors: those in the device's memory as they lie there,
 * those in the host's as a copy (a slot's mirror), brought there before a run and back after it. Strings stay with the
 * host, whose functions alone read them. All copies are in order with the kernels, in the instance's stream. */
#include <stdio.h>

#include "cuda.h"

static CUdeviceptr address_of(const void *memory) { return (CUdeviceptr)(uintptr_t)memory; }

lpd_status lpd_cuda_allocate(lpd_instance *instance, const lpd_cuda_model *shared, int64_t bytes, const char *what,
                             CUdeviceptr *out) {
  const CUresult result = lpd_cu.cuMemAlloc_v2(out, (size_t)bytes);
  if (result == CUDA_SUCCESS) return LPD_OK;
  char text[240];
  snprintf(text, sizeof text, "taking %lld bytes of device %d for %.100s", (long long)bytes, shared->ordinal, what);
  if (result != CUDA_ERROR_OUT_OF_MEMORY) return lpd_cuda_fail(instance, result, text);
  size_t left = 0, total = 0;
  lpd_cu.cuMemGetInfo_v2(&left, &total);
  return lpd_fail(instance, LPD_OUT_OF_MEMORY,
                  "no memory for %.100s on device %d (%s): %lld bytes, and %zu of %zu are free", what, shared->ordinal,
                  shared->name, (long long)bytes, left, total);
}

lpd_status lpd_cuda_take(lpd_instance *instance, int64_t bytes, const char *what, void **memory) {
  CUdeviceptr address = 0;
  const lpd_status status = lpd_cuda_allocate(instance, lpd_cuda_of(instance)->shared, bytes, what, &address);
  *memory = (void *)(uintptr_t)address;
  return status;
}

/* Kernels that were started may use it still. */
void lpd_cuda_give(lpd_instance *instance, void *memory) {
  if (!lpd_cuda_of(instance)->entered) return;
  lpd_cu.cuStreamSynchronize(lpd_cuda_of(instance)->stream);
  lpd_cu.cuMemFree_v2(address_of(memory));
}

lpd_status lpd_cuda_copy(lpd_instance *instance, void *to, const void *from, int64_t bytes, enum lpd_way way) {
  const CUstream stream = lpd_cuda_of(instance)->stream;
  if (bytes == 0) return LPD_OK;
  switch (way) {
    case LPD_TO_DEVICE:
      return lpd_cuda_check(instance, lpd_cu.cuMemcpyHtoDAsync_v2(address_of(to), from, (size_t)bytes, stream),
                            "copying to the device");
    case LPD_FROM_DEVICE:
      return lpd_cuda_check(instance, lpd_cu.cuMemcpyDtoHAsync_v2(to, address_of(from), (size_t)bytes, stream),
                            "copying from the device");
    case LPD_WITHIN_DEVICE:
      break;
  }
  return lpd_cuda_check(instance, lpd_cu.cuMemcpyDtoDAsync_v2(address_of(to), address_of(from), (size_t)bytes, stream),
                        "copying within the device");
}

lpd_status lpd_cuda_clear(lpd_instance *instance, void *to, int64_t bytes) {
  if (bytes == 0) return LPD_OK;
  return lpd_cuda_check(instance,
                        lpd_cu.cuMemsetD8Async(address_of(to), 0, (size_t)bytes, lpd_cuda_of(instance)->stream),
                        "clearing memory of the device");
}

/* By value: nobody need keep it. */
lpd_status lpd_cuda_put_integer(lpd_instance *instance, void *to, int64_t value) {
  const CUstream stream = lpd_cuda_of(instance)->stream;
  const uint64_t bits = (uint64_t)value;
  CUresult result = lpd_cu.cuMemsetD32Async(address_of(to), (unsigned)bits, 1, stream);
  if (!result) result = lpd_cu.cuMemsetD32Async(address_of(to) + 4, (unsigned)(bits >> 32), 1, stream);
  return lpd_cuda_check(instance, result, "writing to the device");
}

/* --- the caller's tensors ---------------------------------------------------------------------------------------- */

static int is_mirrored(const lpd_instance *instance, uint32_t slot) {
  return !instance->slots[slot].device && lpd_signature_of(instance->model, (int)slot)->dtype != LPD_STRING_TYPE;
}

static int64_t bytes_of(const lpd_instance *instance, uint32_t slot) {
  const lpd_signature *signature = lpd_signature_of(instance->model, (int)slot);
  return lpd_tensor_bytes(signature->dtype, signature->rank, instance->slots[slot].dims);
}

enum { kAlignment = 16 }; /* what kernels may load at once */

/* What the driver knows of an address: whose memory it is in, and where that begins and ends. */
typedef struct {
  unsigned type;
  int ordinal;
  CUdeviceptr begin;
  size_t bytes;
} known_memory;

static CUresult look_up(CUdeviceptr address, known_memory *found) {
  CUresult result = lpd_cu.cuPointerGetAttribute(&found->type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, address);
  if (!result) result = lpd_cu.cuPointerGetAttribute(&found->ordinal, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, address);
  if (!result) result = lpd_cu.cuPointerGetAttribute(&found->begin, CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, address);
  if (!result) result = lpd_cu.cuPointerGetAttribute(&found->bytes, CU_POINTER_ATTRIBUTE_RANGE_SIZE, address);
  return result;
}

lpd_status lpd_cuda_check_memory(lpd_instance *instance, int slot, const lpd_tensor *tensor) {
  const lpd_cuda_model *shared = lpd_cuda_of(instance)->shared;
  char text[LPD_SLOT_TEXT];
  if (address_of(tensor->data) % kAlignment != 0)
    return lpd_fail(instance, LPD_INVALID_ARGUMENT, "%s: its data is not aligned to %d bytes",
                    lpd_slot_text(instance->model, slot, text), kAlignment);
  const lpd_status status = lpd_cuda.enter(instance);
  if (status) return status;
  known_memory found = {0};
  const CUresult result = look_up(address_of(tensor->data), &found);
  lpd_cuda.leave(instance);
  if (result || found.type != CU_MEMORYTYPE_DEVICE || found.ordinal != shared->ordinal)
    return lpd_fail(instance, LPD_INVALID_ARGUMENT, "%s: its data is no memory of device %d (%s)",
                    lpd_slot_text(instance->model, slot, text), shared->ordinal, shared->name);
  const CUdeviceptr left = found.begin + found.bytes - address_of(tensor->data);
  if ((uint64_t)tensor->bytes <= left) return LPD_OK;
  return lpd_fail(instance, LPD_INVALID_ARGUMENT, "%s: %lld bytes of memory, of which device %d (%s) has %llu there",
                  lpd_slot_text(instance->model, slot, text), (long long)tensor->bytes, shared->ordinal, shared->name,
                  (unsigned long long)left);
}

lpd_status lpd_cuda_mirror(lpd_instance *instance, uint32_t number, int64_t bytes) {
  lpd_slot *slot = &instance->slots[number];
  slot->seen = slot->data;
  if (!is_mirrored(instance, number)) return LPD_OK;
  if (bytes > slot->mirror.bytes) {
    char text[LPD_SLOT_TEXT];
    lpd_release(instance, &slot->mirror, LPD_SEEN);
    const lpd_status status =
        lpd_cuda_take(instance, bytes, lpd_slot_text(instance->model, (int)number, text), &slot->mirror.data);
    if (status) return status;
    slot->mirror.bytes = bytes;
  }
  slot->seen = slot->mirror.data;
  return LPD_OK;
}

/* --- a run's borders --------------------------------------------------------------------------------------------- */

/* Copies those of an entry's tensors that lie in host memory: inputs to the device, or outputs from it. */
static lpd_status copy_tensors(lpd_instance *instance, uint32_t entry, enum lpd_way way) {
  const lpd_model *model = instance->model;
  const lpd_entry *table = &model->entries[entry];
  lpd_status status = LPD_OK;
  for (uint32_t i = 0; i < table->slot_count && !status; ++i) {
    const uint32_t number = model->integer_slots[table->first_slot + i];
    const int is_input = number < model->input_count;
    if (is_input != (way == LPD_TO_DEVICE) || !is_mirrored(instance, number)) continue;
    const lpd_slot *slot = &instance->slots[number];
    status = lpd_cuda_copy(instance, is_input ? slot->seen : slot->data, is_input ? slot->data : slot->seen,
                           bytes_of(instance, number), way);
  }
  return status;
}

lpd_status lpd_cuda_begin(lpd_instance *instance, uint32_t entry) {
  const lpd_cuda_instance *own = lpd_cuda_of(instance);
  const lpd_model *model = instance->model;
  const int64_t bytes = instance->pending ? 0 : model->flag_count * (int64_t)sizeof(int32_t);
  const lpd_status status = lpd_cuda_clear(instance, (void *)(uintptr_t)own->flags, bytes);
  return status ? status : copy_tensors(instance, entry, LPD_TO_DEVICE);
}

lpd_status lpd_cuda_settle(lpd_instance *instance, int entry) {
  const lpd_cuda_instance *own = lpd_cuda_of(instance);
  const lpd_model *model = instance->model;
  lpd_status status = lpd_cuda_copy(instance, instance->flags, (const void *)(uintptr_t)own->flags,
                                    model->flag_count * (int64_t)sizeof(int32_t), LPD_FROM_DEVICE);
  if (!status && entry >= 0) status = copy_tensors(instance, (uint32_t)entry, LPD_FROM_DEVICE);
  if (status) return status;
  return lpd_cuda_check(instance, lpd_cu.cuStreamSynchronize(own->stream), "running the model");
}
