#include <gtest/gtest.h>

#include "ir/text.h"
#include "test/passes/model.h"
#include "test/passes/program_runner.h"

namespace lapidary {
namespace {

using test::expect_lowered_equal;
using test::Model;
using test::random_tensor;

TEST(LowerElementwise, ExtentsAroundTheVector) {
  for (int64_t n : {0, 1, 15, 16, 17, 100}) {
    Model m;
    Value *x = m.input(m.shape({n})), *y = m.input(m.shape({n}));
    m.result({m.build.add(m.build.mul(x, y), m.build.scalar(DType::F32, 2))});
    expect_lowered_equal(m.module, {{random_tensor(DType::F32, {n}, 1), random_tensor(DType::F32, {n}, 2)}});
  }
}

TEST(LowerElementwise, SymbolRebound) {
  Model m;
  Dim n = m.symbol("N");
  Value* x = m.input({n, m.module.dims.constant(7)});
  Value* bias = m.input({m.module.dims.constant(7)});
  m.result({m.build.scalar_op(ScalarOp::Tanh, {m.build.add(x, bias)})});
  std::vector<std::vector<Tensor>> sets;
  for (int64_t extent : {3, 0, 1, 16, 700})
    sets.push_back({random_tensor(DType::F32, {extent, 7}, 1), random_tensor(DType::F32, {7}, 2)});
  expect_lowered_equal(m.module, sets);
}

TEST(LowerElementwise, ContiguousAxesBecomeOneLoop) {
  Model m;
  Value* x = m.input(m.shape({4, 3, 5, 5}));
  Value* y = m.input(m.shape({4, 3, 5, 5}));
  m.result({m.build.add(x, y)});
  const Program program = expect_lowered_equal(
      m.module, {{random_tensor(DType::F32, {4, 3, 5, 5}, 1), random_tensor(DType::F32, {4, 3, 5, 5}, 2)}});
  ASSERT_EQ(program.entries[0].steps.size(), 1u);
  EXPECT_EQ(program.kernels[0].integers.size(), 1u) << print_kernel(program.kernels[0]);  // the extent alone
}

TEST(LowerElementwise, BroadcastAlongEveryAxis) {
  Model m;
  Value* x = m.input(m.shape({2, 3, 4, 5}));
  Value* channel = m.input(m.shape({3, 1, 1}));
  Value* row = m.input(m.shape({4, 1}));
  Value* scalar = m.input(m.shape({}));
  m.result({m.build.add(m.build.mul(m.build.add(x, channel), row), scalar)});
  expect_lowered_equal(m.module, {{random_tensor(DType::F32, {2, 3, 4, 5}, 1), random_tensor(DType::F32, {3, 1, 1}, 2),
                                   random_tensor(DType::F32, {4, 1}, 3), random_tensor(DType::F32, {}, 4)}});
}

TEST(LowerElementwise, SplitHeads) {
  Model m;
  Dim b = m.symbol("B"), s = m.symbol("S");
  DimPool& dims = m.module.dims;
  Value* x = m.input({b, s, dims.constant(24)});
  Value* split = m.build.reshape(x, {b, s, dims.constant(4), dims.constant(6)});
  m.result({m.build.transpose(m.build.neg(split), {0, 2, 1, 3})});
  expect_lowered_equal(m.module,
                       {{random_tensor(DType::F32, {2, 5, 24}, 1)}, {random_tensor(DType::F32, {1, 17, 24}, 1)}});
}

TEST(LowerElementwise, MergeHeads) {
  Model m;
  Dim b = m.symbol("B"), s = m.symbol("S");
  DimPool& dims = m.module.dims;
  Value* x = m.input({b, dims.constant(4), s, dims.constant(6)});
  Value* merged = m.build.reshape(m.build.transpose(x, {0, 2, 1, 3}), {dims.mul(b, s), dims.constant(24)});
  m.result({m.build.scalar_op(ScalarOp::Exp, {merged})});
  expect_lowered_equal(m.module,
                       {{random_tensor(DType::F32, {2, 4, 5, 6}, 1)}, {random_tensor(DType::F32, {3, 4, 1, 6}, 1)}});
}

TEST(LowerElementwise, ReshapeThatDoesNotNest) {
  Model m;
  Value* x = m.input(m.shape({2, 6}));
  m.result({m.build.reshape(m.build.transpose(x, {1, 0}), m.shape({4, 3}))});
  expect_lowered_equal(m.module, {{random_tensor(DType::F32, {2, 6}, 1)}});
}

TEST(LowerElementwise, TransposesOfEveryOrder) {
  for (std::vector<int64_t> perm :
       std::vector<std::vector<int64_t>>{{0, 2, 1}, {1, 0, 2}, {2, 1, 0}, {1, 2, 0}, {2, 0, 1}}) {
    Model m;
    Value* x = m.input(m.shape({3, 17, 20}));
    m.result({m.build.transpose(x, perm)});
    expect_lowered_equal(m.module, {{random_tensor(DType::F32, {3, 17, 20}, 1)}});
  }
}

TEST(LowerElementwise, SliceWithStepsAndReversal) {
  Model m;
  Value* x = m.input(m.shape({9, 40}));
  m.result({m.build.slice(x, m.shape({8, 3}), {-2, 2}, m.shape({4, 17}))});
  expect_lowered_equal(m.module, {{random_tensor(DType::F32, {9, 40}, 1)}});
}

TEST(LowerElementwise, ConcatIsOneKernelAPart) {
  Model m;
  Dim n = m.symbol("N");
  Value *x = m.input({n, m.module.dims.constant(5)}), *y = m.input({n, m.module.dims.constant(18)});
  m.result({m.build.concat({x, m.build.neg(y), x}, 1)});
  std::vector<std::vector<Tensor>> sets;
  for (int64_t extent : {4, 0, 1})
    sets.push_back({random_tensor(DType::F32, {extent, 5}, 1), random_tensor(DType::F32, {extent, 18}, 2)});
  expect_lowered_equal(m.module, sets);
}

TEST(LowerElementwise, ConcatInTheMiddle) {
  for (int axis : {0, 1}) {
    Model m;
    Value *x = m.input(m.shape({4, 18})), *y = m.input(m.shape({4, 18}));
    m.result({m.build.neg(m.build.concat({x, y}, axis))});
    expect_lowered_equal(m.module, {{random_tensor(DType::F32, {4, 18}, 1), random_tensor(DType::F32, {4, 18}, 2)}});
  }
}

TEST(LowerElementwise, PadsOfEveryMode) {
  for (const char* mode : {"constant", "edge", "reflect", "wrap"}) {
    Model m;
    Value* x = m.input(m.shape({5, 20}));
    m.result({m.build.neg(m.build.pad(x, m.shape({2, 3}), m.shape({0, 4}), mode))});
    expect_lowered_equal(m.module, {{random_tensor(DType::F32, {5, 20}, 1)}});
  }
}

TEST(LowerElementwise, PadThatCrops) {
  Model m;
  Value* x = m.input(m.shape({5, 20}));
  m.result({m.build.pad(x, m.shape({-1, 2}), m.shape({2, -3}))});
  expect_lowered_equal(m.module, {{random_tensor(DType::F32, {5, 20}, 1)}});
}

TEST(LowerElementwise, GatherRowsAndColumns) {
  for (int axis : {0, 1}) {
    Model m;
    Value* table = m.input(m.shape({7, 33}));
    Value* ids = m.input(m.shape({2, 3}), DType::I64);
    m.result({m.build.gather(table, ids, axis)});
    Tensor indices = Tensor::zeros(DType::I64, {2, 3});
    indices.integers = {0, 6, -1, 3, -7, 2};
    expect_lowered_equal(m.module, {{random_tensor(DType::F32, {7, 33}, 1), indices}});
  }
}

TEST(LowerElementwise, IotaAndConversions) {
  Model m;
  Dim s = m.symbol("S");
  Value* x = m.input({s, s}, DType::I64);
  Value* mask = m.build.scalar_op(ScalarOp::LessEqual,
                                  {m.build.iota(DType::I64, {s, s}, 1), m.build.iota(DType::I64, {s, s}, 0)});
  Value* chosen = m.build.select(mask, m.build.convert(x, DType::F32), m.build.scalar(DType::F32, -1));
  m.result({chosen, m.build.convert(x, DType::Bool)});
  expect_lowered_equal(m.module, {{random_tensor(DType::I64, {5, 5}, 1)}, {random_tensor(DType::I64, {17, 17}, 2)}});
}

TEST(LowerElementwise, HalfFloatsRoundAtEveryOp) {
  for (DType dtype : {DType::F16, DType::BF16}) {
    Model m;
    Value *x = m.input(m.shape({37}), dtype), *y = m.input(m.shape({37}), dtype);
    m.result({m.build.add(m.build.mul(x, y), y)});
    expect_lowered_equal(m.module, {{random_tensor(dtype, {37}, 1), random_tensor(dtype, {37}, 2)}}, {.tolerance = 0});
  }
}

TEST(LowerElementwise, EqualKernelsOfOtherSizesAreOne) {
  Model m;
  Value *x = m.input(m.shape({33, 5})), *y = m.input(m.shape({7, 100}));
  m.result({m.build.neg(x), m.build.neg(y)});
  const Program program =
      expect_lowered_equal(m.module, {{random_tensor(DType::F32, {33, 5}, 1), random_tensor(DType::F32, {7, 100}, 2)}});
  EXPECT_EQ(program.entries[0].steps.size(), 2u);
  EXPECT_EQ(program.kernels.size(), 1u);
}

}  // namespace
}  // namespace lapidary
