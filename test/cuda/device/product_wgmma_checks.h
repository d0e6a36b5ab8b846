// A product of matrices of any size by product_wgmma, against sums in long double, in three orders of threads.
#pragma once

#include "test/cuda/device/mapped_matrix.h"
//
#include "codegen/cuda/device/wgmma_residual.h"
//
#include "codegen/cuda/device/product_wgmma.h"
//
#include "codegen/cuda/device/wgmma_store.h"
//
#include "codegen/cuda/device/wgmma_rows.h"

constexpr bool K = true, LINE = false;
constexpr Way COPIED = Way::Copied, STRIDED = Way::Strided, CONVERTED = Way::Converted, COMPUTED = Way::Computed;

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
          const i64 place = tile % (down * across);
          const i64 begin = std::min(tile / (down * across) * part, a.depth), end = std::min(begin + part, a.depth);
          return PRODUCT::tile(a.operand(place / across * ROWS), b.operand(place % across * COLUMNS), begin, end);
        },
        [&](i64 tile, int thread, const typename PRODUCT::results& acc) {
          const i64 place = tile % (down * across);
          for (int e = 0; e < PRODUCT::elements; ++e)
            write(place / across * ROWS + PRODUCT::row_of(thread, e),
                  place % across * COLUMNS + PRODUCT::column_of(thread, e), tile / (down * across), acc[e]);
        });
  });
}

