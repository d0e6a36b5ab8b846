// In place of codegen/cuda/device/hopper.h and wgmma.h on the host, to be included where they stand: after atoms.h.
// What goes on by itself happens as late as it may: a box arrives when somebody waits for its barrier, products are
// made when their group is waited for; until then a box's place is NaN. Found: barriers used before their init or by
// more arrivals than they count, descriptors and boxes outside shared memory, operands that were written without a
// proxy fence, products without wgmma_fence(), warpgroups whose threads disagree, boxes that nobody waited for.
#pragma once

#include "test/cuda/emulator.h"

#define __grid_constant__

struct alignas(64) tensor_map {
  emulated_tensor_map map;
};
static_assert(sizeof(tensor_map) == 128, "");

constexpr int kBarrierBytes = 8;

DEV u32 shared_address(const void* p) { return u32(static_cast<const char*>(p) - emulator::current_block->shared); }

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
inline void end_phase_if_complete(Barrier& barrier) {
  ++current_block->progress;
  if (barrier.pending || barrier.bytes) return;
  barrier.parity ^= 1;
  barrier.pending = barrier.arrivals;
}
inline void arrive(Barrier& barrier) {
  if (barrier.pending == 0) fail("arrives at a barrier that has all its arrivals");
  --barrier.pending;
  end_phase_if_complete(barrier);
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

// From the tensor to shared memory.
inline void move_box(const Box& box) {
  const emulated_tensor_map& map = box.map;
  Block& block = *current_block;
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
      char* to = block.shared + swizzled(box.to + row * row_bytes + i * bytes, map.swizzle);
      if (!inside || at < 0 || at >= int64_t(map.extents[0])) {
        std::memset(to, 0, bytes);
        continue;
      }
      std::memcpy(to, reinterpret_cast<const char*>(address) + at * int64_t(bytes), bytes);
      if (map.type == kTensorMapTf32) round_to_tf32(to);
    }
  }
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
  move_box(*box);
  Barrier& barrier = barrier_at(address);
  barrier.bytes -= i32(bytes_of_box(box->map));
  boxes.erase(box);
  end_phase_if_complete(barrier);
  return true;
}

inline void send_box(u32 to, const tensor_map* map, u32 barrier, int rank, int x, int y, int z, int w) {
  const emulated_tensor_map& m = map->map;
  if (m.mark != kTensorMapMark) fail("uses a tensor map that was not encoded");
  if (m.rank != rank) fail("uses a tensor map of another rank");
  barrier_at(barrier);
  std::memset(shared_memory(to, bytes_of_box(m), m.swizzle ? 128u << m.swizzle : 128u), 0xff, bytes_of_box(m));
  current_block->async.boxes.push_back({m, {x, y, z, w}, to, barrier});
}

// --- products
// --------------------------------------------------------------------------------------------------------
// What a code stands for in the products of an atom; integers as unsigned ones, whose sums wrap.
inline f32 value_of(const atom_f16*, u16 code) {
  _Float16 x;
  std::memcpy(&x, &code, sizeof x);
  return f32(x);
}
inline f32 value_of(const atom_bf16*, u16 code) { return bits_as_float(u32(code) << 16); }
inline f32 value_of(const atom_tf32*, f32 x) { return bits_as_float(bits_of(x) & 0xffffe000u); }
template <class ATOM, class T>
u32 value_of(const ATOM*, T x) {
  return u32(i32(x));
}

// Where element (line, k) of an operand lies, by its descriptor.
struct Operand {
  u64 descriptor;
  bool along_k;
  size_t offset_of(int line, int k, size_t bytes) const {
    const size_t start = (descriptor & 0x3fff) << 4, panel = (descriptor >> 16 & 0x3fff) << 4;
    const size_t rows8 = (descriptor >> 32 & 0x3fff) << 4, width = 128 / bytes;
    const size_t across = size_t(along_k ? k : line), row = size_t(along_k ? line : k);
    return swizzled(start + across / width * panel + row / 8 * rows8 + row % 8 * 128 + across % width * bytes, 3);
  }
  // LINES x DEPTH elements to to[line * line_step + k * k_step].
  template <class ATOM, class T, int DEPTH, class Sum>
  void read(int lines, Sum* to, int line_step, int k_step) const {
    const Block& block = *current_block;
    if (descriptor >> 62 != 1) fail("a descriptor's swizzle is not that of 128 bytes");
    for (int line = 0; line < lines; ++line)
      for (int k = 0; k < DEPTH; ++k) {
        const size_t at = offset_of(line, k, sizeof(T));
        if (at + sizeof(T) > block.shared_bytes) fail("a descriptor reaches beyond shared memory");
        if (block.async.writers[at]) fail("multiplies what was written without fence_proxy_async()");
        T element;
        std::memcpy(&element, block.shared + at, sizeof element);
        to[line * line_step + k * k_step] = value_of(static_cast<const ATOM*>(nullptr), element);
      }
  }
};

