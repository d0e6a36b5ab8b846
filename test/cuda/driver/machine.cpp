// Devices, contexts, errors, and what every call begins with.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "test/cuda/driver/driver.h"

namespace standin {
namespace {

std::recursive_mutex mutex;
std::map<std::string, int> calls;
bool initialised = false;
Context contexts[16];
thread_local std::vector<Context*> stack;

const char* setting(const char* name, const char* otherwise) {
  const char* text = std::getenv(name);
  return text && *text ? text : otherwise;
}

Machine read_machine() {
  Machine machine;
  int major = 8, minor = 0;
  std::sscanf(setting("STANDIN_CAPABILITY", "8.0"), "%d.%d", &major, &minor);
  machine.capability = 10 * major + minor;
  machine.devices = std::atoi(setting("STANDIN_DEVICES", "1"));
  machine.version = std::atoi(setting("STANDIN_VERSION", "13000"));
  machine.memory = std::strtoull(setting("STANDIN_MEMORY", "1073741824"), nullptr, 10);
  return machine;
}

// "cuMemAlloc_v2:2@3"
int injected_failure(const char* name, int count) {
  const char* text = setting("STANDIN_FAIL", "");
  const size_t length = std::strlen(name);
  if (std::strncmp(text, name, length) != 0 || text[length] != ':') return kSuccess;
  const char* at = std::strchr(text, '@');
  return !at || std::atoi(at + 1) == count ? std::atoi(text + length + 1) : kSuccess;
}

constexpr struct {
  int number;
  const char* name;
} kNames[] = {{0, "CUDA_SUCCESS"},
              {1, "CUDA_ERROR_INVALID_VALUE"},
              {2, "CUDA_ERROR_OUT_OF_MEMORY"},
              {3, "CUDA_ERROR_NOT_INITIALIZED"},
              {34, "CUDA_ERROR_STUB_LIBRARY"},
              {35, "CUDA_ERROR_INSUFFICIENT_DRIVER"},
              {46, "CUDA_ERROR_DEVICE_UNAVAILABLE"},
              {100, "CUDA_ERROR_NO_DEVICE"},
              {101, "CUDA_ERROR_INVALID_DEVICE"},
              {200, "CUDA_ERROR_INVALID_IMAGE"},
              {201, "CUDA_ERROR_INVALID_CONTEXT"},
              {209, "CUDA_ERROR_NO_BINARY_FOR_GPU"},
              {218, "CUDA_ERROR_INVALID_PTX"},
              {222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION"},
              {400, "CUDA_ERROR_INVALID_HANDLE"},
              {500, "CUDA_ERROR_NOT_FOUND"},
              {700, "CUDA_ERROR_ILLEGAL_ADDRESS"},
              {719, "CUDA_ERROR_LAUNCH_FAILED"}};

}  // namespace

// As the devices of that capability have: NVIDIA's programming guide, table of technical specifications.
int Machine::shared_optin() const {
  const int kib = capability == 75 ? 64 : capability == 80 ? 163 : capability < 90 || capability >= 120 ? 99 : 227;
  return kib << 10;
}

const Machine& machine() {
  static const Machine machine = read_machine();
  return machine;
}

Context* current_context() { return stack.empty() ? nullptr : stack.back(); }

Call::Call(const char* name, Needs needs) : lock_(mutex) {
  const int count = ++calls[name];
  error = injected_failure(name, count);
  if (error) return;
  if (needs >= kInit && !initialised) error = kNotInitialised;
  if (needs == kContext && !error && (!current_context() || current_context()->users == 0)) error = kInvalidContext;
  if (std::strcmp(name, "cuInit") == 0 && !error) initialised = true;
}
Call::~Call() = default;

}  // namespace standin

using namespace standin;

EXPORT int standin_calls(const char* name) {
  const std::lock_guard lock(mutex);
  return calls[name];
}

// Of everything that instances take: 0 when all of them are gone.
EXPORT int standin_leaks() {
  const std::lock_guard lock(mutex);
  int users = 0;
  for (const Context& context : contexts) users += context.users;
  return static_cast<int>(live_allocations() + live_modules() + live_streams() + live_events() + live_graphs()) +
         users + static_cast<int>(stack.size());
}

EXPORT int cuDriverGetVersion(int* version) {
  STANDIN_CALL("cuDriverGetVersion", kNothing);
  *version = machine().version;
  return kSuccess;
}

EXPORT int cuInit(unsigned flags) {
  STANDIN_CALL("cuInit", kNothing);
  if (flags) return kInvalidValue;
  return machine().devices > 0 ? kSuccess : kNoDevice;
}

EXPORT int cuGetErrorName(int error, const char** name) {
  STANDIN_CALL("cuGetErrorName", kNothing);
  for (const auto& known : kNames)
    if (known.number == error) return *name = known.name, kSuccess;
  *name = nullptr;
  return kInvalidValue;
}

EXPORT int cuDeviceGetCount(int* count) {
  STANDIN_CALL("cuDeviceGetCount", kInit);
  *count = machine().devices;
  return kSuccess;
}

EXPORT int cuDeviceGet(int* device, int ordinal) {
  STANDIN_CALL("cuDeviceGet", kInit);
  if (ordinal < 0 || ordinal >= machine().devices) return kInvalidDevice;
  *device = ordinal;
  return kSuccess;
}

EXPORT int cuDeviceGetName(char* name, int room, int device) {
  STANDIN_CALL("cuDeviceGetName", kInit);
  std::snprintf(name, static_cast<size_t>(room), "stand-in %d", device);
  return kSuccess;
}

EXPORT int cuDeviceGetAttribute(int* value, int attribute, int) {
  STANDIN_CALL("cuDeviceGetAttribute", kInit);
  switch (attribute) {
    case 16:
      return *value = 4, kSuccess;
    case 75:
      return *value = machine().capability / 10, kSuccess;
    case 76:
      return *value = machine().capability % 10, kSuccess;
    case 97:
      return *value = machine().shared_optin(), kSuccess;
    default:
      return kInvalidValue;
  }
}

EXPORT int cuDevicePrimaryCtxRetain(Context** context, int device) {
  STANDIN_CALL("cuDevicePrimaryCtxRetain", kInit);
  if (device < 0 || device >= machine().devices) return kInvalidDevice;
  *context = &contexts[device];
  (*context)->device = device;
  ++(*context)->users;
  return kSuccess;
}

EXPORT int cuDevicePrimaryCtxRelease_v2(int device) {
  STANDIN_CALL("cuDevicePrimaryCtxRelease_v2", kInit);
  if (device < 0 || device >= machine().devices || contexts[device].users == 0) return kInvalidContext;
  --contexts[device].users;
  return kSuccess;
}

EXPORT int cuCtxPushCurrent_v2(Context* context) {
  STANDIN_CALL("cuCtxPushCurrent_v2", kInit);
  if (!context || context->users == 0) return kInvalidContext;
  stack.push_back(context);
  return kSuccess;
}

EXPORT int cuCtxPopCurrent_v2(Context** context) {
  STANDIN_CALL("cuCtxPopCurrent_v2", kInit);
  if (stack.empty()) return kInvalidContext;
  *context = stack.back();
  stack.pop_back();
  return kSuccess;
}
