// A product of matrices of any size by the tiles of product_fma or product_mma, against sums in long double: in every
// order of threads, with K split in two calls that share their shared memory, adding to what the accumulators had.
#pragma once

#include <random>
#include <vector>

#include "test/cuda/device/checks.h"
#include "test/cuda/emulator.h"
// What is tested, in the order of its text.
#include "codegen/cuda/prelude.h"
//
#include "codegen/cuda/conversions.h"
//
#include "codegen/cuda/device/memory.h"
//
#include "codegen/cuda/device/operand.h"
//
#include "codegen/cuda/device/staging.h"

// How the elements of an operand are to be read, and how exact a product of them is.
template <class T>
struct plain_codec {
  typedef T element;
  static T value(T x) { return x; }
  static T make(std::mt19937& random) {
    if constexpr (std::is_floating_point_v<T>) return T(std::uniform_real_distribution<f64>(-1, 1)(random));
    return T(u64(random()) << 32 | random());
  }
  static T never() { return std::is_floating_point_v<T> ? T(NAN) : T(0x55); }
};
struct f16_codec {
  typedef u16 element;
  static f32 value(u16 code) { return decode_f16(code); }
  static u16 make(std::mt19937& random) { return encode_f16(plain_codec<f32>::make(random)); }
  static u16 never() { return 0x7e00; }
};
struct bf16_codec {
  typedef u16 element;
  static f32 value(u16 code) { return decode_bf16(code); }
  static u16 make(std::mt19937& random) { return encode_bf16(plain_codec<f32>::make(random)); }
  static u16 never() { return 0x7fc0; }
};

enum class Way { Copied, Strided, Prepared, Converted, Computed };

// Lines by k, in memory along k or along the line, rows padded with what nobody may use.
template <class CODEC, int VECTOR, bool ALONG_K, Way WAY>
struct matrix {
  typedef typename CODEC::element T;
  static constexpr int vector = VECTOR;
  i64 lines, depth, pitch;
  std::vector<T> storage;
  T* first;  // aligned to 16

  matrix(i64 lines, i64 depth, std::mt19937& random) : lines(lines), depth(depth) {
    pitch = ((ALONG_K ? depth : lines) + VECTOR - 1) / VECTOR * VECTOR + VECTOR;
    storage.assign(size_t((ALONG_K ? lines : depth) * pitch) + 16 / sizeof(T), CODEC::never());
    first = reinterpret_cast<T*>((reinterpret_cast<uintptr_t>(storage.data()) + 15) / 16 * 16);
    for (i64 line = 0; line < lines; ++line)
      for (i64 k = 0; k < depth; ++k) first[index(line, k)] = CODEC::make(random);
  }
  i64 index(i64 line, i64 k) const { return ALONG_K ? line * pitch + k : k * pitch + line; }
  auto value(i64 line, i64 k) const { return CODEC::value(first[index(line, k)]); }
  // As the compiler would print it; the tile begins at `begin`.
  auto operand(i64 begin) const {
    const i64 lines = this->lines;
    if constexpr (WAY == Way::Strided) {
      return strided<T, VECTOR, ALONG_K>(first + index(begin, 0), pitch, lines - begin);
    } else if constexpr (WAY == Way::Prepared) {
      struct known {
        i64 line;
        bool valid;
      };
      return prepared<T, VECTOR, ALONG_K>(
          [=](i64 line) {
            return known{begin + line, begin + line < lines};
          },
          [this_ = this](const known& of, i64, i64 k) {
            return source<T>{this_->first + this_->index(of.line, k), of.valid};
          });
    } else if constexpr (WAY == Way::Copied) {
      return copied<T, VECTOR, ALONG_K>([=, this_ = this](i64 line, i64 k) {
        return source<T>{this_->first + this_->index(begin + line, k), begin + line < lines};
      });
    } else if constexpr (WAY == Way::Converted) {
      struct loaded {
        vec<T, VECTOR> chunk;
        i64 line, k;
      };
      const auto load_chunk = [=, this_ = this](i64 line, i64 k) {
        loaded given = {{}, line, k};
        if (begin + line < lines) given.chunk = load<VECTOR>(this_->first + this_->index(begin + line, k));
        return given;
      };
      return converted<T, VECTOR, ALONG_K>(load_chunk, [](const loaded& given, i64 line, i64 k) {
        if (line != given.line || k != given.k)
          check(false, "converted as (%lld, %lld), loaded as (%lld, %lld)", line, k, given.line, given.k);
        return given.chunk;
      });
    } else {
      return computed<T, VECTOR, ALONG_K>([=, this_ = this](i64 line, i64 k) {
        vec<T, VECTOR> chunk = {};
        if (begin + line < lines) chunk = load<VECTOR>(this_->first + this_->index(begin + line, k));
        if constexpr (VECTOR == 1)
          return chunk.v[0];
        else
          return chunk;
      });
    }
  }
  // The same with `begin` along k: what a block of queries sees.
  auto positions(i64 begin) const {
    const i64 depth = this->depth, lines = this->lines;
    if constexpr (WAY == Way::Computed) {
      return computed<T, VECTOR, ALONG_K>([=, this_ = this](i64 line, i64 k) {
        vec<T, VECTOR> chunk = {};
        if (line < lines && begin + k < depth) chunk = load<VECTOR>(this_->first + this_->index(line, begin + k));
        if constexpr (VECTOR == 1)
          return chunk.v[0];
        else
          return chunk;
      });
    } else {
      return copied<T, VECTOR, ALONG_K>([=, this_ = this](i64 line, i64 k) {
        return source<T>{this_->first + this_->index(line, begin + k), line < lines && begin + k < depth};
      });
    }
  }
  static i64 whole_chunks(i64 size) { return (size + VECTOR - 1) / VECTOR * VECTOR; }
};

