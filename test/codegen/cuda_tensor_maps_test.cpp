// What the copy engine is told of a product's operands and results, and of attention's operands: tensors that addresses
// walk over, and refusals.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "codegen/cuda/tensor_maps.h"
#include "ir/text.h"
#include "ir/verifier.h"

namespace lapidary::codegen::cuda {
namespace {

enum Integer { M, N, K, S };  // of the kernel, in order
constexpr int64_t kUnbounded = INT32_MAX;

// Its defaults: rows of a along k, rows of b along the columns, all of k.
struct Product {
  std::string a = "%a[row * k + i * k + kk] along k 8", b = "%b[kk * n + column + j] along tile 8";
  std::string lets, end = "k";
  std::string stores = "store %c[row_1 * n + column_1 : 2] = f16(%acc[e : 2])";

  loops::Kernel kernel() const {
    const std::string text = fmt::format(R"(
kernel "product" threads=256 (%a: global f16, %b: global f16, %c: global f16 written, %d: global f16 written,
    m: i64 range [1, ..], n: i64 range [1, ..] multiple 8, k: i64 range [1, ..] multiple 8, s: i64 multiple 8) {{
  for task task in [0, m) {{
    let batch: i64 = task / 16
    let row: i64 = task mod 4 * 128
    let column: i64 = task / 4 mod 4 * 128
    {}
    fragment %acc: f32[64] {{
      for thread thread in [0, 256) {{
        for unrolled e in [0, 64) {{
          store %acc[e] = 0.0
        }}
      }}
      product %acc f16 128x128x64 over 8x1 warpgroups stages 4 (i, j, kk range [0, 1610612736]) in [0, {}) {{
        {}
        {}
      }}
      for thread thread in [0, 256) {{
        for unrolled e in [0, 64) step 2 {{
          let row_1: i64 = row + thread / 32 * 16 + thread mod 32 / 4 + e / 2 mod 2 * 8
          let column_1: i64 = column + e / 4 * 8 + thread mod 4 * 2
          {}
        }}
      }}
    }}
  }}
}}
)",
                                         lets, end, a, b, stores);
    return parse_kernel(text);
  }
  std::optional<TensorMap> map_of_a() const { return map_of(mapped_operands(kernel()).of("a")); }
  std::optional<TensorMap> map_of_results() const {
    const auto results = mapped_operands(kernel()).results;
    return results ? map_of(results->place) : std::nullopt;
  }
  static std::optional<TensorMap> map_of(const std::optional<MappedOperand>& operand) {
    return operand ? std::optional(operand->map) : std::nullopt;
  }
};

::testing::AssertionResult is(const MapNumber& found, int64_t factor, int integer = -1) {
  if (found.factor == factor && found.integer == integer) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << found.factor << " times integer " << found.integer;
}

TEST(CudaTensorMaps, OfAPlainProduct) {
  const loops::Kernel kernel = Product().kernel();
  EXPECT_TRUE(verify(kernel).empty());
  const std::vector<TensorMap> maps = tensor_maps(kernel);
  ASSERT_EQ(maps.size(), 3U) << "a, b, results";
  const TensorMap &a = maps[0], &b = maps[1], &c = maps[2];
  for (int buffer : {0, 1, 2}) {
    EXPECT_EQ(maps[buffer].buffer, buffer);
    EXPECT_EQ(maps[buffer].dtype, DType::F16);
    EXPECT_TRUE(is(maps[buffer].offset, 0));
    ASSERT_EQ(maps[buffer].extents.size(), 2U);
    ASSERT_EQ(maps[buffer].strides.size(), 1U);
  }
  EXPECT_TRUE(is(a.extents[0], 1, K));
  EXPECT_TRUE(is(a.extents[1], kUnbounded));
  EXPECT_TRUE(is(a.strides[0], 1, K));
  EXPECT_EQ(a.box, (std::vector<int>{64, 128})) << "128 bytes of k, the tile's rows";
  EXPECT_TRUE(is(b.extents[0], kUnbounded));
  EXPECT_TRUE(is(b.extents[1], 1, K)) << "beyond k there is nothing but zeros";
  EXPECT_TRUE(is(b.strides[0], 1, N));
  EXPECT_EQ(b.box, (std::vector<int>{64, 64})) << "128 bytes of columns, the tile's depth";
  EXPECT_TRUE(is(c.strides[0], 1, N));
  EXPECT_EQ(c.box, (std::vector<int>{64, 64})) << "128 bytes of a warpgroup's rows";
}

TEST(CudaTensorMaps, ABatchIsADimension) {
  Product product;
  product.a = "%a[batch * (s * 64) + row * k + i * k + kk] along k 8";
  EXPECT_FALSE(product.map_of_a()) << "of a stride that may be negative";
  product.a = "%a[batch * 8192 + row * k + i * k + kk] along k 8";
  const auto a = mapped_operands(product.kernel()).of("a");
  ASSERT_TRUE(a);
  ASSERT_EQ(a->others.size(), 1U);
  EXPECT_EQ(a->others[0]->kind, loops::ExprKind::Variable);
  EXPECT_EQ(a->others[0]->var->name, "batch");
  EXPECT_EQ(a->line->var->name, "row");
  ASSERT_EQ(a->map.extents.size(), 3U);
  EXPECT_TRUE(is(a->map.extents[2], kUnbounded));
  EXPECT_TRUE(is(a->map.strides[1], 8192));
  EXPECT_EQ(a->map.box, (std::vector<int>{64, 128, 1}));
}

TEST(CudaTensorMaps, AtMostTwoOthers) {
  Product product;
  product.a = "%a[batch mod 2 * 4096 + batch / 2 * 16384 + row * k + i * k + kk] along k 8";
  const auto map = product.map_of_a();
  ASSERT_TRUE(map);
  EXPECT_EQ(map->extents.size(), 4U);
  product.a = "%a[batch mod 2 * 4096 + batch / 2 mod 2 * 16384 + batch / 4 * 65536 + row * k + i * k + kk] along k 8";
  EXPECT_FALSE(product.map_of_a());
}

TEST(CudaTensorMaps, OffsetOfASlice) {
  Product product;
  product.a = "%a[512 + row * k + i * k + kk] along k 8";
  auto map = product.map_of_a();
  ASSERT_TRUE(map);
  EXPECT_TRUE(is(map->offset, 512));
  product.a = "%a[s * 16 + row * k + i * k + kk] along k 8";
  map = product.map_of_a();
  ASSERT_TRUE(map);
  EXPECT_TRUE(is(map->offset, 16, S));
  product.a = "%a[s + n + row * k + i * k + kk] along k 8";
  EXPECT_FALSE(product.map_of_a()) << "no number times an integer";
}

TEST(CudaTensorMaps, StridesGoForwards) {
  Product product;
  for (const char* index : {"kk", "4096 - i * 64 + kk", "i * s + kk"}) {
    product.a = fmt::format("%a[{}] along k 8", index);
    EXPECT_FALSE(product.map_of_a()) << index;
  }
  product.a = "%a[i * 64 + kk] along k 8";
  EXPECT_TRUE(product.map_of_a());
}

TEST(CudaTensorMaps, WholePacketsAndPanels) {
  Product product;
  product.a = "%a[row * k + i * k + kk] along k 4";
  EXPECT_FALSE(product.map_of_a()) << "of 8 bytes";
  product.a = "f16(f32(%a[row * k + i * k + kk]) * 2.0) along k 1";
  EXPECT_FALSE(product.map_of_a()) << "of what is computed";
}

TEST(CudaTensorMaps, GuardsBoundRows) {
  Product product;
  product.a = "%a[row * k + i * k + kk if row + i < m] along k 8";
  auto map = product.map_of_a();
  ASSERT_TRUE(map);
  EXPECT_TRUE(is(map->extents[1], 1, M));
  product.a = "%a[row * k + i * k + kk if row + i < m - n] along k 8";
  EXPECT_FALSE(product.map_of_a()) << "a bound that is no number times an integer";
  product.a = "%a[row * k + i * k + kk if row + i * 2 < m] along k 8";
  EXPECT_FALSE(product.map_of_a());
}

TEST(CudaTensorMaps, PartsOfK) {
  Product product;
  product.end = "end";
  product.lets = "let end: i64 = min(k, task mod 2 * 512 + 512)";
  const auto operands = mapped_operands(product.kernel());
  ASSERT_TRUE(operands.of("a") && operands.of("b"));
  EXPECT_TRUE(is(operands.of("a")->map.extents[0], 1, K)) << "all of k";
  EXPECT_TRUE(is(operands.of("b")->map.extents[1], 1, K));
  product.lets = "let end: i64 = task mod 2 * 512 + 512";
  EXPECT_FALSE(product.map_of_a()) << "nobody knows where k ends";
}

TEST(CudaTensorMaps, ResultsWithinGuards) {
  Product product;
  product.stores = "if and(row_1 < m, column_1 < n) { store %c[row_1 * n + column_1 : 2] = f16(%acc[e : 2]) }";
  const auto results = mapped_operands(product.kernel()).results;
  ASSERT_TRUE(results && results->place);
  EXPECT_TRUE(is(results->place->map.extents[0], 1, N));
  EXPECT_TRUE(is(results->place->map.extents[1], 1, M));
  EXPECT_EQ(results->store->buffer->name, "c");
  EXPECT_EQ(results->row->var->name, "row") << "where the tile begins";
  EXPECT_EQ(results->column->var->name, "column");
  product.stores = "if batch < m { store %c[row_1 * n + column_1 : 2] = f16(%acc[e : 2]) }";
  EXPECT_FALSE(product.map_of_results()) << "a guard of something else";
}

TEST(CudaTensorMaps, ResultsOfOneStore) {
  Product product;
  const std::string store = product.stores;
  product.stores = store + "\n" + "store %d[row_1 * n + column_1 : 2] = f16(%acc[e : 2])";
  EXPECT_FALSE(product.map_of_results());
  product.stores = "store %c[row_1 * n + column_1] = f16(%acc[e])";
  EXPECT_FALSE(product.map_of_results()) << "of single elements";
}

TEST(CudaTensorMaps, ResultsInWholePackets) {
  Product product;
  product.stores = "store %c[row_1 * 260 + column_1 : 2] = f16(%acc[e : 2])";
  EXPECT_FALSE(product.map_of_results()) << "rows that begin at no multiple of 16 bytes";
  product.stores = "store %c[row_1 * 264 + column_1 : 2] = f16(%acc[e : 2])";
  EXPECT_TRUE(product.map_of_results());
}

// Its defaults: heads of 64, four of them, of a product that made queries, keys and values together: [m, k, 3, 4, 64].
struct Attention {
  std::string q = "%q[batch * (k * 768) + head * 64 + first * 768 + i * 768 + d if first + i < k] along tile 8",
              keys = "%k[batch * (k * 768) + head * 64 + j * 768 + d + 256] along tile 8",
              values = "%k[batch * (k * 768) + head * 64 + j * 768 + e + 512] along tile 8";
  std::string end = "k";

