// product_wgmma: every atom, orientation and way to bring an operand, in three orders of threads; tiles shared by rows,
// by columns and in turns; sizes at the edges of a tile, depths at the edges of the ring, several tiles a block.
#include "test/cuda/device/product_checks.h"
//
#include "codegen/cuda/device/atoms.h"
//
#include "test/cuda/emulator/hopper.h"
//
#include "codegen/cuda/device/wgmma_layout.h"
//
#include "codegen/cuda/device/wgmma_ring.h"
//
#include "codegen/cuda/device/product_wgmma.h"

namespace {

constexpr bool K = true, LINE = false, COPIED = true, COMPUTED = false;

// How cuTensorMapEncodeTiled counts element types; f32 is rounded to tf32 on its way.
template <class CODEC>
constexpr u32 kMapType = sizeof(typename CODEC::element) == 1   ? 0
                         : sizeof(typename CODEC::element) == 2 ? 6
                                                                : kTensorMapTf32;

// Rows padded to 16 bytes, what is left of the last with what nobody may use.
template <class CODEC, bool ALONG_K>
struct mapped_matrix : matrix<CODEC, 16 / int(sizeof(typename CODEC::element)), ALONG_K, COPIED> {
  typedef typename CODEC::element T;
  static constexpr int vector = 1;
  tensor_map map{};