// All threads of the warpgroup that begins at `first` have product `index` in their lists: d += a b, or d = a b.
template <class ATOM, int N, bool A_ALONG_K, bool B_ALONG_K>
void multiply(unsigned first, size_t index) {
  typedef typename ATOM::element_a A;
  typedef typename ATOM::element_b B;
  typedef decltype(value_of(static_cast<const ATOM*>(nullptr), A())) Sum;
  constexpr int K = 32 / sizeof(A);
  static thread_local Sum a[64][K], b[K][N], d[64][N];
  const std::vector<AsyncThread>& threads = current_block->async.threads;
  const Product& product = threads[first].products[index];
  Operand{product.a, A_ALONG_K}.read<ATOM, A, K>(64, a[0], K, 1);
  Operand{product.b, B_ALONG_K}.read<ATOM, B, K>(N, b[0], 1, N);
  const auto each = [&](const auto& visit) {
    for (unsigned i = 0; i < 128; ++i)
      for (int e = 0; e < N / 2; ++e)
        visit(d[16 * (i / 32) + i % 32 / 4 + 8 * (e / 2 % 2)][8 * (e / 4) + 2 * (i % 4) + e % 2],
              static_cast<Sum*>(threads[first + i].products[index].d)[e]);
  };
  std::memset(d, 0, sizeof d);
  if (product.accumulate) each([](Sum& sum, Sum& held) { sum = held; });
  for (int row = 0; row < 64; ++row)
    for (int k = 0; k < K; ++k)
      for (int column = 0; column < N; ++column) d[row][column] += a[row][k] * b[k][column];
  each([](Sum& sum, Sum& held) { held = sum; });
}

// The products of groups before `end`, in order, of the warpgroup that begins at `first`.
inline void multiply_groups(unsigned first, unsigned end) {
  std::vector<AsyncThread>& threads = current_block->async.threads;
  const std::vector<Product>& products = threads[first].products;
  size_t count = 0;
  for (; count < products.size() && products[count].group < end; ++count) {
    for (unsigned i = first; i < first + 128; ++i)
      if (threads[i].products.size() <= count || !threads[i].products[count].same(products[count]))
        fail("the threads of a warpgroup ask for different products");
    products[count].multiply(first, count);
  }
  for (unsigned i = first; i < first + 128; ++i) {
    std::vector<Product>& of_thread = threads[i].products;
    of_thread.erase(of_thread.begin(), of_thread.begin() + std::ptrdiff_t(count));
    threads[i].fenced = false;
  }
}

inline AsyncThread& async_thread() {
  Block& block = *current_block;
  block.async.begin_use(block.threads.size(), block.shared_bytes);
  return block.async.threads[block.running->number];
}

}  // namespace emulator

inline void mbarrier_init(u32 barrier, u32 arrivals) {
  emulator::async_thread();
  emulator::Barrier fresh{u16(arrivals), u16(arrivals), 0, 0};
  std::memcpy(emulator::shared_memory(barrier, sizeof fresh, sizeof fresh), &fresh, sizeof fresh);
}
inline void mbarrier_init_fence() {}
inline void mbarrier_arrive(u32 barrier) { emulator::arrive(emulator::barrier_at(barrier)); }
inline void mbarrier_arrive_expecting(u32 barrier, u32 bytes) {
  emulator::barrier_at(barrier).bytes += i32(bytes);
  emulator::arrive(emulator::barrier_at(barrier));
}
inline void mbarrier_wait(u32 barrier, u32 parity, EMULATOR_CALLED_AT) {
  const emulator::Barrier& waited = emulator::barrier_at(barrier);
  emulator::current_block->running->waits = {file, line};
  while (waited.parity == parity)
    if (!emulator::deliver_box(barrier)) emulator::yield();
}
inline void fence_proxy_async() { emulator::current_block->async.fence(emulator::current_block->running->number); }
inline void tma_load(u32 box, const tensor_map* map, u32 barrier, i32 x, i32 y) {
  emulator::send_box(box, map, barrier, 2, x, y, 0, 0);
}
inline void tma_load(u32 box, const tensor_map* map, u32 barrier, i32 x, i32 y, i32 z) {
  emulator::send_box(box, map, barrier, 3, x, y, z, 0);
}
inline void tma_load(u32 box, const tensor_map* map, u32 barrier, i32 x, i32 y, i32 z, i32 w) {
  emulator::send_box(box, map, barrier, 4, x, y, z, w);
}

template <int REGISTERS>
void give_registers() {
  static_assert(REGISTERS % 8 == 0 && REGISTERS >= 24 && REGISTERS <= 256, "");
}
template <int REGISTERS>
void take_registers() {
  static_assert(REGISTERS % 8 == 0 && REGISTERS >= 24 && REGISTERS <= 256, "");
}

inline void wgmma_fence() { emulator::async_thread().fenced = true; }
inline void wgmma_commit() { ++emulator::async_thread().group; }
template <int PENDING>
void wgmma_wait(EMULATOR_CALLED_AT) {
  const unsigned number = emulator::current_block->running->number / 128;
  const unsigned group = emulator::async_thread().group;
  emulator::meet(emulator::current_block->warpgroups[number], 128, {file, line}, true,
                 [&] { emulator::multiply_groups(128 * number, group > PENDING ? group - PENDING : 0); });
}
inline void wgmma_settle(f32&) {}
inline void wgmma_settle(i32&) {}

template <class ATOM, int N>
struct wgmma_instruction {
  template <bool A_ALONG_K, bool B_ALONG_K>
  static void issue(typename ATOM::accumulator* d, u64 a, u64 b, bool accumulate) {
    emulator::AsyncThread& thread = emulator::async_thread();
    if (!thread.fenced) emulator::fail("multiplies without wgmma_fence() since its last wait");
    thread.products.push_back({emulator::multiply<ATOM, N, A_ALONG_K, B_ALONG_K>, d, a, b, accumulate, thread.group});
  }
};
