// In place of codegen/cuda/device/hopper.h on the host. What goes on by itself happens as late as it may: a box arrives
// when somebody waits for its barrier, and is NaN until then; it is stored when that is waited for. Found: barriers
// used before their init or by more arrivals than they count, boxes outside shared memory or of what was written
// without a proxy fence, boxes that nobody waited for.
#pragma once

#include "test/cuda/emulator.h"

#define __grid_constant__

struct alignas(64) tensor_map {
  emulated_tensor_map map;
};
static_assert(sizeof(tensor_map) == 128, "");

constexpr int kBarrierBytes = 8;

DEV u32 shared_address(const void* p) { return u32(static_cast<const char*>(p) - emulator::current_block->shared); }

#pragma GCC visibility push(hidden)
namespace emulator {

// Of the phase that runs: its parity, the arrivals and bytes it still waits for.
struct alignas(kBarrierBytes) Barrier {
  u16 arrivals;
  u16 pending : 15, parity : 1;
  i32 bytes;
};
static_assert(sizeof(Barrier) == kBarrierBytes, "");

inline char* shared_memory(u32 address, size_t bytes, size_t alignment) {
  char* const at = current_block->shared + address;
  check_shared(at, bytes, alignment);
  return at;
}
inline Barrier& barrier_at(u32 address) {
  Barrier& barrier = *reinterpret_cast<Barrier*>(shared_memory(address, sizeof(Barrier), kBarrierBytes));
  if (barrier.arrivals == 0 || barrier.arrivals == 0xffff) fail("uses a barrier that was not initialised");
  return barrier;
}
inline void end_phase_if_complete(u32 address) {
  Barrier& barrier = barrier_at(address);
  if (barrier.pending || barrier.bytes) return;
  ++current_block->phases[address].generation;
  barrier.parity ^= 1;
  barrier.pending = barrier.arrivals;
}
inline void arrive(u32 address) {
  Barrier& barrier = barrier_at(address);
  if (barrier.pending == 0) fail("arrives at a barrier that has all its arrivals");
  --barrier.pending;
  end_phase_if_complete(address);
  let_waiting_run(current_block->phases[address]);  // what comes after the arrival may come too late for them
}

// Where the swizzle puts a byte: 16-byte chunks exchanged by bits 7.. of the address.
inline size_t swizzled(size_t offset, unsigned swizzle) {
  return offset ^ ((offset >> 7 & ((1u << swizzle) - 1)) << 4);
}

// To the nearest, halves away from zero; what is not finite stays.
inline void round_to_tf32(char* at) {
  u32 bits;
  std::memcpy(&bits, at, sizeof bits);
  if ((bits & 0x7f800000u) != 0x7f800000u) bits = (bits + 0x1000u) & 0xffffe000u;
  std::memcpy(at, &bits, sizeof bits);
}

// visit(element in shared memory, the same in the tensor or null where there is none).
template <class Visit>
void visit_box(const Box& box, const Visit& visit) {
  const emulated_tensor_map& map = box.map;
  const size_t bytes = bytes_of_tensor_type(map.type), row_bytes = map.box[0] * bytes;
  size_t rows = 1;
  for (int i = 1; i < map.rank; ++i) rows *= map.box[i];
  for (size_t row = 0; row < rows; ++row) {
    int64_t address = int64_t(map.address);
    bool inside = true;
    size_t rest = row;
    for (int i = 1; i < map.rank; ++i) {
      const int64_t at = box.at[i] + int64_t(rest % map.box[i]);
      rest /= map.box[i];
      inside &= at >= 0 && at < int64_t(map.extents[i]);
      address += at * int64_t(map.strides[i - 1]);
    }
    for (size_t i = 0; i < map.box[0]; ++i) {
      const int64_t at = box.at[0] + int64_t(i);
      char* const element = reinterpret_cast<char*>(address) + at * int64_t(bytes);
      visit(swizzled(box.shared + row * row_bytes + i * bytes, map.swizzle),
            inside && at >= 0 && at < int64_t(map.extents[0]) ? element : nullptr, bytes);
    }
  }
}
inline void load_box(const Box& box) {
  char* const shared = current_block->shared;
  visit_box(box, [&](size_t at, const char* element, size_t bytes) {
    if (!element) std::memset(shared + at, 0, bytes);
    if (element) std::memcpy(shared + at, element, bytes);
    if (box.map.type == kTensorMapTf32) round_to_tf32(shared + at);
  });
}
inline void store_box(const StoredBox& stored) {
  const char* const shared = current_block->shared;
  if (std::memcmp(shared + stored.box.shared, stored.bytes.data(), stored.bytes.size()) != 0)
    fail("shared memory changes while the copy engine stores it");
  visit_box(stored.box, [&](size_t at, char* element, size_t bytes) {
    if (element) std::memcpy(element, shared + at, bytes);
  });
}

inline size_t bytes_of_box(const emulated_tensor_map& map) {
  size_t bytes = bytes_of_tensor_type(map.type);
  for (int i = 0; i < map.rank; ++i) bytes *= map.box[i];
  return bytes;
}

// The oldest box that this barrier waits for arrives.
inline bool deliver_box(u32 address) {
  std::vector<Box>& boxes = current_block->async.boxes;
  const auto box = std::find_if(boxes.begin(), boxes.end(), [&](const Box& b) { return b.barrier == address; });
  if (box == boxes.end()) return false;
  load_box(*box);
  barrier_at(address).bytes -= i32(bytes_of_box(box->map));
  boxes.erase(box);
  end_phase_if_complete(address);
  return true;
}

inline AsyncThread& async_thread() {
  Block& block = *current_block;
  block.async.begin_use(block.threads.size(), block.shared_bytes);
  return block.async.threads[block.running->number];
}

inline Box checked_box(u32 shared, const tensor_map* map, int rank, int x, int y, int z, int w) {
  const emulated_tensor_map& m = map->map;
  if (m.mark != kTensorMapMark) fail("uses a tensor map that was not encoded");
  if (m.rank != rank) fail("uses a tensor map of another rank");
  shared_memory(shared, bytes_of_box(m), m.swizzle ? 128u << m.swizzle : 128u);
  return {m, {x, y, z, w}, shared, 0};
}
inline void ask_for_box(Box box, u32 barrier) {
  barrier_at(barrier);
  std::memset(current_block->shared + box.shared, 0xff, bytes_of_box(box.map));
  box.barrier = barrier;
  current_block->async.boxes.push_back(box);
  if (current_block->phases[barrier].arrived) deliver_box(barrier);  // somebody waits already
}
inline void give_box(const Box& box) {
  AsyncThread& thread = async_thread();
  const std::vector<uint16_t>& writers = current_block->async.writers;
  visit_box(box, [&](size_t at, const char*, size_t) {
    if (writers[at]) fail("stores what was written without fence_proxy_async()");
  });
  const char* const begin = current_block->shared + box.shared;
  thread.stores.push_back({box, {begin, begin + bytes_of_box(box.map)}, thread.store_group});
}
// Read, and in memory, at the last moment.
inline void store_groups(unsigned pending) {
  AsyncThread& thread = async_thread();
  size_t done = 0;
  for (; done < thread.stores.size() && thread.stores[done].group + pending < thread.store_group; ++done)
    store_box(thread.stores[done]);
  thread.stores.erase(thread.stores.begin(), thread.stores.begin() + std::ptrdiff_t(done));
}

}  // namespace emulator
#pragma GCC visibility pop