  loops::Kernel kernel() const {
    return parse_kernel(fmt::format(R"(
kernel "attention" threads=256 (%q: global f16, %k: global f16, %y: global f32 written,
    m: i64 range [1, ..], n: i64 range [1, ..] multiple 8, k: i64 range [1, ..]) {{
  for task task in [0, m) {{
    let batch: i64 = task / 16
    let head: i64 = task / 4 mod 4
    let first: i64 = task mod 4 * 128
    let end: i64 = {}
    fragment %acc: f32[32] {{
      attend %acc f16 128x128x64x64 over 8 warpgroups stages 4 (i, j, d, e, s) in [0, end) {{
        {}
        {}
        {}
        s * 0.5
      }}
      for thread thread in [0, 256) {{
        for unrolled e in [0, 32) {{
          store %y[thread * 32 + e] = %acc[e]
        }}
      }}
    }}
  }}
}}
)",
                                    end, q, keys, values));
  }
  std::optional<MappedOperand> of(const char* name) const { return mapped_operands(kernel()).of(name); }
};

TEST(CudaTensorMaps, OfHeadsOfAMergedProduct) {
  const loops::Kernel kernel = Attention().kernel();
  EXPECT_TRUE(verify(kernel).empty());
  const std::vector<TensorMap> maps = tensor_maps(kernel);
  ASSERT_EQ(maps.size(), 3U) << "q, k, v";
  for (const int i : {0, 1, 2}) {
    EXPECT_EQ(maps[i].buffer, i == 0 ? 0 : 1);
    EXPECT_TRUE(is(maps[i].offset, i * 256)) << "a slice of the product";
    ASSERT_EQ(maps[i].extents.size(), 4U);
    EXPECT_TRUE(is(maps[i].extents[1], 1, K)) << "positions; the next batch's are none of them";
    EXPECT_TRUE(is(maps[i].strides[0], 768));
    EXPECT_EQ(maps[i].box, (std::vector<int>{64, 128, 1, 1}));
  }
  EXPECT_EQ(schedule_of(kernel), " copy=tma");
  const auto q = Attention().of("q"), k = Attention().of("k");
  ASSERT_TRUE(q && k);
  EXPECT_EQ(q->k->var->name, "first");
  EXPECT_EQ(loops::value_of(k->k), 0);
  EXPECT_EQ(loops::value_of(q->line), 0);
  EXPECT_EQ(q->others.size(), 2U) << "batch and head";
}

