// Products of warpgroups against sums in double, in three orders of threads: all types, both directions of both
// operands, every way to bring one, sizes about the tile's, k of 0, 1 and more than the ring holds, several tiles a
// block.
#include <random>
#include <vector>

#include "test/cuda/device/checks.h"
#include "test/cuda/emulator/hopper.h"
// In the order of the device's text.
// clang-format off
#include "codegen/cuda/prelude.h"
#include "codegen/cuda/device/operand.h"
#include "codegen/cuda/device/staging.h"
#include "codegen/cuda/device/wgmma_ring.h"
#include "codegen/cuda/device/product_wgmma.h"
#include "test/cuda/device/product_wgmma_kernels.h"
// clang-format on

namespace {

// How a type is filled, what a code stands for, and as what a tensor map knows it.
template <class ATOM, class T>
struct Element;
template <>
struct Element<wgmma_f16, u16> {
  static constexpr u32 map_type = 6;
  static u16 random(std::mt19937& random) { return encode_f16(std::normal_distribution<f32>()(random)); }
  static double value(u16 code) { return decode_f16(code); }
};
template <>
struct Element<wgmma_bf16, u16> {
  static constexpr u32 map_type = 9;
  static u16 random(std::mt19937& random) { return encode_bf16(std::normal_distribution<f32>()(random)); }
  static double value(u16 code) { return decode_bf16(code); }
};
template <>
struct Element<wgmma_tf32, f32> {
  static constexpr u32 map_type = 11;
  static f32 random(std::mt19937& random) { return std::normal_distribution<f32>()(random); }
  static double value(f32 x) { return x; }
};
template <class A, class B, class T>
struct Element<wgmma_bytes<A, B>, T> {
  static constexpr u32 map_type = 0;
  static T random(std::mt19937& random) { return T(random()); }
  static double value(T x) { return x; }
};
// Of a product's precision; integers are exact.
template <class ATOM>
constexpr double kEpsilon = std::is_same_v<ATOM, wgmma_tf32>                  ? 0x1p-10
                            : std::is_same_v<typename ATOM::accumulator, i32> ? 0
                                                                              : 0x1p-24;

// lines x depth elements in rows of `pitch`, a multiple of 16 bytes; what lies between the rows must not be read.
template <class ATOM, class T, bool ALONG_K>
struct Matrix {
  i64 lines, depth, pitch;
  std::vector<T> memory;
  tensor_map map{};

  Matrix(i64 lines, i64 depth, std::mt19937& random) : lines(lines), depth(depth) {
    const i64 width = ALONG_K ? depth : lines, rows = ALONG_K ? lines : depth, unit = 16 / i64(sizeof(T));
    pitch = (width + unit - 1) / unit * unit;
    memory.resize(size_t(std::max<i64>(1, rows * pitch) + unit));
    std::memset(memory.data(), 0x7f, memory.size() * sizeof(T));  // NaN, or 127
    for (i64 row = 0; row < rows; ++row)
      for (i64 i = 0; i < width; ++i) data()[row * pitch + i] = Element<ATOM, T>::random(random);
  }
  T* data() { return reinterpret_cast<T*>((reinterpret_cast<uintptr_t>(memory.data()) + 15) & ~uintptr_t(15)); }
  double at(i64 line, i64 k) { return Element<ATOM, T>::value(data()[ALONG_K ? line * pitch + k : k * pitch + line]); }

