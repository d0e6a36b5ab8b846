// Gradients of the scalar operations, of conversions, and of what stops a gradient.
#include <gtest/gtest.h>

#include "test/train/gradient_check.h"

namespace lapidary::test {
namespace {

using Values = std::span<Value* const>;

Build applied(ScalarOp kind) {
  return [kind](GraphBuilder& b, Values in) {
    return std::vector<Value*>{b.scalar_op(kind, std::vector<Value*>(in.begin(), in.end()))};
  };
}

TEST(GradientOfScalarOps, Unary) {
  struct Case {
    ScalarOp kind;
    double lo, hi;
  };
  for (const Case& of : std::vector<Case>{{ScalarOp::Neg, -2, 2},
                                          {ScalarOp::Abs, -2, 2},
                                          {ScalarOp::Sqrt, 0.2, 3},
                                          {ScalarOp::Exp, -2, 2},
                                          {ScalarOp::Log, 0.2, 3},
                                          {ScalarOp::Sin, -2, 2},
                                          {ScalarOp::Cos, -2, 2},
                                          {ScalarOp::Tan, -1, 1},
                                          {ScalarOp::Asin, -0.9, 0.9},
                                          {ScalarOp::Acos, -0.9, 0.9},
                                          {ScalarOp::Atan, -2, 2},
                                          {ScalarOp::Sinh, -2, 2},
                                          {ScalarOp::Cosh, -2, 2},
                                          {ScalarOp::Tanh, -2, 2},
                                          {ScalarOp::Asinh, -2, 2},
                                          {ScalarOp::Acosh, 1.2, 3},
                                          {ScalarOp::Atanh, -0.8, 0.8},
                                          {ScalarOp::Erf, -2, 2},
                                          {ScalarOp::Sigmoid, -3, 3}}) {
    SCOPED_TRACE(name_of(op_kind(of.kind)));
    expect_gradients({floats({3, 4}, of.lo, of.hi)}, applied(of.kind));
    expect_gradients({floats({}, of.lo, of.hi)}, applied(of.kind));
    expect_gradients({floats({0, 3}, of.lo, of.hi)}, applied(of.kind));
  }
}

TEST(GradientOfScalarOps, Binary) {
  for (ScalarOp kind :
       {ScalarOp::Add, ScalarOp::Sub, ScalarOp::Mul, ScalarOp::Div, ScalarOp::Pow, ScalarOp::Min, ScalarOp::Max}) {
    SCOPED_TRACE(name_of(op_kind(kind)));
    const double lo = kind == ScalarOp::Pow ? 0.3 : 0.6;
    expect_gradients({floats({2, 3}, lo, 4), floats({2, 3}, lo, 4)}, applied(kind));
    expect_gradients({floats({2, 3}, lo, 4), floats({3}, lo, 4)}, applied(kind));
    expect_gradients({floats({2, 1}, lo, 4), floats({3, 1, 3}, lo, 4)}, applied(kind));
    expect_gradients({fixed(floats({2, 3}, lo, 4)), floats({}, lo, 4)}, applied(kind));
    expect_gradients({floats({2, 3}, lo, 4), fixed(floats({2, 3}, lo, 4))}, applied(kind));
    expect_gradients({floats({0, 3}, lo, 4), floats({1, 3}, lo, 4)}, applied(kind));
  }
  for (ScalarOp kind : {ScalarOp::FloorMod, ScalarOp::TruncMod, ScalarOp::Div}) {  // quotients between 2 and 3
    SCOPED_TRACE(name_of(op_kind(kind)));
    for (const auto& [a, c] : std::vector<std::pair<int, int>>{{1, 1}, {-1, 1}, {1, -1}, {-1, -1}})
      expect_gradients({floats({3, 3}, 5.1 * a, 5.9 * a), floats({3}, 2.05 * c, 2.45 * c)}, applied(kind));
  }
}

TEST(GradientOfScalarOps, OfOneValueTwice) {
  for (ScalarOp kind : {ScalarOp::Add, ScalarOp::Sub, ScalarOp::Mul, ScalarOp::Div, ScalarOp::Pow, ScalarOp::Max}) {
    SCOPED_TRACE(name_of(op_kind(kind)));
    expect_gradients({floats({5}, 0.5, 2)}, [kind](GraphBuilder& b, Values in) -> std::vector<Value*> {
      return {b.scalar_op(kind, {in[0], in[0]})};
    });
  }
}

// Whole exponents of bases of either sign, 0 among them; the exponent itself is fixed.
TEST(GradientOfScalarOps, WholePowers) {
  Argument base = floats({5}, -2, 2);
  base.value.numbers[2] = 0;
  for (double exponent : {0.0, 1.0, 2.0, 3.0})
    expect_gradients({base}, [exponent](GraphBuilder& b, Values in) -> std::vector<Value*> {
      return {b.scalar_op(ScalarOp::Pow, {in[0], b.like(in[0], exponent)})};
    });
  expect_gradients({floats({4}, -2, -0.5)}, [](GraphBuilder& b, Values in) -> std::vector<Value*> {
    return {b.scalar_op(ScalarOp::Pow, {in[0], b.like(in[0], -3)})};
  });
}

TEST(GradientOfScalarOps, Select) {
  expect_gradients({integers({2, 3}, {1, 0, 1, 0, 0, 1}, DType::Bool), floats({2, 3}), floats({3})},
                   applied(ScalarOp::Select));
}

TEST(GradientOfScalarOps, Conversions) {
  expect_gradients({floats({4})}, [](GraphBuilder& b, Values in) -> std::vector<Value*> {
    Value* narrow = b.convert(in[0], DType::F16);
    return {b.mul(narrow, narrow)};
  });
}

// What an integer, a comparison or a step in height passes on has no gradient; the rest of the way has its own.
TEST(GradientOfScalarOps, StopsAtWhatIsConstantButForJumps) {
  const auto expect_none = [](const Build& of) {
    expect_gradients({floats({5}, 0.1, 3)}, [&](GraphBuilder& b, Values in) -> std::vector<Value*> {
      return {b.mul(in[0], b.convert(of(b, in)[0], DType::F64))};
    });
  };
  for (ScalarOp kind : {ScalarOp::Floor, ScalarOp::Ceil, ScalarOp::Round, ScalarOp::Trunc, ScalarOp::Sign})
    expect_none(applied(kind));
  expect_none([](GraphBuilder& b, Values in) -> std::vector<Value*> { return {b.convert(in[0], DType::I32)}; });
  expect_none([](GraphBuilder& b, Values in) -> std::vector<Value*> {
    return {b.scalar_op(ScalarOp::Less, {in[0], b.like(in[0], 1)})};
  });
}

TEST(GradientOfScalarOps, IsRefusedByNodeWhereThereIsNone) {
  const std::string said = refusal({floats({4})}, [](GraphBuilder& b, Values in) -> std::vector<Value*> {
    return {b.create(OpKind::BitCast, {b.create(OpKind::BitCast, {in[0]}, {{"to", DType::I64}}).result()},
                     {{"to", DType::F64}})
                .result()};
  });
  EXPECT_EQ(said, "");  // through an integer
  const std::string bits = refusal({floats({4})}, [](GraphBuilder& b, Values in) -> std::vector<Value*> {
    return {b.create(OpKind::BitCast, {in[0]}, {{"to", DType::F64}, {"shape", b.shape({2, 2})}}).result()};
  });
  EXPECT_EQ(bits, "node 'tested' (Test, opset 1): the gradient of 'bit_cast', on a way from a parameter to the loss");
}

}  // namespace
}  // namespace lapidary::test
