// In place of codegen/cuda/device/wgmma.h on the host, after atoms.h. Products are made when their group is waited for,
// of what shared memory holds then. Found: descriptors that reach beyond it, operands written without a proxy fence,
// products without wgmma_fence(), warpgroups whose threads disagree.
#pragma once

#include "test/cuda/emulator/hopper.h"

#pragma GCC visibility push(hidden)
namespace emulator {

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

// a, 64 x 16, as its threads have it: a register is row g (+ 8, the odd ones), k 2t and 2t + 1 (+ 8, the last two).
template <class ATOM, class T, int K, class Sum>
void read_registers(unsigned first, size_t index, Sum (&a)[64][K]) {
  for (unsigned i = 0; i < 128; ++i) {
    T held[8];
    std::memcpy(held, current_block->async.threads[first + i].products[index].registers, sizeof held);
    for (int e = 0; e < 8; ++e)
      a[16 * (i / 32) + i % 32 / 4 + 8 * (e / 2 % 2)][2 * (i % 4) + e % 2 + 8 * (e / 4)] =
          value_of(static_cast<const ATOM*>(nullptr), held[e]);
  }
}

// All threads of the warpgroup that begins at `first` have product `index` in their lists: d += a b, or d = a b.
template <class ATOM, int N, bool A_ALONG_K, bool B_ALONG_K, bool OF_REGISTERS = false>
void multiply(unsigned first, size_t index) {
  typedef typename ATOM::element_a A;
  typedef typename ATOM::element_b B;
  typedef decltype(value_of(static_cast<const ATOM*>(nullptr), A())) Sum;
  constexpr int K = 32 / sizeof(A);
  static thread_local Sum a[64][K], b[K][N], d[64][N];
  const std::vector<AsyncThread>& threads = current_block->async.threads;
  const Product& product = threads[first].products[index];
  if constexpr (OF_REGISTERS)
    read_registers<ATOM, A, K>(first, index, a);
  else
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

}  // namespace emulator
#pragma GCC visibility pop

inline void wgmma_fence() { emulator::async_thread().fenced = true; }
inline void wgmma_commit() { ++emulator::async_thread().group; }
template <int PENDING>
void wgmma_wait(EMULATOR_CALLED_AT) {
  const unsigned number = emulator::current_block->running->number / 128;
  const unsigned group = emulator::async_thread().group;
  if (number >= emulator::current_block->warpgroups.size()) emulator::fail("is in no whole warpgroup");
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
    thread.products.push_back(
        {emulator::multiply<ATOM, N, A_ALONG_K, B_ALONG_K>, d, nullptr, a, b, accumulate, thread.group});
  }
};

template <class ATOM, int N>
struct wgmma_of_registers {
  template <bool B_ALONG_K>
  static void issue(f32* d, const u32 (&a)[4], u64 b, bool accumulate) {
    emulator::AsyncThread& thread = emulator::async_thread();
    if (!thread.fenced) emulator::fail("multiplies without wgmma_fence() since its last wait");
    thread.products.push_back(
        {emulator::multiply<ATOM, N, true, B_ALONG_K, true>, d, a, 0, b, accumulate, thread.group});
  }
};
