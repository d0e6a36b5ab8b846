/* What the instances of one model on one device share: the device's primary context, the modules, the functions in
 * them and the weights. The first instance loads it, the last one unloads it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda.h"

static lpd_cuda_model *models; /* under the lock */

/* --- the device -------------------------------------------------------------------------------------------------- */

static lpd_status find_device(lpd_instance *instance, lpd_cuda_model *shared) {
  int count = 0, major = 0, minor = 0;
  lpd_status status = lpd_cuda_check(instance, lpd_cu.cuDeviceGetCount(&count), "counting devices");
  if (status) return status;
  if (shared->ordinal >= count)
    return lpd_fail(instance, LPD_NO_DEVICE, "no CUDA device %d: the driver knows of %d, counted from 0",
                    shared->ordinal, count);
  status = lpd_cuda_check(instance, lpd_cu.cuDeviceGet(&shared->device, shared->ordinal), "finding the device");
  if (status) return status;
  if (lpd_cu.cuDeviceGetName(shared->name, sizeof shared->name, shared->device)) strcpy(shared->name, "no name");
  CUresult result = lpd_cu.cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, shared->device);
  if (!result)
    result = lpd_cu.cuDeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, shared->device);
  shared->capability = (uint32_t)(10 * major + minor);
  if (!result)
    result =
        lpd_cu.cuDeviceGetAttribute(&shared->multiprocessors, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, shared->device);
  return lpd_cuda_check(instance, result, "asking for the device's properties");
}

/* --- its code ---------------------------------------------------------------------------------------------------- */

/* With the device known. */
static int has_code(const lpd_model *model, const lpd_cuda_model *shared) {
  return model->device_code->kernel_count == 0 || lpd_cuda_pick_image(model->device_code, shared->capability);
}

int lpd_cuda_suits(const lpd_model *model, const lpd_options *options) {
  lpd_cuda_model device = {.ordinal = options->cuda_device};
  lpd_cuda_lock();
  lpd_status status = lpd_cuda_open_library(NULL, 0);
  lpd_cuda_unlock();
  if (!status) status = find_device(NULL, &device);
  return status || has_code(model, &device);
}

static lpd_status no_code(lpd_instance *instance, const lpd_model *const *levels, const lpd_cuda_model *shared) {
  char held[256] = "";
  for (; *levels; ++levels)
    for (uint32_t i = 0; i < (*levels)->device_code->image_count; ++i)
      if (strlen(held) + 24 < sizeof held)
        snprintf(held + strlen(held), 24, "%s%.20s", *held ? ", " : "", (*levels)->device_code->images[i].arch);
  return lpd_fail(instance, LPD_NO_DEVICE_CODE, "device %d (%s) is of capability %u.%u, the program holds code for %s",
                  shared->ordinal, shared->name, shared->capability / 10, shared->capability % 10, held);
}

/* Cubins are for drivers of the major version of the CUDA that made them, and later ones; PTX for those of its version.
 * Of the image that asks for least; 0: there is none. */
static int driver_for_images(const lpd_model *const *levels) {
  int least = 0;
  for (; *levels; ++levels)
    for (uint32_t i = 0; i < (*levels)->device_code->image_count; ++i) {
      const lpd_device_image *image = &(*levels)->device_code->images[i];
      const int made_by = (int)image->made_by, needs = image->is_ptx ? made_by : made_by / 1000 * 1000;
      if (least == 0 || needs < least) least = needs;
    }
  return least;
}

static lpd_status image_failed(lpd_instance *instance, const lpd_cuda_model *shared, CUresult result) {
  const lpd_device_image *image = shared->image;
  const int made_by = (int)image->made_by;
  char what[240];
  int version = 0;
  lpd_cu.cuDriverGetVersion(&version);
  snprintf(what, sizeof what,
           "device %d (%s) does not take the code for %.20s, made by CUDA %d.%d, the driver is %d.%d", shared->ordinal,
           shared->name, image->arch, made_by / 1000, made_by % 1000 / 10, version / 1000, version % 1000 / 10);
  const lpd_status status = lpd_cuda_fail(instance, result, what);
  const int too_old = !image->is_ptx && version / 1000 < made_by / 1000;
  return status == LPD_NO_DEVICE_CODE && too_old ? LPD_DRIVER_TOO_OLD : status;
}

static lpd_status load_modules(lpd_instance *instance, lpd_cuda_model *shared, const char *unpacked) {
  const lpd_device_image *image = shared->image;
  shared->modules = calloc(image->module_count, sizeof *shared->modules);
  if (!shared->modules) return lpd_fail(instance, LPD_OUT_OF_MEMORY, "no memory for %u modules", image->module_count);
  for (uint32_t i = 0; i < image->module_count; ++i) {
    const CUresult result = lpd_cu.cuModuleLoadData(&shared->modules[i], unpacked + image->modules[i]);
    if (result) return image_failed(instance, shared, result);
    shared->module_count = i + 1;
  }
  return LPD_OK;
}