// What an element shall be, and how far from it it may be. Integers wrap.
template <class ACC, class A, class B>
struct expectation {
  long double value, bound = 0;
  bool met(ACC got) const { return std::fabs((long double)got - value) <= bound; }

  expectation(const A& a, const B& b, i64 i, i64 j, ACC start, f64 epsilon) : value(start) {
    if constexpr (std::is_integral_v<ACC>) {
      u64 sum = u64(start);
      for (i64 k = 0; k < a.depth; ++k) sum += u64(a.value(i, k)) * u64(b.value(j, k));
      value = ACC(sum);
    } else {
      long double magnitude = std::fabs(value);
      for (i64 k = 0; k < a.depth; ++k) {
        const long double term = (long double)a.value(i, k) * b.value(j, k);
        value += term;
        magnitude += std::fabs(term);
      }
      bound = 2 * std::sqrt((long double)a.depth + 1) * epsilon * magnitude;
    }
  }
};

template <class PRODUCT, int ROWS, int COLUMNS, int THREADS, class ACC, class A, class B>
void check_product(const char* name, i64 m, i64 n, i64 depth, f64 epsilon, unsigned order) {
  std::mt19937 random(unsigned(m * 31 + n * 17 + depth));
  const A a(m, depth, random);
  const B b(n, depth, random);
  const auto start = [](i64 row, i64 column) { return ACC((row * 7 + column * 3) % 5); };
  std::vector<ACC> c(size_t(m * n), plain_codec<ACC>::never());
  const emulator::dim3 grid{unsigned((n + COLUMNS - 1) / COLUMNS), unsigned((m + ROWS - 1) / ROWS)};
  emulator::bank_conflicts = 0;
  emulator::launch(grid, {THREADS}, PRODUCT::shared_bytes, order, [&] {
    DYNAMIC_SHARED(shared);
    const i64 row = i64(blockIdx.y) * ROWS, column = i64(blockIdx.x) * COLUMNS, middle = depth / 2 / 16 * 16;
    ACC acc[PRODUCT::elements];
    for (int e = 0; e < PRODUCT::elements; ++e)
      acc[e] = start(row + PRODUCT::row_of(threadIdx.x, e), column + PRODUCT::column_of(threadIdx.x, e));
    const auto operand_a = a.operand(row);
    const auto operand_b = b.operand(column);
    PRODUCT::accumulate(acc, shared, 0, middle, operand_a, operand_b);
    PRODUCT::accumulate(acc, shared, middle, depth, operand_a, operand_b);
    for (int e = 0; e < PRODUCT::elements; ++e) {
      const i64 i = row + PRODUCT::row_of(threadIdx.x, e), j = column + PRODUCT::column_of(threadIdx.x, e);
      if (i < m && j < n) c[size_t(i * n + j)] = acc[e];
    }
  });
  const char* error = emulator_error();
  check(!error, "%s %lldx%lldx%lld order %u: %s", name, m, n, depth, order, error ? error : "");
  if (error) return;
  check(emulator::bank_conflicts == 0, "%s %lldx%lldx%lld: %llu cycles lost to bank conflicts", name, m, n, depth,
        u64(emulator::bank_conflicts));
  i64 wrong = 0;
  for (i64 i = 0; i < m; ++i)
    for (i64 j = 0; j < n; ++j) {
      const expectation<ACC, A, B> expected(a, b, i, j, start(i, j), epsilon);
      const ACC got = c[size_t(i * n + j)];
      if (!expected.met(got) && wrong++ == 0)
        check(false, "%s %lldx%lldx%lld order %u: [%lld, %lld] is %.9g, expected %.9g within %.2g", name, m, n, depth,
              order, i, j, f64(got), f64(expected.value), f64(expected.bound));
    }
  check(wrong == 0, "%s %lldx%lldx%lld order %u: %lld elements wrong", name, m, n, depth, order, wrong);
}

// Sizes at the edges of a tile, depths at the edges of the pipeline. A chunk must not straddle an edge: sizes are its
// multiples, so vectors of 1 go everywhere.
template <class PRODUCT, int ROWS, int COLUMNS, int DEPTH, int THREADS, int STAGES, class ACC, class A, class B>
void check_sizes(const char* name, f64 epsilon, bool all) {
  const auto depth_of = [](i64 depth) { return B::whole_chunks(A::whole_chunks(depth)); };
  const auto run = [&](i64 m, i64 n, i64 depth, unsigned order) {
    check_product<PRODUCT, ROWS, COLUMNS, THREADS, ACC, A, B>(name, A::whole_chunks(m), B::whole_chunks(n),
                                                              depth_of(depth), epsilon, order);
  };
  const i64 long_depth = 2 * ((STAGES + 1) * DEPTH + DEPTH / 2 + 1);
  run(ROWS + 1, COLUMNS + 1, long_depth, 0);
  run(1, COLUMNS, long_depth, 1);
  run(ROWS - 1, 1, long_depth + DEPTH, 7);
  unsigned order = 0;
  for (i64 depth : {0, 1, DEPTH - 1, DEPTH, DEPTH + 1, 2 * DEPTH, STAGES * DEPTH}) run(ROWS / 2 + 1, 3, depth, order++);
  if (!all) return;
  for (unsigned each_order : {0u, 1u, 5u, 99u})
    for (i64 depth : {i64(1), i64(DEPTH), i64(2 * DEPTH + 1), long_depth, 2 * long_depth})
      run(2 * ROWS + 3, COLUMNS + 5, depth, each_order);
}
