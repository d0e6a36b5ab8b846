// What ONNX's node tests do not say of conversions to the floats of 8 bits.
#include <cmath>

#include "test/frontend/imported.h"

namespace lapidary::frontend {
namespace {

// x as a float8 type (24: f8e8m0, 19: f8e5m2) and back.
std::vector<double> there_and_back(const std::string& attributes, std::vector<double> x) {
  const auto count = static_cast<int64_t>(x.size());
  return values(
             model_text(
                 fmt::format("g (float[N] x) => (float[N] z) {{ y = Cast<{}>(x) z = Cast<to=1>(y) }}", attributes), 24),
             {floats({count}, std::move(x))})[0]
      .numbers;
}

TEST(Float8, PowersOfTwoAreRoundedAsAsked) {
  const std::vector<double> x = {1, 1.25, 1.5, 1.75, 2};
  EXPECT_EQ(there_and_back("to=24", x), (std::vector<double>{1, 2, 2, 2, 2}));
  EXPECT_EQ(there_and_back("to=24,round_mode=\"down\"", x), (std::vector<double>{1, 1, 1, 1, 2}));
  EXPECT_EQ(there_and_back("to=24,round_mode=\"nearest\"", x), (std::vector<double>{1, 1, 2, 2, 2}));
}

TEST(Float8, WhatIsOutsideOfPowersIsNaNWithoutSaturation) {
  for (double x : there_and_back("to=24,saturate=0,round_mode=\"nearest\"", {0, INFINITY, 3e38, NAN}))
    EXPECT_TRUE(std::isnan(x));
  const double greatest = std::ldexp(1.0, 127);
  EXPECT_EQ(there_and_back("to=24,round_mode=\"nearest\"", {INFINITY, 3e38}),
            (std::vector<double>{greatest, greatest}));
}

TEST(Float8, InfinitySaturatesOrStays) {
  EXPECT_EQ(there_and_back("to=19", {INFINITY, -1e6}), (std::vector<double>{57344, -57344}));
  EXPECT_EQ(there_and_back("to=19,saturate=0", {INFINITY, -1e6, 61439, 61440}),
            (std::vector<double>{INFINITY, -INFINITY, 57344, INFINITY}));
}

TEST(Float8, QuantisingSaturatesOrNot) {
  const auto quantised = [](int saturate) {
    return values(model_text(fmt::format("g (float[N] x, float s, float8e4m3fn p) => (float[N] z) {{ y = "
                                         "QuantizeLinear<saturate={}>(x, s, p) z = Cast<to=1>(y) }}",
                                         saturate),
                             24),
                  {floats({2}, {900, 1000}), floats({}, {2}), Tensor::zeros(DType::F8E4M3FN, {})})[0]
        .numbers;
  };
  EXPECT_EQ(quantised(1), (std::vector<double>{448, 448}));
  EXPECT_EQ(quantised(0)[0], 448);
  EXPECT_TRUE(std::isnan(quantised(0)[1]));
}

// Slices of any rank, in order of their first occurrence.
TEST(Unique, SlicesInTheOrderTheyAreFoundIn) {
  const auto results =
      values(model_text("g (float[A,B] x) => (float[a,b] y, int64[c] i, int64[d] r, int64[e] n) { y, i, r, n = "
                        "Unique<axis=1,sorted=0>(x) }"),
             {floats({2, 4}, {3, 1, 3, 1, 0, 2, 0, 1})});
  EXPECT_EQ(results[0].numbers, (std::vector<double>{3, 1, 1, 0, 2, 1}));
  EXPECT_EQ(results[1].integers, (std::vector<int64_t>{0, 1, 3}));
  EXPECT_EQ(results[2].integers, (std::vector<int64_t>{0, 1, 0, 2}));
  EXPECT_EQ(results[3].integers, (std::vector<int64_t>{2, 1, 1}));
}

}  // namespace
}  // namespace lapidary::frontend
