/* Binding: a caller's tensor is checked against the signature as far as that is known without the other tensors
 * (type, rank, constant extents, size, alignment); what ties tensors together is checked when they are first used. */
#include <stdio.h>
#include <string.h>

#include "internal.h"

enum { kString = 8 };

/* By ONNX's TensorProto.DataType. */
static const struct {
  const char *name;
  uint8_t bits;
} kTypes[] = {{"undefined", 0},      {"float32", 32},  {"uint8", 8},        {"int8", 8},           {"uint16", 16},
              {"int16", 16},         {"int32", 32},    {"int64", 64},       {"string", 128},       {"bool", 8},
              {"float16", 16},       {"float64", 64},  {"uint32", 32},      {"uint64", 64},        {"complex64", 64},
              {"complex128", 128},   {"bfloat16", 16}, {"float8e4m3fn", 8}, {"float8e4m3fnuz", 8}, {"float8e5m2", 8},
              {"float8e5m2fnuz", 8}, {"uint4", 4},     {"int4", 4},         {"float4e2m1", 4},     {"float8e8m0", 8},
              {"uint2", 2},          {"int2", 2}};

const char *lpd_type_name(uint32_t dtype) {
  return dtype < sizeof kTypes / sizeof *kTypes ? kTypes[dtype].name : "unknown";
}

unsigned lpd_type_bits(uint32_t dtype) { return dtype < sizeof kTypes / sizeof *kTypes ? kTypes[dtype].bits : 0; }

const lpd_signature *lpd_signature_of(const lpd_model *model, int slot) {
  if (slot < 0 || (uint32_t)slot >= model->input_count + model->output_count) return NULL;
  const uint32_t index = (uint32_t)slot;
  return index < model->input_count ? &model->inputs[index] : &model->outputs[index - model->input_count];
}

const char *lpd_slot_text(const lpd_model *model, int slot, char text[LPD_SLOT_TEXT]) {
  snprintf(text, LPD_SLOT_TEXT, "%s '%.80s'", (uint32_t)slot < model->input_count ? "input" : "output",
           lpd_signature_of(model, slot)->name);
  return text;
}

int64_t lpd_tensor_bytes(uint32_t dtype, uint32_t rank, const int64_t *dims) {
  int64_t bits = lpd_type_bits(dtype), padded;
  for (uint32_t i = 0; i < rank; ++i)
    if (dims[i] < 0 || __builtin_mul_overflow(bits, dims[i], &bits)) return -1;
  return __builtin_add_overflow(bits, 7, &padded) ? -1 : padded / 8;
}

static int is_dense(const lpd_tensor *tensor) {
  int64_t stride = 1;
  for (int i = tensor->rank - 1; i >= 0; --i) {
    if (tensor->dims[i] != 1 && tensor->strides[i] != stride) return 0;
    if (__builtin_mul_overflow(stride, tensor->dims[i], &stride)) return 0;
  }
  return 1;
}

static lpd_status check_extents(lpd_instance *instance, int slot, const lpd_tensor *tensor) {
  const lpd_signature *signature = lpd_signature_of(instance->model, slot);
  char text[LPD_SLOT_TEXT];
  if (tensor->rank != signature->rank)
    return lpd_fail(instance, LPD_WRONG_INPUT, "%s: rank is %d, expected %u",
                    lpd_slot_text(instance->model, slot, text), tensor->rank, signature->rank);
  for (uint32_t i = 0; i < signature->rank; ++i) {
    const int64_t expected = signature->static_dims[i];
    if (tensor->dims[i] < 0)
      return lpd_fail(instance, LPD_WRONG_INPUT, "%s: extent %u is %lld", lpd_slot_text(instance->model, slot, text), i,
                      (long long)tensor->dims[i]);
    if (expected >= 0 && tensor->dims[i] != expected)
      return lpd_fail(instance, LPD_WRONG_INPUT, "%s: extent %u is %lld, expected %lld",
                      lpd_slot_text(instance->model, slot, text), i, (long long)tensor->dims[i], (long long)expected);
  }
  const int64_t bytes = lpd_tensor_bytes(signature->dtype, signature->rank, tensor->dims);
  if (bytes < 0)
    return lpd_fail(instance, LPD_LIMIT, "%s: its size overflows", lpd_slot_text(instance->model, slot, text));
  if (tensor->data && tensor->bytes < bytes)
    return lpd_fail(instance, LPD_WRONG_INPUT, "%s: %lld bytes of memory, its extents need %lld",
                    lpd_slot_text(instance->model, slot, text), (long long)tensor->bytes, (long long)bytes);
  if (tensor->strides && !is_dense(tensor))
    return lpd_fail(instance, LPD_WRONG_INPUT, "%s: strides are not dense row-major",
                    lpd_slot_text(instance->model, slot, text));
  if (!tensor->data && bytes > 0 && (uint32_t)slot < instance->model->input_count)
    return lpd_fail(instance, LPD_INVALID_ARGUMENT, "%s: data is null", lpd_slot_text(instance->model, slot, text));
  return LPD_OK;
}

