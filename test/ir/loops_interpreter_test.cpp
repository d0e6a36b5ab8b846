// What kernels compute, and what the interpreter refuses.
#include "ir/loops_interpreter.h"

#include <gtest/gtest.h>

#include <cmath>

#include "ir/error.h"
#include "ir/text.h"
#include "ir/verifier.h"

namespace lapidary::loops {
namespace {

template <class T>
BoundBuffer bound(std::vector<T>& data) {
  return {data.data(), static_cast<int64_t>(data.size())};
}

std::vector<float> numbers(size_t count, float scale = 0.37f) {
  std::vector<float> result(count);
  for (size_t i = 0; i < count; i++) result[i] = std::sin(static_cast<float>(i) * scale + 1);
  return result;
}

// The message of what goes wrong when `text` runs over two buffers of 8 floats, with n = 8.
std::string failure(const std::string& body, int64_t tasks = 2) {
  std::vector<float> x(8, 1), y(8, 2), scratch(8);
  Kernel kernel = parse_kernel(
      "kernel \"k\" (%x: global f32, %y: global f32 written, %s: stage f32, n: i64) { for task t in [0, n) {" + body +
      "} }");
  try {
    interpret(kernel, {bound(x), bound(y), {nullptr, 8}}, {8}, 0, tasks);
  } catch (const Error& error) {
    EXPECT_EQ(error.fault, Fault::Internal);
    return error.what();
  }
  return "";
}

// C[m, n] = A[m, k] · B[k, n] in tiles of 4 rows by 16 lanes: m a multiple of 4, n masked.
constexpr const char* kMatmul =
    R"(kernel "matmul" (%a: global f32, %b: global f32, %c: global f32 written, m: i64, n: i64 range [1, ..], k: i64) {
  let columns: i64 = (n + 15) / 16
  for task t in [0, m / 4 * columns) range [0, ..] {
    let row: i64 = t / columns * 4
    let column: i64 = t mod columns * 16
    let keep: boolx16 = ramp(0, 1, 16) < splat(n - column, 16)
    local %acc: f32x16[4] {
      for unrolled r in [0, 4) {
        store %acc[r] = f32x16 0.0
      }
      for p in [0, k) {
        let b: f32x16 = %b[p * n + column : 16 if keep]
        for unrolled r in [0, 4) {
          store %acc[r] = fma(splat(%a[(row + r) * k + p], 16), b, %acc[r])
        }
      }
      for unrolled r in [0, 4) {
        store %c[(row + r) * n + column : 16 if keep] = %acc[r]
      }
    }
  }
})";

TEST(LoopsInterpreter, TiledMatmul) {
  constexpr int64_t m = 8, n = 37, k = 21;
  std::vector<float> a = numbers(m * k), b = numbers(k * n, 0.91f), c(m * n, -1);
  Kernel kernel = parse_kernel(kMatmul);
  EXPECT_TRUE(verify(kernel).empty()) << verify(kernel)[0];
  interpret(kernel, {bound(a), bound(b), bound(c)}, {m, n, k}, 0, 6);
  for (int64_t i = 0; i < m; i++) {
    for (int64_t j = 0; j < n; j++) {
      float sum = 0;
      for (int64_t p = 0; p < k; p++)
        sum = std::fma(a[static_cast<size_t>(i * k + p)], b[static_cast<size_t>(p * n + j)], sum);
      ASSERT_EQ(c[static_cast<size_t>(i * n + j)], sum) << i << ", " << j;  // to the bit
    }
  }
}

TEST(LoopsInterpreter, TasksAreARange) {
  constexpr int64_t m = 8, n = 16, k = 3;
  std::vector<float> a = numbers(m * k), b = numbers(k * n), c(m * n, -1);
  interpret(parse_kernel(kMatmul), {bound(a), bound(b), bound(c)}, {m, n, k}, 1, 2);
  EXPECT_EQ(c[0], -1);
  EXPECT_NE(c[4 * n], -1);
}

TEST(LoopsInterpreter, MaskedTailTouchesNothingBehindTheEnd) {
  std::vector<float> x = numbers(37), y(37);
  Kernel kernel = parse_kernel(R"(kernel "elementwise" (%x: global f32, %y: global f32 written, n: i64) {
    for task t in [0, (n + 15) / 16) {
      let keep: boolx16 = ramp(0, 1, 16) < splat(n - t * 16, 16)
      store %y[t * 16 : 16 if keep] = max(%x[t * 16 : 16 if keep] * f32x16 3.0, f32x16 0.0)
    }
  })");
  interpret(kernel, {bound(x), bound(y)}, {37}, 0, 3);
  for (size_t i = 0; i < x.size(); i++) EXPECT_EQ(y[i], std::max(x[i] * 3.0f, 0.0f));
}

