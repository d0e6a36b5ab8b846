/* The driver's library, opened when the first instance is made and kept: a product for CUDA can be loaded, and its
 * signature read, on a machine that has none. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "cuda.h"

lpd_cuda_calls lpd_cu;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void lpd_cuda_lock(void) { pthread_mutex_lock(&lock); }
void lpd_cuda_unlock(void) { pthread_mutex_unlock(&lock); }

/* --- errors ------------------------------------------------------------------------------------------------------ */

static lpd_status status_of(CUresult result) {
  switch (result) {
    case CUDA_ERROR_OUT_OF_MEMORY:
      return LPD_OUT_OF_MEMORY;
    case CUDA_ERROR_STUB_LIBRARY:
      return LPD_NO_DRIVER;
    case CUDA_ERROR_INSUFFICIENT_DRIVER:
    case CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER:
      return LPD_DRIVER_TOO_OLD;
    case CUDA_ERROR_NO_DEVICE:
      return LPD_NO_DEVICE;
    case CUDA_ERROR_INVALID_IMAGE:
    case CUDA_ERROR_NO_BINARY_FOR_GPU:
      return LPD_NO_DEVICE_CODE;
    case CUDA_ERROR_UNSUPPORTED_PTX_VERSION:
      return LPD_PTX_TOO_NEW;
    default:
      return LPD_DEVICE_ERROR;
  }
}

lpd_status lpd_cuda_fail(lpd_instance *instance, CUresult result, const char *what) {
  const char *name = NULL;
  if (lpd_cu.cuGetErrorName(result, &name) != CUDA_SUCCESS || !name) name = "an error without a name";
  return lpd_fail(instance, status_of(result), "%.300s: %s (%d)", what, name, result);
}

/* --- opening ----------------------------------------------------------------------------------------------------- */

enum { kLeastVersion = 11040 }; /* of the calls: 1000 * major + 10 * minor */

static lpd_status check_version(lpd_instance *instance, void *handle, int needed) {
  CUresult (*get_version)(int *);
  *(void **)&get_version = dlsym(handle, "cuDriverGetVersion");
  int version = 0;
  if (!get_version || get_version(&version) != CUDA_SUCCESS)
    return lpd_fail(instance, LPD_NO_DRIVER, "libcuda.so.1 is not a CUDA driver: it does not tell its version");
  if (version >= kLeastVersion) return LPD_OK;
  return lpd_fail(instance, LPD_DRIVER_TOO_OLD, "the CUDA driver is of version %d.%d, the program needs %d.%d",
                  version / 1000, version % 1000 / 10, needed / 1000, needed % 1000 / 10);
}

static lpd_status bind_calls(lpd_instance *instance, void *handle, lpd_cuda_calls *calls) {
  calls->handle = handle;
#define BIND(name, parameters)                          \
  if (!(*(void **)&calls->name = dlsym(handle, #name))) \
    return lpd_fail(instance, LPD_DRIVER_TOO_OLD, "the CUDA driver has no call " #name ", which the program needs");
  LPD_CUDA_CALLS(BIND)
#undef BIND
#define BIND(name, parameters) *(void **)&calls->name = dlsym(handle, #name);
  LPD_CUDA_LATER_CALLS(BIND)
#undef BIND
  return LPD_OK;
}

static lpd_status initialise(lpd_instance *instance, const lpd_cuda_calls *calls) {
  const CUresult result = calls->cuInit(0);
  if (result == CUDA_SUCCESS) return LPD_OK;
  const lpd_status status = status_of(result);
  const char *name = NULL;
  if (calls->cuGetErrorName(result, &name) != CUDA_SUCCESS || !name) name = "an error without a name";
  if (status == LPD_NO_DEVICE)
    return lpd_fail(instance, status, "the CUDA driver finds no device: %s (%d)", name, result);
  if (status == LPD_DRIVER_TOO_OLD)
    return lpd_fail(instance, status, "the CUDA driver is too old for this machine: %s (%d)", name, result);
  if (status == LPD_NO_DRIVER)
    return lpd_fail(instance, status, "libcuda.so.1 is a stub to link against, no CUDA driver: %s (%d)", name, result);
  return lpd_fail(instance, status, "the CUDA driver does not start: %s (%d)", name, result);
}

lpd_status lpd_cuda_open_library(lpd_instance *instance, int images_need) {
  if (lpd_cu.handle) return LPD_OK;
  const int needed = images_need > kLeastVersion ? images_need : kLeastVersion;
  void *handle = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!handle)
    return lpd_fail(instance, LPD_NO_DRIVER, "no CUDA driver: %.300s; the program needs version %d.%d or later",
                    dlerror(), needed / 1000, needed % 1000 / 10);
  lpd_cuda_calls calls;
  lpd_status status = check_version(instance, handle, needed);
  if (!status) status = bind_calls(instance, handle, &calls);
  if (!status) status = initialise(instance, &calls);
  if (status)
    dlclose(handle);
  else
    lpd_cu = calls;
  return status;
}