static lpd_status check_device(lpd_instance *instance, int slot, const lpd_tensor *tensor, const char *text) {
  const int strings = lpd_signature_of(instance->model, slot)->dtype == LPD_STRING_TYPE;
  if (tensor->device == 0) return LPD_OK;
  if (!instance->driver || strings || tensor->device != 1)
    return lpd_fail(instance, LPD_INVALID_ARGUMENT, "%s: not in host memory", text);
  return tensor->data ? instance->driver->check_memory(instance, slot, tensor) : LPD_OK;
}

static lpd_status check_tensor(lpd_instance *instance, int slot, const lpd_tensor *tensor) {
  const lpd_signature *signature = lpd_signature_of(instance->model, slot);
  const int is_input = (uint32_t)slot < instance->model->input_count;
  char text[LPD_SLOT_TEXT];
  lpd_slot_text(instance->model, slot, text);
  lpd_status status = check_device(instance, slot, tensor, text);
  if (status) return status;
  if (tensor->dtype != signature->dtype)
    return lpd_fail(instance, LPD_WRONG_INPUT, "%s: element type is %s, expected %s", text,
                    lpd_type_name(tensor->dtype), lpd_type_name(signature->dtype));
  const unsigned bytes = lpd_type_bits(signature->dtype) / 8, alignment = bytes > 8 ? 8 : bytes;
  if (alignment > 1 && (uintptr_t)tensor->data % alignment != 0)
    return lpd_fail(instance, LPD_WRONG_INPUT, "%s: data is not aligned to its elements of %u bytes", text, alignment);
  if (tensor->dims || (signature->rank == 0 && tensor->rank == 0)) return check_extents(instance, slot, tensor);
  if (is_input || tensor->strides) return lpd_fail(instance, LPD_INVALID_ARGUMENT, "%s: dims is null", text);
  return LPD_OK;
}

/* Strings of an output are gone when the next run begins. */
static lpd_status check_strings(lpd_instance *instance, int slot, const lpd_tensor *tensor) {
  const lpd_model *model = instance->model;
  if ((uint32_t)slot >= model->input_count) return LPD_OK;
  for (uint32_t i = model->input_count; i < model->input_count + model->output_count; ++i)
    for (int k = 0; k < 2; ++k) {
      const lpd_block *block = &instance->slots[i].owned[k];
      const char *owned = block->data, *given = tensor->data;
      char text[LPD_SLOT_TEXT];
      if (owned && given && given >= owned && given < owned + block->bytes)
        return lpd_fail(instance, LPD_WRONG_INPUT, "%s: strings of an output must be copied to be an input",
                        lpd_slot_text(model, slot, text));
    }
  return LPD_OK;
}

/* The run forgets the texts of the one before. */
lpd_status lpd_check_own_strings(lpd_instance *instance) {
  const lpd_model *model = instance->model;
  for (uint32_t i = 0; i < model->input_count && instance->strings.texts; ++i) {
    const lpd_slot *slot = &instance->slots[i];
    if (model->inputs[i].dtype != LPD_STRING_TYPE || !slot->bound) continue;
    const int64_t count =
        lpd_tensor_bytes(LPD_STRING_TYPE, model->inputs[i].rank, slot->dims) / (int64_t)sizeof(lpd_string);
    const lpd_string *strings = slot->data;
    char text[LPD_SLOT_TEXT];
    for (int64_t k = 0; k < count; ++k)
      if (lpd_strings_hold(instance, strings[k].data))
        return lpd_fail(instance, LPD_WRONG_INPUT, "%s: strings of an output must be copied to be an input",
                        lpd_slot_text(model, (int)i, text));
  }
  return LPD_OK;
}