static lpd_status load_image(lpd_instance *instance, lpd_cuda_model *shared) {
  const lpd_device_image *best = lpd_cuda_pick_image(shared->model->device_code, shared->capability);
  if (shared->model->device_code->kernel_count == 0) return LPD_OK;
  shared->image = best;
  shared->starts_early = best->capability >= 90 && lpd_cu.cuGraphAddDependencies_v2 != NULL;
  int damaged;
  char *unpacked = lpd_cuda_unpack_image(best, &damaged);
  if (damaged) return lpd_fail(instance, LPD_NO_DEVICE_CODE, "the program's code for %.20s is damaged", best->arch);
  if (!unpacked)
    return lpd_fail(instance, LPD_OUT_OF_MEMORY, "no memory for code of %lld bytes", (long long)best->plain_bytes);
  const lpd_status status = load_modules(instance, shared, unpacked);
  free(unpacked); /* the driver has copied it */
  return status;
}

static lpd_status find_function(lpd_instance *instance, const lpd_cuda_model *shared, const lpd_device_kernel *kernel,
                                CUfunction *function) {
  char what[96];
  snprintf(what, sizeof what, "finding the kernel %.60s", kernel->name);
  return lpd_cuda_check(instance, lpd_cu.cuModuleGetFunction(function, shared->modules[kernel->module], kernel->name),
                        what);
}

/* More than what any block may have must be asked for. */
static lpd_status allow_shared(lpd_instance *instance, const lpd_cuda_model *shared, const lpd_device_kernel *kernel,
                               CUfunction function) {
  enum { kAlways = 48 << 10 };
  if (kernel->shared_bytes <= kAlways) return LPD_OK;
  int most = kAlways;
  CUresult result =
      lpd_cu.cuDeviceGetAttribute(&most, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, shared->device);
  if (!result && kernel->shared_bytes > most)
    return lpd_fail(instance, LPD_NO_DEVICE_CODE,
                    "device %d (%s) has %d bytes of shared memory for a block, the kernel %.60s needs %lld",
                    shared->ordinal, shared->name, most, kernel->name, (long long)kernel->shared_bytes);
  if (!result)
    result =
        lpd_cu.cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, (int)kernel->shared_bytes);
  return lpd_cuda_check(instance, result, "asking for shared memory");
}

static lpd_status load_functions(lpd_instance *instance, lpd_cuda_model *shared) {
  const lpd_device_code *code = shared->model->device_code;
  lpd_status status = LPD_OK;
  for (uint32_t i = 0; i < code->kernel_count && !status; ++i) {
    if (!code->kernels[i].name) continue; /* the host's */
    status = find_function(instance, shared, &code->kernels[i], &shared->functions[i]);
    if (!status) status = allow_shared(instance, shared, &code->kernels[i], shared->functions[i]);
  }
  return status;
}

/* --- weights ----------------------------------------------------------------------------------------------------- */

/* In a stream of their own: the default one would wait for the caller's work, and hold it up. */
static lpd_status load_weights(lpd_instance *instance, lpd_cuda_model *shared) {
  const lpd_model *model = shared->model;
  const int64_t bytes = model->read_weights_bytes;
  if (bytes == 0) return LPD_OK;
  const lpd_status status = lpd_cuda_allocate(instance, shared, bytes, "the model's weights", &shared->weights);
  if (status) return status;
  CUstream stream;
  CUresult result = lpd_cu.cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING);
  if (result) return lpd_cuda_fail(instance, result, "making a stream");
  result = lpd_cu.cuMemcpyHtoDAsync_v2(shared->weights, model->weights, (size_t)bytes, stream);
  if (!result) result = lpd_cu.cuStreamSynchronize(stream);
  lpd_cu.cuStreamDestroy_v2(stream);
  return lpd_cuda_check(instance, result, "copying the weights");
}

/* --- all of it --------------------------------------------------------------------------------------------------- */

/* With its context current. */
static void unload_code(lpd_cuda_model *shared) {
  if (shared->weights) lpd_cu.cuMemFree_v2(shared->weights);
  for (uint32_t m = 0; m < shared->module_count; ++m) lpd_cu.cuModuleUnload(shared->modules[m]);
}

static void leave_context(void) {
  CUcontext none;
  lpd_cu.cuCtxPopCurrent_v2(&none);
}

