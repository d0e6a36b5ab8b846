// Copies from global to shared memory that go on by themselves: in groups, and there only when their group was waited
// for.
#pragma once

#include "test/cuda/emulator/scheduler.h"

#pragma GCC visibility push(hidden)  // each shared object of kernels has its own
namespace emulator {

inline void check_shared(const void* address, size_t bytes, size_t alignment) {
  const Block& block = *current_block;
  const char* at = static_cast<const char*>(address);
  if (at < block.shared || at + bytes > block.shared + block.shared_bytes)
    fail("addresses shared memory that it was not given");
  if (reinterpret_cast<uintptr_t>(at) % alignment) fail("addresses shared memory unaligned");
}
// An ordinary write to shared memory, which the copy engine and wgmma do not see before a fence (hopper.h).
inline void note_write(const void* address, size_t bytes) {
  Block& block = *current_block;
  const size_t offset = size_t(static_cast<const char*>(address) - block.shared);
  block.async.write(offset, offset + bytes, block.running->number);
}

}  // namespace emulator
#pragma GCC visibility pop

inline void wrote_shared(const void* at, int bytes) {
  emulator::check_shared(at, size_t(bytes), 1);
  emulator::note_write(at, size_t(bytes));
}

constexpr bool kCopiesAsynchronously = true;

// BYTES are 4, 8 or 16, both sides aligned to them. Zeros if not valid; `from` is not read then.
template <int BYTES, bool REPEATED = false>
void copy_async(void* shared, const void* from, bool valid) {
  static_assert(BYTES == 4 || BYTES == 8 || BYTES == 16, "");
  emulator::check_shared(shared, BYTES, BYTES);
  if (valid && reinterpret_cast<uintptr_t>(from) % BYTES) emulator::fail("copies from an unaligned address");
  emulator::Thread& thread = *emulator::current_block->running;
  std::memset(shared, 0xff, BYTES);
  thread.copies.push_back({shared, from, valid ? BYTES : 0u, valid ? 0u : BYTES, thread.group});
}
inline void copy_async_commit() { ++emulator::current_block->running->group; }
// At most PENDING of the newest groups are still under way after it.
template <int PENDING>
void copy_async_wait() {
  emulator::Thread& thread = *emulator::current_block->running;
  size_t kept = 0;
  for (const emulator::Copy& copy : thread.copies) {
    if (copy.group + PENDING >= thread.group) {
      thread.copies[kept++] = copy;
      continue;
    }
    if (copy.bytes) std::memcpy(copy.to, copy.from, copy.bytes);
    std::memset(static_cast<char*>(copy.to) + copy.bytes, 0, copy.bytes_of_zero);
    emulator::note_write(copy.to, copy.bytes + copy.bytes_of_zero);
  }
  thread.copies.resize(kept);
}
