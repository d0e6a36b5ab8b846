// The flat table of formulas gives what the dims themselves give, overflow included.
#include "codegen/host/dim_table.h"

#include <gtest/gtest.h>

#include <random>

#include "ir/error.h"

// runtime/dims.c
extern "C" lpd_status lpd_evaluate_dims(const lpd_dim*, uint32_t count, const int64_t* constants, int64_t* slots);

namespace lapidary::codegen::host {
namespace {

class RandomDims {
 public:
  explicit RandomDims(unsigned seed) : random_(seed) {
    for (const char* name : {"N", "S", "T"}) {
      symbols.push_back(pool.symbol(name, {kDimMin, kDimMax}));
      inputs.push_back({name, DType::F32, {symbols.back()}});
    }
  }

  Dim formula(int depth) {
    if (depth == 0) return below(3) ? symbols[below(3)] : pool.constant(below(9) - 4);
    const Dim a = formula(depth - 1), b = formula(depth - 1);
    switch (below(9)) {
      case 0:
        return pool.add(a, b);
      case 1:
        return pool.sub(a, b);
      case 2:
        return pool.mul(a, b);
      case 3:
        return pool.floordiv(a, b);
      case 4:
        return pool.mod(a, b);
      case 5:
        return pool.min(a, b);
      case 6:
        return pool.max(a, b);
      case 7:
        return pool.select(pool.less(b, a), b, pool.constant(7));
      default:
        return pool.equal(a, b);
    }
  }

  int64_t extent() {
    static constexpr int64_t kEdges[] = {0, 1, 2, 7, 1000, INT64_C(1) << 31, INT64_C(1) << 61};
    return kEdges[below(7)] + below(3);
  }

  DimPool pool;
  std::vector<Dim> symbols;
  std::vector<TensorInfo> inputs;

 private:
  int64_t below(int64_t n) { return static_cast<int64_t>(random_() % static_cast<uint64_t>(n)); }
  std::mt19937_64 random_;
};

TEST(DimTable, AgreesWithTheDims) {
  int overflows = 0, values = 0;
  for (unsigned seed = 0; seed < 3000; ++seed) {
    RandomDims dims(seed);
    Dim formula;
    try {
      formula = dims.formula(1 + static_cast<int>(seed % 4));
    } catch (const Error&) {
      continue;  // too large to build, or overflows already as a constant
    }
    DimTable table(dims.inputs);
    const uint32_t slot = table.slot(formula);
    for (int repeat = 0; repeat < 4; ++repeat) {
      std::vector<int64_t> slots(table.dims().size());
      std::map<Dim, int64_t> extents;
      for (Dim symbol : dims.symbols) slots[table.slot(symbol)] = extents[symbol] = dims.extent();
      const auto expected = evaluate(formula, [&](Dim leaf) { return std::optional(extents.at(leaf)); });
      const lpd_status status = lpd_evaluate_dims(table.dims().data(), static_cast<uint32_t>(table.dims().size()),
                                                  table.constants().data(), slots.data());
      // The runtime computes both sides of a select and so refuses a little more.
      if (status == LPD_LIMIT && to_string(formula).find("select") != std::string::npos) continue;
      ASSERT_EQ(status == LPD_OK, expected.has_value()) << to_string(formula);
      ASSERT_EQ(expected ? slots[slot] : 0, expected.value_or(0)) << to_string(formula);
      ++(expected ? values : overflows);
    }
  }
  EXPECT_GT(overflows, 100);
  EXPECT_GT(values, 1000);
}

TEST(DimTable, EqualFormulasShareASlot) {
  RandomDims dims(1);
  DimTable table(dims.inputs);
  const Dim n = dims.symbols[0], s = dims.symbols[1];
  const uint32_t first = table.slot(dims.pool.mul(n, s));
  const size_t count = table.dims().size();
  EXPECT_EQ(table.slot(dims.pool.mul(s, n)), first);
  EXPECT_EQ(table.combine(LPD_DIM_MUL, table.slot(n), table.slot(s)), first);
  EXPECT_EQ(table.dims().size(), count);
}

}  // namespace
}  // namespace lapidary::codegen::host
