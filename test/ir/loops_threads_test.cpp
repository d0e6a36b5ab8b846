// Blocks of threads: their text, what is well-formed, what they compute, and the races the interpreter finds.
#include <gtest/gtest.h>

#include <cmath>

#include "ir/error.h"
#include "ir/loops_interpreter.h"
#include "ir/text.h"
#include "ir/verifier.h"

namespace lapidary::loops {
namespace {

template <class T>
BoundBuffer bound(std::vector<T>& data) {
  return {data.data(), static_cast<int64_t>(data.size())};
}

std::vector<float> numbers(size_t count) {
  std::vector<float> result(count);
  for (size_t i = 0; i < count; i++) result[i] = std::sin(static_cast<float>(i) * 0.37f + 1);
  return result;
}

std::string head(int threads) {
  return "kernel \"k\" threads=" + std::to_string(threads) +
         " (%x: global f32, %y: global f32 written, n: i64 range [0, ..]) {\n";
}

void expect_well_formed(const std::string& text) {
  const Kernel kernel = parse_kernel(text);
  EXPECT_EQ(print_kernel(kernel), text);
  EXPECT_TRUE(verify(kernel).empty()) << verify(kernel).front();
}

// What is wrong with, or goes wrong in, a task of 32 threads over 64 floats.
std::string violation(const std::string& body) {
  const auto found = verify(parse_kernel(head(32) + "for task t in [0, n) {" + body + "} }"));
  return found.empty() ? "" : found.front();
}
std::string failure(const std::string& body) {
  std::vector<float> x(64, 1), y(64, 2);
  const Kernel kernel = parse_kernel(head(32) + "for task t in [0, n) {" + body + "} }");
  EXPECT_EQ(violation(body), "");
  try {
    interpret(kernel, {bound(x), bound(y)}, {1}, 0, 1);
  } catch (const Error& error) { return error.what(); }
  return "";
}

// Rows of 8 by groups of 8 threads: y = x - max of the row, turned round within the row through shared memory.
const std::string kRows = head(32) + R"(  for task t in [0, n) {
    shared %turned: f32[32] {
      fragment %most: f32[1] {
        for thread i in [0, 32) {
          store %most[0] = %x[t * 32 + i]
        }
        combine %most max 8
        for thread i in [0, 32) {
          store %turned[i / 8 * 8 + 7 - i mod 8] = %x[t * 32 + i] - %most[0]
        }
        barrier
        for thread i in [0, 32) {
          store %y[t * 32 + i] = %turned[i]
        }
      }
    }
  }
}
)";

TEST(LoopsOfThreads, RowsReadBackAndCompute) {
  expect_well_formed(kRows);
  std::vector<float> x = numbers(64), y(64, NAN);
  interpret(parse_kernel(kRows), {bound(x), bound(y)}, {2}, 0, 2);
  for (size_t row = 0; row < 8; ++row) {
    float most = -INFINITY;
    for (size_t i = 0; i < 8; ++i) most = std::max(most, x[row * 8 + i]);
    for (size_t i = 0; i < 8; ++i) EXPECT_EQ(y[row * 8 + i], x[row * 8 + 7 - i] - most) << row << " " << i;
  }
}

// y[32, 24] = x[32, n] · x[24, n]ᵀ: what each thread holds is what the formulas of fragments say, whichever they are.
std::string product(const std::string& atom, int elements, const std::string& row, const std::string& column) {
  return head(64) + "  for task t in [0, 1) {\n    fragment %acc: f32[" + std::to_string(elements) +
         "] {\n      for thread i in [0, 64) {\n        for unrolled e in [0, " + std::to_string(elements) +
         ") {\n          store %acc[e] = 1.0\n        }\n      }\n      product %acc " + atom +
         " stages 2 (r, c, k) in [0, n) {\n        %x[r * n + k] along k 1\n        %x[c * n + k] along k 1\n      "
         "}\n" +
         "      for thread i in [0, 64) {\n        for unrolled e in [0, " + std::to_string(elements) +
         ") {\n          store %y[(" + row + ") * 16 + " + column + "] = %acc[e]\n        }\n      }\n    }\n  }\n}\n";
}

void expect_product(const std::string& text) {
  const Kernel kernel = parse_kernel(text);
  ASSERT_TRUE(verify(kernel).empty()) << verify(kernel).front() << text;
  constexpr size_t kDepth = 5;
  std::vector<float> x = numbers(32 * kDepth), y(32 * 16, NAN);
  interpret(kernel, {bound(x), bound(y)}, {kDepth}, 0, 1);
  for (size_t i = 0; i < 32; ++i)
    for (size_t j = 0; j < 16; ++j) {
      double sum = 1;
      for (size_t k = 0; k < kDepth; ++k) sum += double(x[i * kDepth + k]) * double(x[j * kDepth + k]);
      EXPECT_NEAR(y[i * 16 + j], sum, 1e-6) << i << " " << j;
    }
}

TEST(LoopsOfThreads, ProductsOfTensorCoresLieAsPtxSays) {
  for (const char* atom : {"tf32", "3xtf32"})
    expect_product(product(std::string(atom) + " 32x16x8 over 2x1", 8, "i / 32 * 16 + i mod 32 / 4 + e mod 4 / 2 * 8",
                           "e / 4 * 8 + i mod 4 * 2 + e mod 2"));
}