  // Boxes of what a slot takes.
  bool encode(int tile_lines, int tile_depth) {
    const uint64_t extents[] = {uint64_t(ALONG_K ? depth : lines), uint64_t(ALONG_K ? lines : depth)};
    const uint64_t strides[] = {uint64_t(pitch) * sizeof(T)};
    const u32 box[] = {128 / sizeof(T), u32(ALONG_K ? tile_lines : tile_depth)}, ones[] = {1, 1};
    const char* broken =
        encode_tensor_map(&map.map, Element<ATOM, T>::map_type, 2, data(), extents, strides, box, ones, 0, 3, 0);
    check(!broken, "tensor map: %s", broken ? broken : "");
    return !broken;
  }
};

struct Size {
  i64 m, n, k;
};

template <class ATOM, int ROWS, int COLUMNS, int DEPTH, int STAGES, int CONSUMERS, class A, class B,
          bool ALTERNATE = false>
void test(const char* what, Size size, unsigned blocks, i64 parts = 1) {
  typedef product_wgmma<ATOM, ROWS, COLUMNS, DEPTH, STAGES, CONSUMERS, ALTERNATE> product;
  typedef typename product::accumulator accumulator;
  std::mt19937 random(unsigned(size.m * 31 + size.n * 7 + size.k));
  Matrix<ATOM, typename A::element, A::along_k> a(size.m, size.k, random);
  Matrix<ATOM, typename B::element, B::along_k> b(size.n, size.k, random);
  if (A::is_mapped && !a.encode(ROWS, DEPTH)) return;
  if (B::is_mapped && !b.encode(COLUMNS, DEPTH)) return;
  std::vector<double> expected(size_t(size.m * size.n)), bound(expected.size());
  for (i64 i = 0; i < size.m; ++i)
    for (i64 j = 0; j < size.n; ++j) {
      double sum = 0, absolute = 0;
      for (i64 k = 0; k < size.k; ++k) sum += a.at(i, k) * b.at(j, k), absolute += std::fabs(a.at(i, k) * b.at(j, k));
      expected[size_t(i * size.n + j)] = sum;
      bound[size_t(i * size.n + j)] = 2 * std::sqrt(double(size.k)) * kEpsilon<ATOM> * absolute;
    }
  for (unsigned order : {0u, 1u, 7u}) {
    std::vector<accumulator> c(size_t(parts) * expected.size());
    std::memset(c.data(), 0x7f, c.size() * sizeof(accumulator));
    emulator::launch({blocks}, {product::threads}, product::shared_bytes, order, [&] {
      multiply_matrices<product, A, B, ROWS, COLUMNS, DEPTH>(&a.map, &b.map, a.data(), b.data(), c.data(), size.m,
                                                             size.n, size.k, a.pitch, b.pitch, parts);
    });
    const char* error = emulator_error();
    size_t wrong = 0, first = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      double sum = 0;
      for (size_t part = 0; part < size_t(parts); ++part) sum += double(c[part * expected.size() + i]);
      if (std::fabs(sum - expected[i]) <= bound[i]) continue;
      if (!wrong++) first = i;
    }
    check(!error && !wrong, "%s, %lldx%lldx%lld, order %u: %zu of %zu wrong, first at row %zu, column %zu; %s", what,
          size.m, size.n, size.k, order, wrong, expected.size(), wrong ? first / size_t(size.n) : 0,
          wrong ? first % size_t(size.n) : 0, error ? error : "no error");
    if (error || wrong) return;
  }
}

typedef by_map<u16, true> map16;
typedef by_map<u16, false> turned_map16;

void test_mapped() {
  test<wgmma_f16, 128, 128, 64, 3, 2, map16, map16>("f16", {200, 136, 300}, 1);
  test<wgmma_f16, 128, 128, 64, 3, 2, map16, turned_map16>("f16, b turned", {200, 136, 300}, 2);
  test<wgmma_f16, 128, 128, 64, 3, 2, turned_map16, map16>("f16, a turned", {200, 136, 300}, 3);
  test<wgmma_bf16, 128, 256, 64, 2, 2, turned_map16, turned_map16>("bf16, both turned", {130, 300, 200}, 2);
  test<wgmma_f16, 64, 64, 128, 2, 1, map16, turned_map16>("f16, two panels of k", {65, 63, 520}, 1);
  test<wgmma_tf32, 128, 128, 32, 3, 2, by_map<f32, true>, by_map<f32, true>>("tf32", {130, 140, 150}, 2);
  test<wgmma_s8s8, 64, 128, 128, 2, 1, by_map<i8, true>, by_map<i8, true>>("i8", {100, 144, 600}, 1);
  test<wgmma_u8s8, 64, 32, 128, 3, 1, by_map<u8, true>, by_map<i8, true>>("u8 by i8", {64, 33, 129}, 1);
  test<wgmma_s8u8, 64, 16, 128, 3, 1, by_map<i8, true>, by_map<u8, true>>("i8 by u8", {63, 17, 128}, 1);
  test<wgmma_u8u8, 64, 8, 128, 3, 1, by_map<u8, true>, by_map<u8, true>>("u8", {1, 8, 1000}, 1);
}

