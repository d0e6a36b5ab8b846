// Device memory: pages of its own with a guard page behind, the rest of the last page filled with a pattern that is
// looked at when it is freed; of a sanitized build who touches it is told of at once. Fresh memory is NaN. Between
// calls nobody may touch it.
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "test/cuda/driver/driver.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define STANDIN_POISON(begin, bytes) __asan_poison_memory_region(begin, bytes)
#define STANDIN_UNPOISON(begin, bytes) __asan_unpoison_memory_region(begin, bytes)
#else
#define STANDIN_POISON(begin, bytes) (void)0
#define STANDIN_UNPOISON(begin, bytes) (void)0
#endif

namespace standin {
namespace {

constexpr size_t kPage = 4096, kAlignment = 256;
constexpr unsigned char kPoison = 0xff, kPattern = 0xa5;

struct Allocation {
  size_t bytes = 0, mapped = 0;  // mapped: without the guard page
  int device = 0;
  char* pages = nullptr;
};
std::map<Address, Allocation> allocations;  // by their first byte
size_t used = 0;
std::map<int, int> open_accesses;  // of each device

void protect(int device, int protection) {
  for (const auto& [address, allocation] : allocations)
    if (allocation.device == device) mprotect(allocation.pages, allocation.mapped, protection);
}

std::map<Address, Allocation>::iterator allocation_of(Address address) {
  auto found = allocations.upper_bound(address);
  if (found == allocations.begin()) return allocations.end();
  --found;
  return address < found->first + found->second.bytes ? found : allocations.end();
}

size_t tail_bytes(Address address, const Allocation& a) {
  return a.mapped - (address - reinterpret_cast<Address>(a.pages)) - a.bytes;
}

}  // namespace

MemoryAccess::MemoryAccess(int device) : device_(device) {
  if (open_accesses[device]++ == 0) protect(device, PROT_READ | PROT_WRITE);
}
MemoryAccess::~MemoryAccess() {
  if (--open_accesses[device_] == 0) protect(device_, PROT_NONE);
}

void hide_memory(int device, bool hidden) { protect(device, hidden ? PROT_NONE : PROT_READ | PROT_WRITE); }

bool is_memory_of(int device, Address address, size_t bytes) {
  const auto found = allocation_of(address);
  return found != allocations.end() && found->second.device == device &&
         bytes <= found->first + found->second.bytes - address;
}

bool is_device_memory(Address address, size_t bytes) { return is_memory_of(current_context()->device, address, bytes); }

bool touches_device_memory(const void* memory, size_t bytes) {
  const auto address = reinterpret_cast<Address>(memory);
  return allocation_of(address) != allocations.end() ||
         (bytes && allocation_of(address + bytes - 1) != allocations.end());
}

size_t live_allocations() { return allocations.size(); }

}  // namespace standin

using namespace standin;

// The end is as near to the guard page as the alignment allows.
EXPORT int cuMemAlloc_v2(Address* out, size_t bytes) {
  STANDIN_CALL("cuMemAlloc_v2", kContext);
  if (bytes == 0) return kInvalidValue;
  if (bytes > machine().memory - used) return kOutOfMemory;
  Allocation a;
  a.bytes = bytes;
  a.device = current_context()->device;
  a.mapped = (bytes + kPage - 1) / kPage * kPage;
  void* pages = mmap(nullptr, a.mapped + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) return kOutOfMemory;
  a.pages = static_cast<char*>(pages);
  mprotect(a.pages + a.mapped, kPage, PROT_NONE);
  char* const data = a.pages + (a.mapped - bytes) / kAlignment * kAlignment;
  const auto address = reinterpret_cast<Address>(data);
  std::memset(data, kPoison, bytes);
  std::memset(data + bytes, kPattern, tail_bytes(address, a));
  STANDIN_POISON(a.pages, static_cast<size_t>(data - a.pages));
  STANDIN_POISON(data + bytes, tail_bytes(address, a));
  if (open_accesses[a.device] == 0) mprotect(a.pages, a.mapped, PROT_NONE);
  allocations[address] = a;
  used += bytes;
  *out = address;
  return kSuccess;
}

