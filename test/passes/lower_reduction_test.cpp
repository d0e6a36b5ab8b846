#include <gtest/gtest.h>

#include "ir/composites.h"
#include "test/passes/model.h"
#include "test/passes/program_runner.h"

namespace lapidary {
namespace {

using test::expect_lowered_equal;
using test::Model;
using test::random_tensor;

TEST(LowerReduction, RowsOfEveryLength) {
  for (int64_t n : {0, 1, 15, 16, 17, 63, 64, 65, 129, 200}) {
    Model m;
    Value* x = m.input(m.shape({3, n}));
    m.result({m.build.reduce(OpKind::ReduceSum, x, {1}), m.build.reduce(OpKind::ReduceMax, x, {1}, true)});
    expect_lowered_equal(m.module, {{random_tensor(DType::F32, {3, n}, 1)}});
  }
}

TEST(LowerReduction, EveryKindAndType) {
  for (OpKind kind : {OpKind::ReduceSum, OpKind::ReduceProd, OpKind::ReduceMax, OpKind::ReduceMin, OpKind::ReduceMean})
    for (DType dtype : {DType::F32, DType::F64, DType::F16, DType::I32, DType::I64}) {
      if (kind == OpKind::ReduceMean && !is_float(dtype)) continue;
      Model m;
      Value* x = m.input(m.shape({2, 19}), dtype);
      m.result({m.build.reduce(kind, x, {1})});
      expect_lowered_equal(m.module, {{random_tensor(dtype, {2, 19}, 1)}},
                           {.tolerance = dtype == DType::F16 ? 1e-2 : 1e-5});
    }
}

TEST(LowerReduction, Columns) {
  for (int64_t n : {1, 15, 16, 40})
    for (int64_t k : {0, 1, 3, 4, 9}) {
      Model m;
      Value* x = m.input(m.shape({2, k, n}));
      m.result({m.build.reduce(OpKind::ReduceSum, x, {1})});
      expect_lowered_equal(m.module, {{random_tensor(DType::F32, {2, k, n}, 1)}});
    }
}

TEST(LowerReduction, AxesApart) {
  Model m;
  Value* x = m.input(m.shape({3, 4, 5, 6}));
  m.result({m.build.reduce(OpKind::ReduceMean, x, {0, 2}), m.build.reduce(OpKind::ReduceMax, x, {1, 3}),
            m.build.reduce(OpKind::ReduceMin, x, {0, 1, 2, 3})});
  expect_lowered_equal(m.module, {{random_tensor(DType::F32, {3, 4, 5, 6}, 1)}});
}

TEST(LowerReduction, SoftmaxOfSymbols) {
  for (int axis : {1, 2}) {
    Model m;
    Dim n = m.symbol("N"), s = m.symbol("S");
    Value* x = m.input({n, s, m.module.dims.constant(21)});
    m.result({composites::softmax(m.build, x, axis)});
    std::vector<std::vector<Tensor>> sets;
    for (int64_t extent : {2, 1, 17, 70}) sets.push_back({random_tensor(DType::F32, {3, extent, 21}, 1)});
    expect_lowered_equal(m.module, sets);
  }
}

TEST(LowerReduction, SoftmaxKeepsItsExponentials) {
  Model m;
  Value* x = m.input(m.shape({4, 100}));
  m.result({composites::softmax(m.build, x, 1)});
  const Program program = expect_lowered_equal(m.module, {{random_tensor(DType::F32, {4, 100}, 1)}});
  ASSERT_EQ(program.kernels.size(), 1u);
  EXPECT_EQ(program.entries[0].steps[0].variants[0].stage_offsets.size(), 1u);
}

TEST(LowerReduction, LayerNormOverTwoAxes) {
  Model m;
  Dim n = m.symbol("N");
  DimPool& dims = m.module.dims;
  Value* x = m.input({n, dims.constant(5), dims.constant(7)});
  Value* scale = m.input(m.shape({5, 7}));
  Value* bias = m.input(m.shape({5, 7}));
  m.result({composites::layer_norm(m.build, x, scale, bias, 1, 1e-5)[0]});
  expect_lowered_equal(m.module,
                       {{random_tensor(DType::F32, {3, 5, 7}, 1), random_tensor(DType::F32, {5, 7}, 2),
                         random_tensor(DType::F32, {5, 7}, 3)}},
                       {.tolerance = 1e-4});
}

TEST(LowerReduction, NormWithResidualAndAllResults) {
  Model m;
  Dim s = m.symbol("S");
  Value* x = m.input({s, m.module.dims.constant(768)});
  Value* y = m.input({s, m.module.dims.constant(768)});
  Value* scale = m.input(m.shape({768}));
  Value* bias = m.input(m.shape({768}));
  m.result(composites::layer_norm(m.build, m.build.add(x, y), scale, bias, 1, 1e-5));
  std::vector<std::vector<Tensor>> sets;
  for (int64_t rows : {1, 3})
    sets.push_back({random_tensor(DType::F32, {rows, 768}, 1), random_tensor(DType::F32, {rows, 768}, 2),
                    random_tensor(DType::F32, {768}, 3), random_tensor(DType::F32, {768}, 4)});
  expect_lowered_equal(m.module, sets, {.tolerance = 1e-4});
}

TEST(LowerReduction, RmsNorm) {
  Model m;
  Value* x = m.input(m.shape({2, 3, 48}));
  Value* scale = m.input(m.shape({48}));
  m.result({composites::rms_norm(m.build, x, scale, 2, 1e-6)});
  expect_lowered_equal(m.module, {{random_tensor(DType::F32, {2, 3, 48}, 1), random_tensor(DType::F32, {48}, 2)}},
                       {.tolerance = 1e-4});
}

}  // namespace
}  // namespace lapidary