// Every problem in all orders of threads, or each in one.
inline bool all_orders = false;
inline std::vector<unsigned> orders() {
  static const std::vector<unsigned> every = {0, 1, 7};
  static size_t next = 0;
  return all_orders ? every : std::vector<unsigned>{every[next++ % every.size()]};
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
  for (unsigned order : orders()) {
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

// All of a tile, as an epilogue is printed; value(row, column, sum, e) of its elements.
template <class PRODUCT, class STORES, class VALUE>
void store_panels(char* staging, const tensor_map* map, const tile_corner& corner, int thread,
                  const typename PRODUCT::results& acc, const VALUE& value) {
  for (int panel = 0; panel < STORES::panels; ++panel) {
    typename STORES::part part = STORES::begin(staging, panel);
    for (int e = panel * STORES::each; e < (panel + 1) * STORES::each; e += 2) {
      const int row = PRODUCT::row_of(thread, e), column = PRODUCT::column_of(thread, e);
      STORES::put(part, thread, e, value(row, column, acc + e, e));
    }
    STORES::send(part, map, corner, thread, panel);
  }
}

// Results that are written, and the numbers that they are: sums as f32, or rounded to f16.
template <class T, class MATRIX = mapped_matrix<plain_codec<T>, K>>
struct stored_results {
  typedef MATRIX matrix_of_results;
  std::mt19937 same{1};
  matrix_of_results c;
  const matrix_of_results before;
  stored_results(i64 m, i64 n) : c(m, n, same), before(c) {}

  static vec<T, 2> pair(f32 x, f32 y) {
    if constexpr (sizeof(T) == 2)
      return {{encode_f16(x), encode_f16(y)}};
    else
      return {{x, y}};
  }
  // expected(row, column) gives value and bound.
  template <class EXPECTED>
  void check_all(const std::string& name, const EXPECTED& expected) const {
    const i64 m = c.lines, n = c.depth;
    i64 wrong = 0, touched = 0;
    for (i64 i = 0; i < m * n; ++i) {
      const auto known = expected(i / n, i % n);
      const T got = c.first[c.index(i / n, i % n)];
      const long double value = sizeof(T) == 2 ? decode_f16(u16(got)) : got;
      wrong += !(std::fabs(value - known.value) <= known.bound + (sizeof(T) == 2 ? 0x1p-10 * std::fabs(value) : 0));
    }
    for (size_t i = 0; i < c.storage.size(); ++i) {
      const i64 at = &c.storage[i] - c.first;
      if (at < 0 || at % c.pitch >= n || at / c.pitch >= m)
        touched += std::memcmp(&c.storage[i], &before.storage[i], sizeof(T)) != 0;
    }
    check(wrong == 0, "%s: %lld elements wrong", name.c_str(), wrong);
    check(touched == 0, "%s: %lld elements beyond the matrix", name.c_str(), touched);
  }
};

// A product whose results the copy engine stores, plus something of its own for every element of a tile, and plus a
// residual of R, if that is a codec.
template <int ROWS, int COLUMNS, int STAGES, int CONSUMERS, class T, bool ALTERNATE = false, class R = void,
          class A = map_f16, class B = map_f16>
void check_stores(const char* name, const Problem& problem) {
  typedef product_wgmma<atom_f16, ROWS, COLUMNS, 64, STAGES, CONSUMERS, ALTERNATE> product;
  typedef store_wgmma<product, T, 2> stores;
  constexpr bool has_residual = !std::is_void<R>::value;
  typedef typename std::conditional<has_residual, R, plain_codec<f32>>::type codec;
  constexpr int staging_at = (product::shared_bytes + 1023) / 1024 * 1024;
  std::mt19937 random(unsigned(problem.m + problem.n));
  const i64 m = problem.m, n = problem.n, down = (m + ROWS - 1) / ROWS, across = (n + COLUMNS - 1) / COLUMNS;
  A a(m, problem.depth, random);
  B b(n, problem.depth, random);
  mapped_matrix<codec, K> r(m, n, random);
  for (unsigned order : orders()) {
    stored_results<T> results(m, n);
    for (const char* broken : {encode(a, ROWS, 64), encode(b, COLUMNS, 64), results.c.encode(64, 0), r.encode(ROWS, 0)})
      if (broken) return check(false, "%s: tensor map: %s", name, broken);
    if (sizeof(typename codec::element) == 4) r.map.map.type = 7;  // as it is
    const auto own = [](int row, int column) { return f32(row + 2 * column); };
    const auto operands = [&](i64 tile) {
      const i64 row = tile / across * ROWS, column = tile % across * COLUMNS;
      if constexpr (has_residual)
        return product::tile(a.operand(row), b.operand(column), 0, problem.depth, residual(r.operand(row), column));
      else
        return product::tile(a.operand(row), b.operand(column), 0, problem.depth);
    };
    emulator::launch(
        {problem.blocks}, {unsigned(product::threads)}, size_t(staging_at + stores::shared_bytes), order, [&] {
          DYNAMIC_SHARED(shared);
          const auto store = [&](i64 tile, int thread, const typename product::results& acc, const auto& added) {
            store_panels<product, stores>(shared + staging_at, &results.c.map,
                                          {tile % across * COLUMNS, tile / across * ROWS}, thread, acc,
                                          [&](int row, int column, const f32* sums, int e) {
                                            const vec<f32, 2> more = added(thread, e);
                                            return results.pair(sums[0] + own(row, column) + more.v[0],
                                                                sums[1] + own(row, column + 1) + more.v[1]);
                                          });
          };
          if constexpr (has_residual)
            product::run(shared, down * across, operands, [&](i64 tile, int thread, const auto& acc, auto& residual) {
              store(tile, thread, acc, [&](int thread, int e) {
                const auto pair = residual.pair(thread, e);
                return vec<f32, 2>{{f32(codec::value(pair.v[0])), f32(codec::value(pair.v[1]))}};
              });
            });
          else
            product::run(shared, down * across, operands, [&](i64 tile, int thread, const auto& acc) {
              store(tile, thread, acc, [](int, int) { return vec<f32, 2>{{0, 0}}; });
            });
          stores::end();
        });
    const char* error = emulator_error();
    const std::string what = name + (" " + std::to_string(m)) + "x" + std::to_string(n) + "x" +
                             std::to_string(problem.depth) + " order " + std::to_string(order);
    check(!error, "%s: %s", what.c_str(), error ? error : "");
    if (error) return;
    results.check_all(what, [&](i64 row, i64 column) {
      const f32 more = has_residual ? f32(r.value(row, column)) : 0;
      return expectation<f32, A, B>(a, b, row, column, own(int(row % ROWS), int(column % COLUMNS)) + more, kF32);
    });
  }
}

// The same without a residual, row by row: rows of halves begin at words, or every second one between two.
template <int ROWS, int COLUMNS, int STAGES, int CONSUMERS, class T, bool ALTERNATE = false>
void check_rows(const char* name, const Problem& problem) {
  typedef product_wgmma<atom_f16, ROWS, COLUMNS, 64, STAGES, CONSUMERS, ALTERNATE> product;
  typedef rows_wgmma<product, T> stores;
  constexpr int staging_at = (product::shared_bytes + 1023) / 1024 * 1024;
  std::mt19937 random(unsigned(problem.m + problem.n));
  const i64 m = problem.m, n = problem.n, down = (m + ROWS - 1) / ROWS, across = (n + COLUMNS - 1) / COLUMNS;
  map_f16 a(m, problem.depth, random), b(n, problem.depth, random);
  for (const char* broken : {a.encode(ROWS, 64), b.encode(COLUMNS, 64)})
    if (broken) return check(false, "%s: tensor map: %s", name, broken);
  for (unsigned order : orders()) {
    stored_results<T, matrix<plain_codec<T>, 1, K, COPIED>> results(m, n);
    emulator::launch(
        {problem.blocks}, {unsigned(product::threads)}, size_t(staging_at + stores::shared_bytes), order, [&] {
          DYNAMIC_SHARED(shared);
          const auto tile_of = [&](i64 tile) {
            return product::tile(a.operand(tile / across * ROWS), b.operand(tile % across * COLUMNS), 0, problem.depth);
          };
          product::run(shared, down * across, tile_of, [&](i64 tile, int thread, const auto& acc) {
            const i64 row = tile / across * ROWS, column = tile % across * COLUMNS;
            for (int panel = 0; panel < stores::panels; ++panel) {
              typename stores::part part = stores::begin(shared + staging_at, panel);
              for (int e = panel * stores::each; e < (panel + 1) * stores::each; ++e)
                stores::put(part, thread, e, results.pair(acc[e], 0).v[0]);
              stores::send(part, results.c.first + results.c.index(row, column), results.c.pitch, m - row, n - column,
                           thread, panel);
            }
          });
          stores::end();
        });
    const char* error = emulator_error();
    const std::string what = name + (" order " + std::to_string(order));
    check(!error, "%s: %s", what.c_str(), error ? error : "");
    if (error) return;
    results.check_all(
        what, [&](i64 row, i64 column) { return expectation<f32, map_f16, map_f16>(a, b, row, column, 0, kF32); });
  }
}