EXPORT int cuMemFree_v2(Address address) {
  STANDIN_CALL("cuMemFree_v2", kContext);
  const auto found = allocations.find(address);
  if (found == allocations.end() || found->second.device != current_context()->device) return kInvalidValue;
  const int status = run_all_streams();
  const Allocation a = found->second;
  mprotect(a.pages, a.mapped, PROT_READ);
  STANDIN_UNPOISON(a.pages, a.mapped);
  const auto* tail = reinterpret_cast<const unsigned char*>(address) + a.bytes;
  for (size_t i = 0; i < tail_bytes(address, a); ++i)
    if (tail[i] != kPattern) {
      std::fprintf(stderr, "stand-in driver: byte %zu behind an allocation of %zu bytes was written\n", i, a.bytes);
      std::abort();
    }
  munmap(a.pages, a.mapped + kPage);
  allocations.erase(found);
  used -= a.bytes;
  return status;
}

EXPORT int cuMemGetInfo_v2(size_t* left, size_t* total) {
  STANDIN_CALL("cuMemGetInfo_v2", kContext);
  *total = machine().memory;
  *left = *total - used;
  return kSuccess;
}

EXPORT int cuPointerGetAttribute(void* value, int attribute, Address address) {
  STANDIN_CALL("cuPointerGetAttribute", kContext);
  const auto found = allocation_of(address);
  if (found == allocations.end()) return kInvalidValue;
  if (attribute == 2) return *static_cast<unsigned*>(value) = 2, kSuccess;
  if (attribute == 9) return *static_cast<int*>(value) = found->second.device, kSuccess;
  if (attribute == 11) return *static_cast<Address*>(value) = found->first, kSuccess;
  if (attribute == 12) return *static_cast<size_t*>(value) = found->second.bytes, kSuccess;
  return kInvalidValue;
}

// Host memory is read when the copy's turn comes, as page-locked memory is, and pageable memory of some machines.
EXPORT int cuMemcpyHtoDAsync_v2(Address to, const void* from, size_t bytes, Stream* stream) {
  STANDIN_CALL("cuMemcpyHtoDAsync_v2", kContext);
  if (!is_device_memory(to, bytes) || touches_device_memory(from, bytes)) return kInvalidValue;
  return enqueue(stream, [=, device = current_context()->device] {
    if (!is_memory_of(device, to, bytes)) return int{kIllegalAddress};
    const MemoryAccess access(device);
    std::memcpy(reinterpret_cast<void*>(to), from, bytes);
    return int{kSuccess};
  });
}

EXPORT int cuMemcpyDtoHAsync_v2(void* to, Address from, size_t bytes, Stream* stream) {
  STANDIN_CALL("cuMemcpyDtoHAsync_v2", kContext);
  if (!is_device_memory(from, bytes) || touches_device_memory(to, bytes)) return kInvalidValue;
  return enqueue(stream, [=, device = current_context()->device] {
    if (!is_memory_of(device, from, bytes)) return int{kIllegalAddress};
    const MemoryAccess access(device);
    std::memcpy(to, reinterpret_cast<const void*>(from), bytes);
    return int{kSuccess};
  });
}

EXPORT int cuMemcpyDtoDAsync_v2(Address to, Address from, size_t bytes, Stream* stream) {
  STANDIN_CALL("cuMemcpyDtoDAsync_v2", kContext);
  if (!is_device_memory(from, bytes) || !is_device_memory(to, bytes)) return kInvalidValue;
  return enqueue(stream, [=, device = current_context()->device] {
    if (!is_memory_of(device, from, bytes) || !is_memory_of(device, to, bytes)) return int{kIllegalAddress};
    const MemoryAccess access(device);
    std::memmove(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes);
    return int{kSuccess};
  });
}

EXPORT int cuMemsetD8Async(Address to, unsigned char value, size_t bytes, Stream* stream) {
  STANDIN_CALL("cuMemsetD8Async", kContext);
  if (!is_device_memory(to, bytes)) return kInvalidValue;
  return enqueue(stream, [=, device = current_context()->device] {
    if (!is_memory_of(device, to, bytes)) return int{kIllegalAddress};
    const MemoryAccess access(device);
    std::memset(reinterpret_cast<void*>(to), value, bytes);
    return int{kSuccess};
  });
}

EXPORT int cuMemsetD32Async(Address to, unsigned value, size_t count, Stream* stream) {
  STANDIN_CALL("cuMemsetD32Async", kContext);
  if (!is_device_memory(to, count * sizeof value) || to % sizeof value != 0) return kInvalidValue;
  return enqueue(stream, [=, device = current_context()->device] {
    if (!is_memory_of(device, to, count * sizeof value)) return int{kIllegalAddress};
    const MemoryAccess access(device);
    std::fill_n(reinterpret_cast<unsigned*>(to), count, value);
    return int{kSuccess};
  });
}