TEST(LoopsInterpreter, VectorForms) {
  std::vector<float> x = {1, 2, 3, 4, 5, 6, 7, 8}, y(16);
  std::vector<uint16_t> h = {0x3c00, 0xc000};  // 1, -2 in f16
  Kernel kernel = parse_kernel(R"(kernel "forms" (%x: global f32, %h: global f16, %y: global f32 written) {
    for task t in [0, 1) {
      store %y[0] = reduce_add(%x[0 : 8])
      store %y[1] = reduce_max(%x[0 : 8])
      store %y[2 : 4] = shuffle(%x[0 : 4], %x[4 : 4], [7, -1, 0, 4])
      store %y[6 : 2] = f32(%h[0 : 2])
      store %y[ramp(15, -2, 4)] = %x[ramp(i32 0, i32 2, 4)]
      store %y[8] = f32(t + 7)
      store %y[10] = select(t < 1, inf, 0.0)
    }
  })");
  interpret(kernel, {bound(x), bound(h), bound(y)}, {}, 0, 1);
  std::vector<float> expected = {36, 8, 8, 0, 1, 5, 1, -2, 7, 7, INFINITY, 5, 0, 3, 0, 1};
  EXPECT_EQ(y, expected);
}

TEST(LoopsInterpreter, AccessesStayInBounds) {
  EXPECT_EQ(failure("store %y[t] = %x[t + 7]"), "kernel 'k': load of %x[8], which has 8 elements, in task 1");
  EXPECT_EQ(failure("store %y[t - 1] = 0.0"), "kernel 'k': store to %y[-1], which has 8 elements, in task 0");
  EXPECT_EQ(failure("store %y[t : 8 if ramp(0, 1, 8) < splat(8 - t * 8, 8)] = f32x8 0.0"), "");
  EXPECT_EQ(failure("local %a: f32[4] { store %a[t + 3] = 0.0 }"),
            "kernel 'k': store to %a[4], which has 4 elements, in task 1");
}

TEST(LoopsInterpreter, RacesAreReported) {
  EXPECT_EQ(failure("store %y[0] = 1.0"), "kernel 'k': race: store to %y[0], which task 0 wrote, in task 1");
  EXPECT_EQ(failure("if t < 1 { store %y[t + 1] = 1.0 } else { store %y[t - 1] = %y[t] }"),
            "kernel 'k': race: load of %y[1], which task 0 wrote, in task 1");
  EXPECT_EQ(failure("store %y[t] = %y[1]"), "kernel 'k': race: store to %y[1], which several tasks read, in task 1");
  EXPECT_EQ(failure("store %y[t] = %x[t]"), "");
}

TEST(LoopsInterpreter, WhatNobodyWroteIsNotRead) {
  EXPECT_EQ(failure("local %a: f32[4] { store %y[t] = %a[0] }"),
            "kernel 'k': load of %a[0], which nobody wrote, in task 0");
  EXPECT_EQ(failure("if t < 1 { store %s[0] = 1.0 } store %y[t] = %s[0]"),
            "kernel 'k': load of %s[0], which nobody wrote, in task 1");
  EXPECT_EQ(failure("for i in [0, 2) { local %a: f32[4] { if i < 1 { store %a[0] = 1.0 } store %s[0] = %a[0] } }"),
            "kernel 'k': load of %a[0], which nobody wrote, in task 0");
}

TEST(LoopsInterpreter, PromisesOfBuffersAndVariablesHold) {
  EXPECT_EQ(failure("store %x[t] = 1.0"), "kernel 'k': store to %x, which is not written, in task 0");
  EXPECT_EQ(failure("store %y[t] = 1.0 store %s[0] = %y[t]"),
            "kernel 'k': load of %y[0], which the kernel stored: it is not marked reads_own_writes, in task 0");
  EXPECT_NE(failure("for i in [0, n) range [0, 3] { store %s[i] = 1.0 }").find("'i' is 4, claimed in [0, 3]"),
            std::string::npos);
  EXPECT_NE(failure("", 9).find("tasks 0 to 9 of [0, 8)"), std::string::npos);
}

TEST(LoopsInterpreter, BuffersAreEqualOrApart) {
  std::vector<float> x(8, 1);
  Kernel in_place = parse_kernel(R"(kernel "k" (%x: global f32, %y: global f32 written) {
    for task t in [0, 4) { store %y[t] = %x[t] + 1.0 } })");
  interpret(in_place, {{x.data(), 4}, {x.data(), 4}}, {}, 0, 4);
  EXPECT_EQ(x[3], 2);
  EXPECT_THROW(interpret(in_place, {{x.data(), 4}, {x.data() + 1, 4}}, {}, 0, 4), Error);
  Kernel shifted = parse_kernel(R"(kernel "k" (%x: global f32, %y: global f32 written) {
    for task t in [0, 4) { store %y[t] = %x[3 - t] } })");
  EXPECT_THROW(interpret(shifted, {{x.data(), 4}, {x.data(), 4}}, {}, 0, 4), Error);
}

}  // namespace
}  // namespace lapidary::loops