TEST(CudaTensorMaps, HeadsEndWithinAPanel) {
  Attention attention;
  attention.q = "%q[head * 48 + first * 192 + i * 192 + d if and(first + i < k, d < 48)] along tile 8";
  attention.keys = "%k[head * 48 + j * 192 + d if d < 48] along tile 8";
  for (const char* name : {"q", "k"}) {
    const auto operand = attention.of(name);
    ASSERT_TRUE(operand) << name;
    EXPECT_TRUE(is(operand->map.extents[0], 48)) << name;
    EXPECT_TRUE(is(operand->map.extents[1], 1, K)) << name;
  }
  attention.q = "%q[head * 48 + first * 192 + i * 192 + d if and(and(first + i < k, d < 48), i < 7)] along tile 8";
  EXPECT_FALSE(attention.of("q")) << "queries with two ends";
}

TEST(CudaTensorMaps, KeysEndWhereAllDo) {
  Attention attention;
  attention.end = "min(k, first + 128)";
  auto k = attention.of("k"), v = attention.of("v");
  ASSERT_TRUE(k && v);
  EXPECT_TRUE(is(k->map.extents[1], 1, K)) << "not where this tile's do";
  EXPECT_TRUE(is(v->map.extents[1], 1, K));
  attention.end = "first + 128";
  EXPECT_FALSE(attention.of("k"));
  EXPECT_TRUE(attention.of("q")) << "each by itself";
  EXPECT_EQ(schedule_of(attention.kernel()), " copy=tma:q");
}

TEST(CudaTensorMaps, KeysAlongTheSequence) {
  Attention attention;
  attention.keys = "%k[head * (n * 64) + d * n + j] along k 8";
  const auto k = attention.of("k");
  ASSERT_TRUE(k);
  EXPECT_TRUE(is(k->map.extents[0], 1, K));
  EXPECT_TRUE(is(k->map.strides[0], 1, N));
  EXPECT_EQ(k->map.box, (std::vector<int>{64, 64, 1})) << "128 bytes of keys, all of a head";
}

}  // namespace
}  // namespace lapidary::codegen::cuda
