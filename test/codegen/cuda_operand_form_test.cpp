// How operands of products are told to the device: rows of a matrix by a stride, pixels under taps by a word for each
// line, other masks by facts about the line, and what is none of these by its address.
#include <gtest/gtest.h>

#include "codegen/cuda/operand_form.h"
#include "ir/loops_substitute.h"

namespace lapidary::codegen::cuda {
namespace {

using namespace loops;
using Kind = OperandForm::Kind;

struct CudaOperandForm : testing::Test {
  Var line = make_var("i", {}, 0, 127), k = make_var("k", {}, 0, 575), n = make_var("n", {}, 1, INT64_MAX / 4);
  Buffer x = make_global("x", DType::F16, false);
  Expr row = variable(line), depth = variable(k), extent = variable(n);

  OperandForm form_of(const Expr& index, const Expr& mask) {
    return operand_form({load(x, index, 1, mask), true, 8}, line, k);
  }
  static Expr both(const Expr& a, const Expr& b) { return apply(ScalarOp::And, {a, b}); }
  static Expr within(const Expr& at, const Expr& end) {
    return both(apply(ScalarOp::LessEqual, {integer(0), at}), less(at, end));
  }
  // A pixel row of 56, and the tap of 3 that k is in.
  Expr pixel(int64_t dilation = 1) {
    return sub(add(mod(row, integer(56)), mul(floordiv(depth, integer(192)), integer(dilation))), integer(1));
  }
};

TEST_F(CudaOperandForm, RowsOfAMatrixAreStrided) {
  const OperandForm form = form_of(add(mul(row, extent), depth), less(add(row, integer(128)), extent));
  EXPECT_EQ(form.kind, Kind::Strided);
  EXPECT_TRUE(same(form.stride, extent));
  EXPECT_TRUE(same(form.lines, sub(extent, integer(128))));
}

TEST_F(CudaOperandForm, TapsOfAWindow) {
  const Expr index = add(mul(pixel(), extent), mod(depth, integer(64)));
  const OperandForm form = form_of(index, both(within(pixel(), integer(56)), less(row, extent)));
  ASSERT_EQ(form.kind, Kind::Tapped);
  ASSERT_EQ(form.windows.size(), 1U);
  EXPECT_TRUE(same(form.windows[0].tap, floordiv(depth, integer(192))));
  EXPECT_TRUE(same(form.mask, less(row, extent)));
  EXPECT_EQ(form_of(index, within(pixel(), extent)).kind, Kind::Tapped) << "of an extent known at run time";
}

TEST_F(CudaOperandForm, TapsOfAWindowThatBeginsAtTheEdge) {
  const Expr at = add(mod(row, integer(56)), floordiv(depth, integer(192)));
  const OperandForm form = form_of(add(mul(at, extent), mod(depth, integer(64))), less(at, integer(57)));
  ASSERT_EQ(form.kind, Kind::Tapped);
  EXPECT_TRUE(same(form.windows[0].start, mod(row, integer(56))));
}

TEST_F(CudaOperandForm, TapsTooFarForAWord) {
  const OperandForm form = form_of(add(row, depth), within(pixel(40), integer(56)));
  ASSERT_EQ(form.kind, Kind::Prepared);
  ASSERT_EQ(form.facts.size(), 1U);
  EXPECT_TRUE(same(form.facts[0].value, sub(mod(row, integer(56)), integer(1))));
}

TEST_F(CudaOperandForm, OtherConditionsOnBoth) {
  EXPECT_EQ(form_of(add(row, depth), less(mul(row, depth), extent)).kind, Kind::Copied);
  const OperandForm form = form_of(add(row, mul(depth, integer(2))), less(add(row, depth), extent));
  ASSERT_EQ(form.kind, Kind::Prepared);
  EXPECT_EQ(form.facts.size(), 1U);
}

// Eight codes of a word and the scale of their block of 32: two loads for the chunk.
TEST_F(CudaOperandForm, ChunksOfCodesLoadTheirWordOnce) {
  const Buffer words = make_global("words", DType::I32, false), scales = make_global("scales", DType::F32, false);
  const Expr word = load(words, add(mul(row, integer(64)), floordiv(depth, integer(8)))),
             shift = convert(mul(mod(depth, integer(8)), integer(4)), DType::I32),
             mask = constant(Scalar::of_integer(DType::I32, 15));
  const Expr code = apply(ScalarOp::And, {apply(ScalarOp::ShiftRight, {word, shift}), mask});
  const Expr scale = load(scales, add(mul(row, integer(16)), floordiv(depth, integer(32))));
  const OperandForm form = operand_form({mul(convert(code, DType::F32), scale), true, 8}, line, k);
  ASSERT_EQ(form.kind, Kind::Converted);
  ASSERT_EQ(form.loads.size(), 2U);
  EXPECT_TRUE(same(form.loads[0].value, load(words, add(mul(row, integer(64)), variable(form.chunk)))));
  ASSERT_EQ(form.elements.size(), 8U);
  for (const Expr& element : form.elements) EXPECT_FALSE(mentions(element, form.chunk));
}

}  // namespace
}  // namespace lapidary::codegen::cuda