  mapped_matrix(i64 lines, i64 depth, std::mt19937& random)
      : matrix<CODEC, 16 / int(sizeof(T)), ALONG_K, COPIED>(lines, depth, random) {}
  // For tiles of lines x depth.
  const char* encode(int tile_lines, int tile_depth) {
    const uint64_t along = uint64_t(this->depth), across = uint64_t(this->lines);
    const uint64_t extents[] = {ALONG_K ? along : across, ALONG_K ? across : along};
    const uint64_t strides[] = {uint64_t(this->pitch) * sizeof(T)};
    const u32 box[] = {128 / sizeof(T), u32(ALONG_K ? tile_lines : tile_depth)}, ones[] = {1, 1};
    return encode_tensor_map(&map.map, kMapType<CODEC>, 2, this->first, extents, strides, box, ones, 0, 3, 0);
  }
  auto operand(i64 begin) const { return mapped<T, ALONG_K>(&map, begin); }
};
template <class CODEC, bool ALONG_K>
const char* encode(mapped_matrix<CODEC, ALONG_K>& of, int lines, int depth) {
  return of.encode(lines, depth);
}
template <class CODEC, int VECTOR, bool ALONG_K, bool COPIED>
const char* encode(matrix<CODEC, VECTOR, ALONG_K, COPIED>&, int, int) {
  return nullptr;
}

struct Problem {
  i64 m, n, depth;
  unsigned blocks = 1;
  i64 parts = 1;  // of k, cut where steps end, each a sum of its own
};

// Calls write(row, column, part, sum) for what a grid of few blocks computes.
template <class PRODUCT, int ROWS, int COLUMNS, int DEPTH, class A, class B, class WRITE>
void multiply(const A& a, const B& b, const Problem& problem, unsigned order, const WRITE& write) {
  const i64 down = (a.lines + ROWS - 1) / ROWS, across = (b.lines + COLUMNS - 1) / COLUMNS;
  const i64 steps = (a.depth + DEPTH - 1) / DEPTH, part = (steps + problem.parts - 1) / problem.parts * DEPTH;
  emulator::launch({problem.blocks}, {unsigned(PRODUCT::threads)}, size_t(PRODUCT::shared_bytes), order, [&] {
    DYNAMIC_SHARED(shared);
    PRODUCT::run(
        shared, down * across * problem.parts,
        [&](i64 tile) {
          const i64 begin = std::min(tile / (down * across) * part, a.depth), end = std::min(begin + part, a.depth);
          return PRODUCT::tile(a.operand(tile / across % down * ROWS), b.operand(tile % across * COLUMNS), begin, end);
        },
        [&](i64 tile, int thread, const typename PRODUCT::results& acc) {
          for (int e = 0; e < PRODUCT::elements; ++e)
            write(tile / across % down * ROWS + PRODUCT::row_of(thread, e),
                  tile % across * COLUMNS + PRODUCT::column_of(thread, e), tile / (down * across), acc[e]);
        });
  });
}

template <class ATOM, int ROWS, int COLUMNS, int DEPTH, int STAGES, int CONSUMERS, class A, class B,
          bool ALTERNATE = false>
void test(const char* name, f64 epsilon, const Problem& problem) {
  typedef product_wgmma<ATOM, ROWS, COLUMNS, DEPTH, STAGES, CONSUMERS, ALTERNATE> product;
  typedef typename product::accumulator ACC;
  std::mt19937 random(unsigned(problem.m * 31 + problem.n * 17 + problem.depth));
  A a(problem.m, problem.depth, random);
  B b(problem.n, problem.depth, random);
  for (const char* broken : {encode(a, ROWS, DEPTH), encode(b, COLUMNS, DEPTH)})
    if (broken) return check(false, "%s: tensor map: %s", name, broken);
  const i64 m = problem.m, n = problem.n;
  std::vector<expectation<ACC, A, B>> expected;
  for (i64 i = 0; i < m * n; ++i) expected.emplace_back(a, b, i / n, i % n, 0, epsilon);
  for (unsigned order : {0u, 1u, 7u}) {
    std::vector<ACC> parts(size_t(problem.parts * m * n), plain_codec<ACC>::never());
    multiply<product, ROWS, COLUMNS, DEPTH>(a, b, problem, order, [&](i64 i, i64 j, i64 part, ACC sum) {
      if (i < m && j < n) parts[size_t((part * m + i) * n + j)] = sum;
    });
    const char* error = emulator_error();
    check(!error, "%s %lldx%lldx%lld order %u: %s", name, m, n, problem.depth, order, error ? error : "");
    if (error) return;
    i64 wrong = 0;
    for (i64 i = 0; i < m * n; ++i) {
      ACC got = 0;
      for (i64 part = 0; part < problem.parts; ++part) got += parts[size_t(part * m * n + i)];
      if (!expected[size_t(i)].met(got) && wrong++ == 0)
        check(false, "%s %lldx%lldx%lld order %u: [%lld, %lld] is %.9g, expected %.9g within %.2g", name, m, n,
              problem.depth, order, i / n, i % n, f64(got), f64(expected[size_t(i)].value),
              f64(expected[size_t(i)].bound));
    }
    check(wrong == 0, "%s %lldx%lldx%lld order %u: %lld elements wrong", name, m, n, problem.depth, order, wrong);
  }
}

// Products of f32 sums; tf32 that nobody rounded is cut.
constexpr f64 kF32 = 0x1p-24, kTf32 = 0x1p-11, kCutTf32 = 0x1p-10;

typedef mapped_matrix<f16_codec, K> map_f16;
typedef mapped_matrix<f16_codec, LINE> lines_f16;
template <class T>
using map_of = mapped_matrix<plain_codec<T>, K>;

void test_mapped() {
  typedef mapped_matrix<bf16_codec, LINE> lines_bf16;
  test<atom_f16, 128, 128, 64, 3, 2, map_f16, lines_f16>("f16", kF32, {200, 136, 300, 2});
  test<atom_f16, 128, 128, 64, 3, 2, lines_f16, map_f16>("f16, lines of a", kF32, {200, 136, 300, 3});
  test<atom_bf16, 128, 256, 64, 2, 2, lines_bf16, lines_bf16>("bf16", kF32, {130, 300, 200, 2});
  test<atom_f16, 64, 64, 128, 2, 1, map_f16, lines_f16>("f16, two panels of k", kF32, {65, 63, 520, 1});
  test<atom_tf32, 128, 128, 32, 3, 2, map_of<f32>, map_of<f32>>("tf32", kTf32, {130, 140, 150, 2});
  test<atom_s8_s8, 64, 128, 128, 2, 1, map_of<i8>, map_of<i8>>("s8 s8", 0, {100, 144, 600, 1});
  test<atom_u8_s8, 64, 32, 128, 3, 1, map_of<u8>, map_of<i8>>("u8 s8", 0, {64, 33, 129, 1});
  test<atom_s8_u8, 64, 16, 128, 3, 1, map_of<i8>, map_of<u8>>("s8 u8", 0, {63, 17, 128, 1});
  test<atom_u8_u8, 64, 8, 128, 3, 1, map_of<u8>, map_of<u8>>("u8 u8", 0, {1, 8, 1000, 1});
}

void test_sharing() {
  typedef mapped_matrix<bf16_codec, K> map_bf16;
  test<atom_f16, 64, 256, 64, 3, 2, map_f16, lines_f16>("two by columns", kF32, {70, 260, 200});
  test<atom_f16, 256, 64, 64, 2, 2, lines_f16, map_f16>("two blocks each", kF32, {300, 65, 200});
  test<atom_f16, 192, 96, 64, 2, 3, map_f16, map_f16>("three by rows", kF32, {200, 100, 100, 2});
  test<atom_bf16, 64, 192, 64, 2, 1, map_bf16, map_bf16>("one", kF32, {65, 193, 64, 3});
  test<atom_f16, 64, 128, 64, 4, 2, map_f16, map_f16, true>("turns", kF32, {200, 260, 100, 2});
  test<atom_f16, 128, 64, 64, 3, 2, map_f16, lines_f16, true>("turns, one tile", kF32, {100, 64, 500});
  test<atom_f16, 64, 64, 64, 2, 3, map_f16, map_f16, true>("three turns", kF32, {64, 1000, 65, 2});
}

void test_moved() {
  typedef plain_codec<f32> f;
  test<atom_f16, 128, 128, 64, 3, 2, matrix<f16_codec, 8, K, COPIED>, map_f16>("copied a", kF32, {200, 136, 304, 2});
  test<atom_f16, 128, 128, 64, 4, 2, map_f16, matrix<f16_codec, 8, LINE, COPIED>>("copied b", kF32, {200, 136, 304});
  test<atom_bf16, 64, 128, 64, 2, 1, matrix<bf16_codec, 8, LINE, COPIED>, matrix<bf16_codec, 8, K, COPIED>>(
      "copied, two slots", kF32, {72, 129, 400, 2});
  test<atom_f16, 64, 64, 64, 5, 1, matrix<f16_codec, 2, K, COPIED>, matrix<f16_codec, 4, LINE, COPIED>>(
      "small chunks", kF32, {70, 72, 402, 2});
  test<atom_f16, 64, 32, 64, 3, 1, matrix<f16_codec, 1, K, COPIED>, matrix<f16_codec, 8, LINE, COPIED>>(
      "too narrow for a panel", kF32, {65, 40, 131});
  test<atom_f16, 64, 64, 64, 3, 2, matrix<f16_codec, 1, LINE, COPIED>, matrix<f16_codec, 2, K, COMPUTED>, true>(
      "computed", kF32, {65, 70, 250, 2});
  test<atom_tf32, 64, 64, 32, 3, 1, matrix<f, 4, LINE, COPIED>, matrix<f, 1, K, COPIED>>("tf32", kCutTf32,
                                                                                         {68, 66, 99});
  test<atom_tf32, 64, 96, 32, 4, 1, matrix<f, 2, K, COPIED>, matrix<f, 4, LINE, COMPUTED>>("tf32 computed", kCutTf32,
                                                                                           {66, 100, 130, 2});
  test<atom_s8_s8, 64, 64, 128, 3, 1, matrix<plain_codec<i8>, 16, K, COPIED>,
       matrix<plain_codec<i8>, 16, LINE, COPIED>>("s8 s8 copied", 0, {65, 80, 560});
  test<atom_u8_s8, 64, 64, 128, 3, 1, matrix<plain_codec<u8>, 1, K, COPIED>, matrix<plain_codec<i8>, 4, K, COMPUTED>>(
      "u8 s8 computed", 0, {33, 70, 516});
}

void test_sizes() {
  typedef matrix<f16_codec, 1, K, COPIED> copied_f16;
  for (i64 depth : {0, 1, 63, 64, 65, 192, 193, 500}) {
    test<atom_f16, 64, 64, 64, 3, 1, copied_f16, copied_f16>("copied", kF32, {64, 64, depth});
    test<atom_f16, 64, 64, 64, 3, 2, copied_f16, copied_f16, true>("copied in turns", kF32, {65, 129, depth});
    if (depth) test<atom_f16, 64, 64, 64, 3, 1, map_f16, map_f16>("mapped", kF32, {65, 129, depth});
  }
  for (i64 edge : {1, 2, 63, 64, 65, 127, 128}) {
    test<atom_f16, 64, 64, 64, 3, 1, map_f16, lines_f16>("rows", kF32, {edge, 64, 100});
    test<atom_f16, 64, 64, 64, 3, 1, map_f16, lines_f16>("columns", kF32, {64, edge, 100, 2});
  }
  test<atom_f16, 64, 64, 64, 3, 1, map_f16, map_f16>("parts of k", kF32, {100, 70, 450, 2, 3});
  test<atom_f16, 64, 64, 64, 3, 1, map_f16, map_f16>("more parts than steps", kF32, {64, 64, 100, 1, 4});
  test<atom_f16, 64, 64, 64, 3, 1, copied_f16, copied_f16>("more blocks than tiles", kF32, {65, 64, 100, 4});
  test<atom_f16, 64, 64, 64, 3, 1, copied_f16, copied_f16>("no tile", kF32, {0, 64, 100});
}

}  // namespace

int main() {
  test_mapped();
  test_sharing();
  test_moved();
  test_sizes();
  return report();
}
