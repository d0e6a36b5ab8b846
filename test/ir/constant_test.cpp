// Constants' transforms against index-by-index definitions, whole and in parts.
#include "ir/constant.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "ir/winograd.h"

namespace lapidary {
namespace {

using Shape64 = std::vector<int64_t>;

struct Fixture : testing::Test {
  ConstantTable table;
  ConstantId counting(const Shape64& shape) {
    int64_t count = 1;
    for (int64_t extent : shape) count *= extent;
    std::vector<std::byte> bytes(static_cast<size_t>(count) * 4);
    for (int64_t i = 0; i < count; ++i) {
      float value = static_cast<float>(i + 1);
      std::memcpy(bytes.data() + i * 4, &value, 4);
    }
    return table.add_bytes(DType::F32, shape, bytes);
  }
  std::vector<float> floats(ConstantId id, int parts = 1) {
    std::vector<float> result(static_cast<size_t>(table[id].elements()), -1);
    for (int part = 0; part < parts; ++part)
      table.materialize(id, std::as_writable_bytes(std::span(result)), part, parts);
    return result;
  }
};

TEST_F(Fixture, TransposeAndPackPanels) {
  ConstantId w =
      table.transformed(counting({37, 20}), {.kind = Transform::Kind::Transpose, .axes = {1, 0}});  // [20, 37]
  ConstantId packed = table.transformed(w, {.kind = Transform::Kind::PackPanels, .block = 16});
  EXPECT_EQ(table[packed].shape, (Shape64{3, 20, 16}));
  for (int parts : {1, 2, 5}) {
    std::vector<float> got = floats(packed, parts);
    for (int64_t p = 0; p < 3; ++p)
      for (int64_t k = 0; k < 20; ++k)
        for (int64_t b = 0; b < 16; ++b) {
          int64_t n = p * 16 + b;
          float expected = n < 37 ? static_cast<float>(n * 20 + k + 1) : 0.0f;
          ASSERT_EQ(got[static_cast<size_t>((p * 20 + k) * 16 + b)], expected) << p << " " << k << " " << b;
        }
  }
}

// [3, 2] and [3, 5] side by side, then packed; two on top of each other.
TEST_F(Fixture, JoinedParts) {
  ConstantId left = counting({3, 2});
  ConstantId right = table.transformed(counting({5, 3}), {.kind = Transform::Kind::Transpose, .axes = {1, 0}});
  ConstantId both = table.joined({left, right}, 1);
  EXPECT_EQ(table[both].shape, (Shape64{3, 7}));
  EXPECT_EQ(floats(both), (std::vector<float>{1, 2, 1, 4, 7, 10, 13, 3, 4, 2, 5, 8, 11, 14, 5, 6, 3, 6, 9, 12, 15}));
  ConstantId packed = table.transformed(both, {.kind = Transform::Kind::PackPanels, .block = 16});
  for (int parts : {1, 2}) {
    std::vector<float> got = floats(packed, parts);
    EXPECT_EQ(got[16 + 2], 2);
    EXPECT_EQ(got[32 + 1], 6);
    EXPECT_EQ(got[32 + 7], 0);
  }
  EXPECT_EQ(floats(table.joined({left, left}, 0)), (std::vector<float>{1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6}));
}

// Whole panels of each part lie behind each other: what is made of the parts, in any number of pieces, is what is made
// of all in one.
TEST_F(Fixture, JoinedPanels) {
  ConstantId left = counting({16, 1, 3}), right = counting({32, 1, 3});
  ConstantId both = table.joined({left, right}, 0);
  ConstantId whole = table.add_bytes(DType::F32, {48, 1, 3}, table.bytes_of(both));
  for (ConstantId* id : {&both, &whole}) {
    *id = table.transformed(*id, {.kind = Transform::Kind::Reshape, .shape = {48, 3}});
    *id = table.transformed(*id, {.kind = Transform::Kind::Transpose, .axes = {1, 0}});
    *id = table.transformed(*id, {.kind = Transform::Kind::Pad, .shape = {4, 48}});
    *id = table.transformed(*id, {.kind = Transform::Kind::PackPanels, .block = 16});
  }
  EXPECT_EQ(table[both].shape, (Shape64{3, 4, 16}));
  for (int parts : {1, 2, 5}) EXPECT_EQ(floats(both, parts), floats(whole, parts));
}

TEST_F(Fixture, PaddedPanels) {
  ConstantId w = table.transformed(counting({3, 5}), {.kind = Transform::Kind::Pad, .shape = {3, 40}});
  ConstantId packed = table.transformed(w, {.kind = Transform::Kind::PackPanels, .block = 16});
  std::vector<float> got = floats(packed);
  for (int64_t p = 0; p < 3; ++p)
    for (int64_t k = 0; k < 3; ++k)
      for (int64_t b = 0; b < 16; ++b) {
        int64_t n = p * 16 + b;
        ASSERT_EQ(got[static_cast<size_t>((p * 3 + k) * 16 + b)], n < 5 ? static_cast<float>(k * 5 + n + 1) : 0.0f);
      }
}

TEST_F(Fixture, PackConvWithScale) {
  ConstantId factors = counting({18});
  ConstantId w =
      table.transformed(counting({18, 20, 3, 2}), {.kind = Transform::Kind::Scale, .axes = {0}, .other = factors});
  ConstantId packed = table.transformed(w, {.kind = Transform::Kind::PackConv, .shape = {16}, .block = 16});
  EXPECT_EQ(table[packed].shape, (Shape64{2, 2, 3, 2, 16, 16}));
  std::vector<float> got = floats(packed, 3);
  size_t at = 0;
  for (int64_t ob = 0; ob < 2; ++ob)
    for (int64_t ib = 0; ib < 2; ++ib)
      for (int64_t kh = 0; kh < 3; ++kh)
        for (int64_t kw = 0; kw < 2; ++kw)
          for (int64_t i = 0; i < 16; ++i)
            for (int64_t o = 0; o < 16; ++o, ++at) {
              int64_t oc = ob * 16 + o, ic = ib * 16 + i;
              bool inside = oc < 18 && ic < 20;
              float expected = inside ? static_cast<float>((((oc * 20 + ic) * 3 + kh) * 2 + kw + 1) * (oc + 1)) : 0.0f;
              ASSERT_EQ(got[at], expected) << oc << " " << ic << " " << kh << " " << kw;
            }
}

TEST_F(Fixture, RecurrentPacking) {  // [4H, H] → [H/16][H][4][16]
  constexpr int64_t H = 32;
  ConstantId r =
      table.transformed(counting({4 * H, H}), {.kind = Transform::Kind::Reshape, .shape = {4, H / 16, 16, H}});
  r = table.transformed(r, {.kind = Transform::Kind::Transpose, .axes = {1, 3, 0, 2}});
  std::vector<float> got = floats(r);
  size_t at = 0;
  for (int64_t u = 0; u < H / 16; ++u)
    for (int64_t k = 0; k < H; ++k)
      for (int64_t g = 0; g < 4; ++g)
        for (int64_t b = 0; b < 16; ++b, ++at) ASSERT_EQ(got[at], static_cast<float>((g * H + u * 16 + b) * H + k + 1));
}

TEST_F(Fixture, ReshapeMergesOnlyWhatIsContiguous) {
  ConstantId t =
      table.transformed(counting({2, 3, 4}), {.kind = Transform::Kind::Transpose, .axes = {2, 0, 1}});  // [4, 2, 3]
  std::vector<float> got = floats(table.transformed(t, {.kind = Transform::Kind::Reshape, .shape = {8, 3}}));
  for (int64_t i = 0; i < 4; ++i)
    for (int64_t j = 0; j < 6; ++j) ASSERT_EQ(got[static_cast<size_t>(i * 6 + j)], static_cast<float>(j * 4 + i + 1));
}

TEST_F(Fixture, ConvertAndSplat) {
  ConstantId half = table.transformed(counting({5}), {.kind = Transform::Kind::Convert, .dtype = DType::F16});
  EXPECT_EQ(table[half].bytes(), 10);
  EXPECT_EQ(table.scalars_of(half)[4].number, 5);
  Scalar value;
  ConstantId splat = table.add_splat(DType::F32, {7, 7}, Scalar::of_float(DType::F32, 2.5));
  ASSERT_TRUE(
      table.is_splat(table.transformed(splat, {.kind = Transform::Kind::Convert, .dtype = DType::I32}), &value));
  EXPECT_EQ(value.integer, 2);
  EXPECT_FALSE(table.is_splat(counting({2})));
}

// The matrices compute a correlation exactly (in double), and U is G w Gᵀ in its place.
TEST_F(Fixture, Winograd) {
  for (auto [m, r] : {std::pair{2, 3}, std::pair{4, 3}, std::pair{4, 4}}) {
    const WinogradMatrices& matrices = winograd_matrices(m, r);
    std::vector<double> d, g = {0.3, -1.2, 0.7, 0.4};
    for (int i = 0; i < matrices.inputs; ++i) d.push_back(std::sin(i + 1));
    for (int y = 0; y < m; ++y) {
      double sum = 0, expected = 0;
      for (int p = 0; p < matrices.inputs; ++p) {
        double v = 0, u = 0;
        for (int i = 0; i < matrices.inputs; ++i) v += matrices.bt[p][i] * d[i];
        for (int k = 0; k < r; ++k) u += matrices.g[p][k] * g[k];
        sum += matrices.at[y][p] * u * v;
      }
      for (int k = 0; k < r; ++k) expected += g[k] * d[y + k];
      EXPECT_NEAR(sum, expected, 1e-14);
    }
  }
  ConstantId u =
      table.transformed(counting({17, 2, 3, 3}), {.kind = Transform::Kind::Winograd, .shape = {4, 16}, .block = 16});
  EXPECT_EQ(table[u].shape, (Shape64{36, 2, 16, 16}));
  std::vector<float> got = floats(u);
  const Matrix& g = winograd_matrices(4, 3).g;
  for (int64_t point = 0; point < 36; ++point)
    for (int64_t o = 0; o < 32; ++o)
      for (int64_t i = 0; i < 16; ++i) {
        double expected = 0;
        for (int a = 0; a < 3 && o < 17 && i < 2; ++a)
          for (int b = 0; b < 3; ++b)
            expected += g[point / 6][a] * g[point % 6][b] * static_cast<double>((o * 2 + i) * 9 + a * 3 + b + 1);
        ASSERT_NEAR(got[static_cast<size_t>(((point * 2 + o / 16) * 16 + i) * 16 + o % 16)], expected,
                    std::abs(expected) * 1e-6 + 1e-5);
      }
}

// Of one axis: each group of four taps through G, the last one padded.
TEST_F(Fixture, WinogradAxis) {
  constexpr int64_t kRows = 2, kTaps = 7;
  ConstantId u = table.transformed(counting({17, 3, kRows, kTaps}),
                                   {.kind = Transform::Kind::WinogradAxis, .shape = {4, 4, 16}, .block = 16});
  EXPECT_EQ(table[u].shape, (Shape64{7, 2, kRows, 2, 16, 16}));
  std::vector<float> got = floats(u);
  const Matrix& g = winograd_matrices(4, 4).g;
  size_t at = 0;
  for (size_t point = 0; point < 7; ++point)
    for (int64_t panel = 0; panel < 2; ++panel)
      for (int64_t row = 0; row < kRows; ++row)
        for (int64_t group = 0; group < 2; ++group)
          for (int64_t i = 0; i < 16; ++i)
            for (int64_t lane = 0; lane < 16; ++lane) {
              const int64_t o = panel * 16 + lane;
              double expected = 0;
              for (int64_t k = 0; k < 4 && group * 4 + k < kTaps && o < 17 && i < 3; ++k)
                expected += g[point][static_cast<size_t>(k)] *
                            static_cast<double>(((o * 3 + i) * kRows + row) * kTaps + group * 4 + k + 1);
              ASSERT_NEAR(got[at++], expected, std::abs(expected) * 1e-6 + 1e-4);
            }
}

}  // namespace
}  // namespace lapidary