// How the consumers share tiles.
void test_sharing() {
  test<wgmma_f16, 64, 256, 64, 3, 2, map16, turned_map16>("two by columns", {70, 260, 200}, 1);
  test<wgmma_f16, 256, 64, 64, 2, 2, turned_map16, map16>("two blocks each", {300, 65, 200}, 1);
  test<wgmma_f16, 192, 96, 64, 2, 3, map16, map16>("three by rows", {200, 100, 100}, 2);
  test<wgmma_bf16, 64, 192, 64, 2, 1, map16, map16>("one", {65, 193, 64}, 3);
  test<wgmma_f16, 64, 128, 64, 4, 2, map16, map16, true>("taking turns", {200, 260, 100}, 2);
  test<wgmma_f16, 128, 64, 64, 3, 2, map16, turned_map16, true>("taking turns, one tile", {100, 64, 500}, 1);
  test<wgmma_f16, 64, 64, 64, 2, 3, map16, map16, true>("three taking turns", {64, 1000, 65}, 2);
}

void test_moved() {
  typedef by_copies<u16, 8, true> copy8;
  typedef by_copies<u16, 8, false> turned_copy8;
  test<wgmma_f16, 128, 128, 64, 3, 2, copy8, map16>("copied by mapped", {200, 136, 304}, 2);
  test<wgmma_f16, 128, 128, 64, 4, 2, map16, turned_copy8>("mapped by copied", {200, 136, 304}, 1);
  test<wgmma_bf16, 64, 128, 64, 2, 1, turned_copy8, copy8>("copied, two slots", {72, 129, 400}, 2);
  test<wgmma_f16, 64, 64, 64, 5, 1, by_copies<u16, 2, true>, by_copies<u16, 4, false>>("small chunks", {70, 72, 402},
                                                                                       2);
  test<wgmma_f16, 64, 32, 64, 3, 1, by_copies<u16, 1, true>, by_copies<u16, 8, false>>("by elements", {65, 40, 131}, 1);
  test<wgmma_f16, 64, 64, 64, 3, 2, by_copies<u16, 1, false>, by_computing<u16, 2, true>, true>("computed",
                                                                                                {65, 70, 250}, 2);
  test<wgmma_tf32, 64, 64, 32, 3, 1, by_copies<f32, 4, false>, by_copies<f32, 1, true>>("tf32 turned", {68, 66, 99}, 1);
  test<wgmma_tf32, 64, 96, 32, 4, 1, by_copies<f32, 2, true>, by_computing<f32, 4, false>>("tf32 computed",
                                                                                           {66, 100, 130}, 2);
  test<wgmma_s8s8, 64, 64, 128, 3, 1, by_copies<i8, 16, true>, by_copies<i8, 16, false>>("i8 turned", {65, 80, 560}, 1);
  test<wgmma_u8s8, 64, 64, 128, 3, 1, by_copies<u8, 1, true>, by_computing<i8, 4, true>>("bytes", {33, 70, 513}, 1);
}

// Sizes about a tile, and k of nothing, one, less than a step, all slots, all slots and a bit.
void test_sizes() {
  typedef by_copies<u16, 1, true> copy;
  for (i64 k : {0, 1, 63, 64, 65, 192, 193, 500}) {
    test<wgmma_f16, 64, 64, 64, 3, 1, copy, copy>("k", {64, 64, k}, 1);
    test<wgmma_f16, 64, 64, 64, 3, 2, copy, copy, true>("k, taking turns", {65, 129, k}, 1);
    if (k) test<wgmma_f16, 64, 64, 64, 3, 1, map16, map16>("k mapped", {65, 129, k}, 1);
  }
  for (i64 edge : {1, 2, 63, 64, 65, 127, 128}) {
    test<wgmma_f16, 64, 64, 64, 3, 1, map16, turned_map16>("rows", {edge, 64, 100}, 1);
    test<wgmma_f16, 64, 64, 64, 3, 1, map16, turned_map16>("columns", {64, edge, 100}, 2);
  }
  test<wgmma_f16, 64, 64, 64, 3, 1, map16, map16>("parts of k", {100, 70, 450}, 2, 3);
  test<wgmma_f16, 64, 64, 64, 3, 1, map16, map16>("more parts than steps", {64, 64, 100}, 1, 4);
  test<wgmma_f16, 64, 64, 64, 3, 1, copy, copy>("more blocks than tiles", {65, 64, 100}, 4);
  test<wgmma_f16, 64, 64, 64, 3, 1, copy, copy>("no tile", {0, 64, 100}, 1);
}

}  // namespace

int main() {
  test_mapped();
  test_sharing();
  test_moved();
  test_sizes();
  return report();
}
