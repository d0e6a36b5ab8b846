// A stand-in for libcuda.so.1: the calls of the CUDA driver that the runtime uses, with kernels that run on the host.
//
// It is strict where a real driver would be, and where one would only fail sometimes: device memory lies between guard
// pages, is NaN when taken, and cannot be touched by the host outside of the driver's calls; copies to the host happen
// no sooner than the host waits for them; kernels of a graph run in any order that its dependencies allow; images are
// taken by the rules for cubins and PTX; kernels and copies of a device see its memory alone, and a stream or a
// function is refused in another device's context. What is not modelled: kernels at the same time, managed or pinned
// memory, streams that wait for each other.
//
// The machine it plays is told by the environment:
//   STANDIN_CAPABILITY=8.0  STANDIN_DEVICES=1  STANDIN_MEMORY=bytes  STANDIN_VERSION=13000
//   STANDIN_FAIL=cuMemAlloc_v2:2   this call fails with that error, or its n-th alone: cuMemAlloc_v2:2@n
//   LAPIDARY_EMULATED_KERNELS=path   a library of kernels: emulated_NAME, emulated_parameters_NAME
// Tests in the same process ask it with standin_calls() and standin_leaks().
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace standin {

enum Error : int {
  kSuccess = 0,
  kInvalidValue = 1,
  kOutOfMemory = 2,
  kNotInitialised = 3,
  kNoDevice = 100,
  kInvalidDevice = 101,
  kInvalidImage = 200,
  kInvalidContext = 201,
  kNoBinary = 209,
  kInvalidPtx = 218,
  kUnsupportedPtx = 222,
  kInvalidHandle = 400,
  kNotFound = 500,
  kNotSupported = 801,
  kIllegalAddress = 700,
  kLaunchFailed = 719
};

struct Machine {
  int capability = 80, devices = 1, version = 13000;
  size_t memory = size_t{1} << 30;
  int shared_optin() const;
};
const Machine& machine();

struct Context {
  int device = 0, users = 0;
};

// A call under way: locked, counted, perhaps failed by STANDIN_FAIL.
class Call {
 public:
  enum Needs { kNothing, kInit, kContext };
  Call(const char* name, Needs needs);
  ~Call();
  int error = kSuccess;

 private:
  std::lock_guard<std::recursive_mutex> lock_;
};
#define STANDIN_CALL(name, needs)                 \
  standin::Call call(name, standin::Call::needs); \
  if (call.error) return call.error
#define EXPORT extern "C" __attribute__((visibility("default")))

Context* current_context();

// --- memory ----------------------------------------------------------------------------------------------------------
using Address = uint64_t;
bool is_device_memory(Address, size_t bytes);  // all of it within one allocation of the current context's device
bool is_memory_of(int device, Address, size_t bytes);
bool touches_device_memory(const void*, size_t bytes);
size_t live_allocations();
// A device's memory can be touched while one lives.
class MemoryAccess {
 public:
  explicit MemoryAccess(int device);
  ~MemoryAccess();

 private:
  int device_;
};

void hide_memory(int device, bool);  // while one lives: from a kernel that must wait

// --- modules and kernels
// -----------------------------------------------------------------------------------------------
using EmulatedKernel = void (*)(const unsigned grid[3], const unsigned block[3], unsigned long shared_bytes,
                                unsigned order, void** parameters);
struct Function {
  std::string name;
  EmulatedKernel kernel;
  std::vector<unsigned> parameter_bytes;
  int most_shared = 48 << 10;
  int device = 0;
};
size_t live_modules();

// --- launches
// ------------------------------------------------------------------------------------------------------------
struct Parameter {
  alignas(64) char bytes[128];
};
struct Launch {
  Function* function = nullptr;
  unsigned grid[3], block[3], shared_bytes;
  std::vector<Parameter> parameters;
  bool early = false;  // may begin before those it waits for are through, so it must await its turn
};
int check_launch(Function*, const unsigned grid[3], const unsigned block[3], unsigned shared_bytes, void** parameters,
                 void** extra, Launch* out);
int run_launch(const Launch&);

// --- streams: what is started in one runs, in order, when somebody waits for it
// --------------------------------------------
struct Stream {
  std::vector<std::function<int()>> queue;
  int device = 0;
};
int enqueue(Stream*, std::function<int()>);
int run_all_streams();  // as what waits for the whole device does
size_t live_streams();
size_t live_events();
size_t live_graphs();

}  // namespace standin
