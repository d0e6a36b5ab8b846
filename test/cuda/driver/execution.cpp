// Streams, events and launches.
#include <dlfcn.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <optional>

#include "test/cuda/driver/driver.h"
#include "test/cuda/emulator/tensor_map.h"

namespace standin {
namespace {

struct Event {
  bool recorded = false, done = false;
  std::chrono::steady_clock::time_point time;
};

std::set<Stream*> streams;
std::set<Event*> events;
Stream default_stream;
int sticky = kSuccess;  // an error of a kernel is everybody's, as on a device
unsigned launches = 0;

int run(Stream& stream) {
  while (!stream.queue.empty() && !sticky) {
    std::vector<std::function<int()>> queue;
    queue.swap(stream.queue);
    for (const auto& work : queue)
      if (!sticky) sticky = work();
  }
  stream.queue.clear();
  return sticky;
}

Stream* stream_of(Stream* given) {
  if (!given || given == reinterpret_cast<Stream*>(1)) return &default_stream;  // CU_STREAM_LEGACY
  return streams.count(given) && given->device == current_context()->device ? given : nullptr;
}

}  // namespace

int enqueue(Stream* given, std::function<int()> work) {
  Stream* const stream = stream_of(given);
  if (!stream) return kInvalidHandle;
  if (sticky) return sticky;
  stream->queue.push_back(std::move(work));
  return kSuccess;
}

int run_all_streams() {
  run(default_stream);
  for (Stream* stream : streams) run(*stream);
  return sticky;
}

size_t live_streams() { return streams.size(); }
size_t live_events() { return events.size(); }

// --- launches
// ----------------------------------------------------------------------------------------------------------

int check_launch(Function* function, const unsigned grid[3], const unsigned block[3], unsigned shared_bytes,
                 void** parameters, void** extra, Launch* out) {
  if (!function || extra) return kInvalidValue;
  if (function->device != current_context()->device) return kInvalidHandle;
  const uint64_t threads = uint64_t{block[0]} * block[1] * block[2];
  if (threads == 0 || threads > 1024 || block[2] > 64) return kInvalidValue;
  if (grid[0] == 0 || grid[0] > 0x7fffffff || grid[1] - 1 > 65534 || grid[2] - 1 > 65534) return kInvalidValue;
  if (shared_bytes > static_cast<unsigned>(function->most_shared)) return kInvalidValue;
  out->function = function;
  for (int i = 0; i < 3; ++i) out->grid[i] = grid[i], out->block[i] = block[i];
  out->shared_bytes = shared_bytes;
  out->parameters.clear();
  for (size_t i = 0; i < function->parameter_bytes.size(); ++i)
    std::memcpy(out->parameters.emplace_back().bytes, parameters[i], function->parameter_bytes[i]);
  return kSuccess;
}

// What a kernel touches before its turn is hidden from it: who does ends with the process, and this says why.
struct EarlyLaunch {
  static inline const Launch* running = nullptr;
  struct sigaction before;
  void (*const told)(void (*)(bool));  // of the kernel's library: who hides

  EarlyLaunch(const Launch& launch, void* library)
      : told(reinterpret_cast<void (*)(void (*)(bool))>(dlsym(library, "emulator_starts_early"))) {
    running = &launch;
    told([](bool hidden) { hide_memory(running->function->device, hidden); });
    struct sigaction action = {};
    action.sa_handler = [](int signal) {
      std::fprintf(stderr, "stand-in driver: %s: touches memory before it awaits its turn\n",
                   running->function->name.c_str());
      std::signal(signal, SIG_DFL);
    };
    sigaction(SIGSEGV, &action, &before);
  }
  ~EarlyLaunch() {
    sigaction(SIGSEGV, &before, nullptr);
    told(nullptr);
  }
};

int run_launch(const Launch& launch) {
  std::vector<Parameter> values = launch.parameters;
  std::vector<void*> pointers;
  for (Parameter& value : values) pointers.push_back(value.bytes);
  const MemoryAccess access(launch.function->device);
  Dl_info info;
  if (!dladdr(reinterpret_cast<void*>(launch.function->kernel), &info)) return kLaunchFailed;
  void* const library = dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD);
  {
    std::optional<EarlyLaunch> early;
    if (launch.early) early.emplace(launch, library);
    launch.function->kernel(launch.grid, launch.block, launch.shared_bytes, launches++ % 3, pointers.data());
  }
  const auto error = reinterpret_cast<const char* (*)()>(dlsym(library, "emulator_error"));
  const char* text = error ? error() : nullptr;
  if (text) std::fprintf(stderr, "stand-in driver: %s: %s\n", launch.function->name.c_str(), text);
  dlclose(library);
  return text ? kLaunchFailed : kSuccess;
}

}  // namespace standin