TEST(LoopsOfThreads, ProductsOfFmaLieInRuns) {  // 8 elements a thread: 2 rows by 4 columns
  expect_product(product("fma 32x16x8 over 2x1", 8, "i / 4 * 2 + e / 4", "i mod 4 * 4 + e mod 4"));
}

const std::string kAttend = head(32) + R"(  for task t in [0, 1) {
    fragment %acc: f32[8] {
      attend %acc tf32 16x8x4x16 over 1 stages 2 (i, j, d, e, s) in [0, n) {
        %x[i * 4 + d] along k 4
        %x[j * 4 + d + 3] along k 1
        %x[j + e] along k 1
        select(i < j, -inf, s * 0.5)
      }
      for thread i in [0, 32) {
        for unrolled e in [0, 8) {
          store %y[(i / 4 + e mod 4 / 2 * 8) * 16 + e / 4 * 8 + i mod 4 * 2 + e mod 2] = %acc[e]
        }
      }
    }
  }
}
)";

// Of each row also the logarithm of its sum: the two rows of a thread come last.
TEST(LoopsOfThreads, AttentionGivesLogarithms) {
  std::string text = kAttend;
  const auto replaced = [&](const std::string& old, const std::string& by) {
    text.replace(text.find(old), old.size(), by);
  };
  replaced("f32[8]", "f32[10]");
  replaced("stages 2 (", "stages 2 log_sums (");
  text.replace(text.find("        for unrolled"),
               text.find("      }\n    }\n  }\n}") - text.find("        for unrolled"),
               "        if i mod 4 == 0 {\n          store %y[i / 4] = %acc[8]\n          store %y[i / 4 + 8] = "
               "%acc[9]\n        }\n");
  expect_well_formed(text);
  constexpr size_t kKeys = 5;
  std::vector<float> x = numbers(64), y(256, NAN);
  interpret(parse_kernel(text), {bound(x), bound(y)}, {kKeys}, 0, 1);
  for (size_t i = 0; i < 16; ++i) {
    double sum = 0;
    for (size_t j = 0; j < std::min(kKeys, i + 1); ++j) {
      double score = 0;
      for (size_t d = 0; d < 4; ++d) score += double(x[i * 4 + d]) * double(x[j * 4 + d + 3]);
      sum += std::exp(score / 2);
    }
    EXPECT_NEAR(y[i], std::log(sum), 1e-5) << i;
  }
}

TEST(LoopsOfThreads, AttentionReadsBackAndComputes) {
  expect_well_formed(kAttend);
  constexpr size_t kKeys = 5;
  std::vector<float> x = numbers(64), y(256, NAN);
  interpret(parse_kernel(kAttend), {bound(x), bound(y)}, {kKeys}, 0, 1);
  for (size_t i = 0; i < 16; ++i)
    for (size_t e = 0; e < 16; ++e) {
      double sum = 0, result = 0;
      for (size_t j = 0; j < kKeys; ++j) {
        double score = 0;
        for (size_t d = 0; d < 4; ++d) score += double(x[i * 4 + d]) * double(x[j * 4 + d + 3]);
        const double weight = i < j ? 0 : std::exp(score / 2);
        sum += weight;
        result += weight * double(x[j + e]);
      }
      EXPECT_NEAR(y[i * 16 + e], result / sum, 1e-5) << i << " " << e;
    }
}

TEST(LoopsOfThreads, ThreadsTogetherStandOutsideOfThreadLoops) {
  EXPECT_NE(violation("for thread i in [0, 32) { barrier }").find("inside one of them"), std::string::npos);
  EXPECT_NE(violation("for thread i in [0, 31) { }").find("not over the 32 threads"), std::string::npos);
  EXPECT_NE(violation("for thread i in [0, 32) { for thread j in [0, 32) { } }").find("inside another"),
            std::string::npos);
  EXPECT_NE(violation("store %y[t] = 1.0").find("by all threads"), std::string::npos);
  EXPECT_NE(violation("fragment %f: f32[1] { let v: f32 = %f[0] }").find("by all threads"), std::string::npos);
  EXPECT_NE(violation("fragment %f: f32[1] { combine %f add 64 }").find("over 64 threads"), std::string::npos);
  EXPECT_NE(violation("local %f: f32[1] { }").find("outside of a thread"), std::string::npos);
  EXPECT_NE(violation("fragment %f: f32[4] { product %f fma 16x16x8 over 1x1 stages 2 (i, j, k) in [0, n) { "
                      "%x[i] along k 1 %x[j] along k 1 } }")
                .find("no accumulator"),
            std::string::npos);
}

TEST(LoopsOfThreads, RacesOfSharedMemoryAreFound) {
  const std::string others = "for thread i in [0, 32) { store %y[i] = %s[31 - i] }";
  const std::string own = "for thread i in [0, 32) { store %s[i] = %x[i] }";
  EXPECT_EQ(failure("shared %s: f32[32] { " + own + "barrier " + others + "}"), "");
  EXPECT_NE(failure("shared %s: f32[32] { " + own + others + "}").find("race: thread"), std::string::npos);
  EXPECT_NE(failure("shared %s: f32[32] { " + own + "barrier " + others + own + "}").find("race: thread"),
            std::string::npos);
  EXPECT_NE(failure("shared %s: f32[32] { " + others + "}").find("which nobody wrote"), std::string::npos);
  EXPECT_NE(failure("for thread i in [0, 32) { store %y[i / 2] = 1.0 }").find("race"), std::string::npos);
}

}  // namespace
}  // namespace lapidary::loops