/* The context goes with its last user, and with it what the device holds. */
static void free_tables(lpd_cuda_model *shared) {
  if (shared->context) lpd_cu.cuDevicePrimaryCtxRelease_v2(shared->device);
  free(shared->modules);
  free(shared->functions);
  free(shared);
}

static lpd_status enter_context(lpd_instance *instance, lpd_cuda_model *shared) {
  CUcontext context = NULL;
  lpd_status status = lpd_cuda_check(instance, lpd_cu.cuDevicePrimaryCtxRetain(&context, shared->device),
                                     "making the device's context");
  if (status) return status;
  status = lpd_cuda_check(instance, lpd_cu.cuCtxPushCurrent_v2(context), "entering the device's context");
  if (status)
    lpd_cu.cuDevicePrimaryCtxRelease_v2(shared->device);
  else
    shared->context = context;
  return status;
}

static lpd_status load(lpd_instance *instance, const lpd_model *const *levels, lpd_cuda_model *shared) {
  const lpd_device_code *code = shared->model->device_code;
  shared->functions = calloc(code->kernel_count + 1, sizeof *shared->functions);
  if (!shared->functions) return lpd_fail(instance, LPD_OUT_OF_MEMORY, "no memory for %u kernels", code->kernel_count);
  lpd_status status = find_device(instance, shared);
  if (!status && !has_code(shared->model, shared)) status = no_code(instance, levels, shared);
  if (!status) status = enter_context(instance, shared);
  if (!status) status = load_image(instance, shared);
  if (!status) status = load_functions(instance, shared);
  return status ? status : load_weights(instance, shared);
}

static lpd_status take(lpd_instance *instance, const lpd_model *const *levels, int ordinal, lpd_cuda_model **out) {
  lpd_status status = lpd_cuda_open_library(instance, driver_for_images(levels));
  if (status) return status;
  for (lpd_cuda_model *found = models; found; found = found->next)
    if (found->model == instance->model && found->ordinal == ordinal) {
      status = lpd_cuda_check(instance, lpd_cu.cuCtxPushCurrent_v2(found->context), "entering the device's context");
      if (status) return status;
      ++found->instances;
      *out = found;
      return LPD_OK;
    }
  lpd_cuda_model *shared = calloc(1, sizeof *shared);
  if (!shared) return lpd_fail(instance, LPD_OUT_OF_MEMORY, "no memory for a model's tables");
  *shared = (lpd_cuda_model){.model = instance->model, .ordinal = ordinal, .instances = 1, .next = models};
  status = load(instance, levels, shared);
  if (status) {
    if (shared->context) unload_code(shared), leave_context();
    return free_tables(shared), status;
  }
  *out = models = shared;
  return LPD_OK;
}

lpd_status lpd_cuda_take_model(lpd_instance *instance, const lpd_model *const *levels, int ordinal,
                               lpd_cuda_model **out) {
  lpd_cuda_lock();
  const lpd_status status = take(instance, levels, ordinal, out);
  lpd_cuda_unlock();
  return status;
}

void lpd_cuda_give_model(lpd_cuda_model *shared, int entered) {
  lpd_cuda_lock();
  const int is_last = --shared->instances == 0;
  if (entered && is_last) unload_code(shared);
  if (entered) leave_context();
  if (is_last) {
    lpd_cuda_model **link = &models;
    while (*link != shared) link = &(*link)->next;
    *link = shared->next;
    free_tables(shared);
  }
  lpd_cuda_unlock();
}

/* Asked only here: a driver that loads kernels when they are first needed would load each of them to answer. */
void lpd_cuda_tell_needs(const lpd_instance *instance, uint32_t kernel, lpd_step_profile *profile) {
  const lpd_cuda_model *shared = lpd_cuda_of(instance)->shared;
  int registers = 0, local_bytes = 0, shared_bytes = 0;
  CUcontext none;
  if (lpd_cu.cuCtxPushCurrent_v2(shared->context)) return;
  const CUfunction function = shared->functions[kernel];
  CUresult result = lpd_cu.cuFuncGetAttribute(&registers, CU_FUNC_ATTRIBUTE_NUM_REGS, function);
  if (!result) result = lpd_cu.cuFuncGetAttribute(&local_bytes, CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES, function);
  if (!result) result = lpd_cu.cuFuncGetAttribute(&shared_bytes, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, function);
  lpd_cu.cuCtxPopCurrent_v2(&none);
  if (result) return; /* 0: nobody knows */
  profile->registers = registers;
  profile->local_bytes = local_bytes;
  profile->shared_bytes = shared_bytes + (int)shared->model->device_code->kernels[kernel].shared_bytes;
}