using namespace standin;

EXPORT int cuTensorMapEncodeTiled(emulated_tensor_map* map, int type, uint32_t rank, void* address,
                                  const uint64_t* extents, const uint64_t* strides, const uint32_t* box,
                                  const uint32_t* steps, int interleave, int swizzle, int, int fill) {
  STANDIN_CALL("cuTensorMapEncodeTiled", kContext);
  const char* broken =
      encode_tensor_map(map, type, rank, address, extents, strides, box, steps, interleave, swizzle, fill);
  if (broken) std::fprintf(stderr, "stand-in driver: cuTensorMapEncodeTiled: %s\n", broken);
  return broken ? kInvalidValue : kSuccess;
}

EXPORT int cuStreamCreate(Stream** out, unsigned) {
  STANDIN_CALL("cuStreamCreate", kContext);
  streams.insert(*out = new Stream);
  (*out)->device = current_context()->device;
  return kSuccess;
}

EXPORT int cuStreamDestroy_v2(Stream* stream) {
  STANDIN_CALL("cuStreamDestroy_v2", kContext);
  if (!streams.count(stream)) return kInvalidHandle;
  const int status = run(*stream);
  streams.erase(stream);
  delete stream;
  return status;
}

EXPORT int cuStreamSynchronize(Stream* given) {
  STANDIN_CALL("cuStreamSynchronize", kContext);
  Stream* const stream = stream_of(given);
  return stream ? run(*stream) : int{kInvalidHandle};
}

EXPORT int cuEventCreate(Event** out, unsigned) {
  STANDIN_CALL("cuEventCreate", kContext);
  events.insert(*out = new Event);
  return kSuccess;
}

EXPORT int cuEventDestroy_v2(Event* event) {
  STANDIN_CALL("cuEventDestroy_v2", kContext);
  if (!events.erase(event)) return kInvalidHandle;
  delete event;
  return kSuccess;
}

EXPORT int cuEventRecord(Event* event, Stream* stream) {
  STANDIN_CALL("cuEventRecord", kContext);
  if (!events.count(event)) return kInvalidHandle;
  event->recorded = true;
  event->done = false;
  return enqueue(stream, [event] {
    event->time = std::chrono::steady_clock::now();
    event->done = true;
    return int{kSuccess};
  });
}

EXPORT int cuEventElapsedTime(float* milliseconds, Event* from, Event* to) {
  STANDIN_CALL("cuEventElapsedTime", kContext);
  constexpr int kNotReady = 600;
  if (!events.count(from) || !events.count(to) || !from->recorded || !to->recorded) return kInvalidHandle;
  if (!from->done || !to->done) return kNotReady;
  *milliseconds = std::chrono::duration<float, std::milli>(to->time - from->time).count();
  return kSuccess;
}

EXPORT int cuLaunchKernel(Function* function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                          unsigned block_y, unsigned block_z, unsigned shared_bytes, Stream* stream, void** parameters,
                          void** extra) {
  STANDIN_CALL("cuLaunchKernel", kContext);
  const unsigned grid[] = {grid_x, grid_y, grid_z}, block[] = {block_x, block_y, block_z};
  Launch launch;
  const int status = check_launch(function, grid, block, shared_bytes, parameters, extra, &launch);
  return status ? status : enqueue(stream, [launch] { return run_launch(launch); });
}