inline void mbarrier_init(u32 barrier, u32 arrivals) {
  emulator::async_thread();
  emulator::Barrier fresh{u16(arrivals), u16(arrivals), 0, 0};
  std::memcpy(emulator::shared_memory(barrier, sizeof fresh, sizeof fresh), &fresh, sizeof fresh);
}
inline void mbarrier_init_fence() {}
inline void mbarrier_arrive(u32 barrier) { emulator::arrive(barrier); }
inline void mbarrier_arrive_expecting(u32 barrier, u32 bytes) {
  emulator::barrier_at(barrier).bytes += i32(bytes);
  emulator::arrive(barrier);
}
inline void mbarrier_wait(u32 barrier, u32 parity, EMULATOR_CALLED_AT) {
  const emulator::Barrier& waited = emulator::barrier_at(barrier);
  emulator::Meeting& phase = emulator::current_block->phases[barrier];  // `arrived` counts who waits
  while (waited.parity == parity) {
    if (emulator::deliver_box(barrier)) continue;
    ++phase.arrived;
    emulator::wait_for(phase, {file, line});
    --phase.arrived;
  }
}
inline void fence_proxy_async() { emulator::current_block->async.fence(emulator::current_block->running->number); }
inline void tma_load(u32 box, const tensor_map* map, u32 barrier, i32 x, i32 y) {
  emulator::ask_for_box(emulator::checked_box(box, map, 2, x, y, 0, 0), barrier);
}
inline void tma_load(u32 box, const tensor_map* map, u32 barrier, i32 x, i32 y, i32 z) {
  emulator::ask_for_box(emulator::checked_box(box, map, 3, x, y, z, 0), barrier);
}
inline void tma_load(u32 box, const tensor_map* map, u32 barrier, i32 x, i32 y, i32 z, i32 w) {
  emulator::ask_for_box(emulator::checked_box(box, map, 4, x, y, z, w), barrier);
}
inline void tma_store(u32 box, const tensor_map* map, i32 x, i32 y) {
  emulator::give_box(emulator::checked_box(box, map, 2, x, y, 0, 0));
}
inline void tma_store(u32 box, const tensor_map* map, i32 x, i32 y, i32 z) {
  emulator::give_box(emulator::checked_box(box, map, 3, x, y, z, 0));
}
inline void tma_store(u32 box, const tensor_map* map, i32 x, i32 y, i32 z, i32 w) {
  emulator::give_box(emulator::checked_box(box, map, 4, x, y, z, w));
}
inline void tma_store_commit() { ++emulator::async_thread().store_group; }
template <int PENDING>
void tma_store_wait() {
  emulator::store_groups(PENDING);
}

template <int REGISTERS>
void give_registers() {
  static_assert(REGISTERS % 8 == 0 && REGISTERS >= 24 && REGISTERS <= 256, "");
}
template <int REGISTERS>
void take_registers() {
  static_assert(REGISTERS % 8 == 0 && REGISTERS >= 24 && REGISTERS <= 256, "");
}