static void keep_input(lpd_instance *instance, lpd_slot *slot, const lpd_tensor *tensor, uint32_t rank) {
  if (slot->bound && (rank == 0 || memcmp(slot->dims, tensor->dims, rank * sizeof(int64_t)) == 0)) return;
  if (rank > 0) memcpy(slot->dims, tensor->dims, rank * sizeof(int64_t));
  instance->dims_known = 0;
}

lpd_status lpd_bind(lpd_instance *instance, int slot, const lpd_tensor *given) {
  if (!instance) return LPD_INVALID_ARGUMENT;
  if (instance->broken) return instance->broken;
  instance->error[0] = 0;
  const lpd_signature *signature = lpd_signature_of(instance->model, slot);
  if (!signature) return lpd_fail(instance, LPD_INVALID_ARGUMENT, "no slot %d", slot);
  if (!given) return lpd_fail(instance, LPD_INVALID_ARGUMENT, "tensor is null");
  lpd_tensor known;
  const lpd_tensor *tensor = &known;
  char text[LPD_SLOT_TEXT];
  if (!lpd_read_struct(&known, sizeof known, sizeof known, given))
    return lpd_fail(instance, LPD_INVALID_ARGUMENT, "%s: tensor struct of %u bytes, this library knows %u",
                    lpd_slot_text(instance->model, slot, text), given->size, (unsigned)sizeof known);
  lpd_status status = check_tensor(instance, slot, tensor);
  if (!status && signature->dtype == kString) status = check_strings(instance, slot, tensor);
  if (status) return status;

  lpd_slot *kept = &instance->slots[slot];
  if ((uint32_t)slot < instance->model->input_count) {
    keep_input(instance, kept, tensor, signature->rank);
    kept->bound = 1;
  } else {
    kept->bound = tensor->data != NULL;
    kept->has_wanted = tensor->dims != NULL;
    if (kept->has_wanted) memcpy(kept->wanted, tensor->dims, signature->rank * sizeof(int64_t));
    instance->has_run = 0;
  }
  kept->data = tensor->data;
  kept->device = (uint8_t)tensor->device;
  kept->bytes = tensor->bytes;
  ++instance->bindings_version;
  return LPD_OK;
}

lpd_status lpd_output(lpd_instance *instance, int slot, lpd_tensor *tensor) {
  if (!instance) return LPD_INVALID_ARGUMENT;
  if (instance->broken) return instance->broken;
  instance->error[0] = 0;
  const lpd_signature *signature = lpd_signature_of(instance->model, slot);
  if (!signature) return lpd_fail(instance, LPD_INVALID_ARGUMENT, "no slot %d", slot);
  char text[LPD_SLOT_TEXT];
  lpd_slot_text(instance->model, slot, text);
  const lpd_slot *kept = &instance->slots[slot];
  const int is_input = (uint32_t)slot < instance->model->input_count;
  if (is_input && !kept->bound) return lpd_fail(instance, LPD_INVALID_ARGUMENT, "%s is not bound", text);
  if (!is_input && (!instance->has_run || (!kept->data && !kept->owned[0].data)))
    return lpd_fail(instance, LPD_INVALID_ARGUMENT, "%s has no value before a run", text);
  const lpd_tensor found = {.device = kept->device,
                            .data = kept->data,
                            .bytes = lpd_tensor_bytes(signature->dtype, signature->rank, kept->dims),
                            .dtype = (uint8_t)signature->dtype,
                            .rank = (uint8_t)signature->rank,
                            .dims = kept->dims};
  if (tensor && lpd_write_struct(tensor, &found, sizeof found)) return LPD_OK;
  return lpd_fail(instance, LPD_INVALID_ARGUMENT, "%s: tensor is null or its size is not set", text);
}
