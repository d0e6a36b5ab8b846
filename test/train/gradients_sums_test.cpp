// Gradients of reductions, running sums and contractions.
#include <gtest/gtest.h>

#include "test/train/gradient_check.h"

namespace lapidary::test {
namespace {

using Values = std::span<Value* const>;
using Results = std::vector<Value*>;

TEST(GradientOfReductions, OverSeveralAxes) {
  for (OpKind kind :
       {OpKind::ReduceSum, OpKind::ReduceMean, OpKind::ReduceMax, OpKind::ReduceMin, OpKind::ReduceProd}) {
    SCOPED_TRACE(name_of(kind));
    for (const std::vector<int64_t>& axes : std::vector<std::vector<int64_t>>{{0}, {1}, {2}, {0, 2}, {0, 1, 2}, {}})
      for (const bool keep : {false, true}) {
        const auto build = [&](GraphBuilder& b, Values in) -> Results { return {b.reduce(kind, in[0], axes, keep)}; };
        expect_gradients({floats({2, 3, 2}, 0.2, 2)}, build);
        expect_gradients({floats({1, 3, 1}, -2, 2)}, build);
        expect_gradients({floats({2, 0, 3})}, [&](GraphBuilder& b, Values in) -> Results {
          Value* reduced = b.reduce(kind, in[0], axes, keep);
          return {b.select(b.scalar_op(ScalarOp::Less, {reduced, b.like(reduced, 1e9)}), reduced, b.like(reduced, 0))};
        });
        expect_gradients({named(floats({2, 3, 2}), {"N", "", "S"})}, build);
      }
  }
}

TEST(GradientOfReductions, OfProductsWithZeros) {
  for (int zeros : {1, 2, 3}) {
    Argument x = floats({2, 4});
    for (int i = 0; i < zeros; ++i) x.value.numbers[static_cast<size_t>(3 * i) % 8] = 0;
    for (const std::vector<int64_t>& axes : std::vector<std::vector<int64_t>>{{0}, {1}, {0, 1}})
      expect_gradients(
          {x}, [&](GraphBuilder& b, Values in) -> Results { return {b.reduce(OpKind::ReduceProd, in[0], axes)}; });
  }
}

TEST(GradientOfScan, OfSumsProductsAndExtremes) {
  for (const char* kind : {"add", "mul", "max", "min"})
    for (int64_t exclusive : {0, 1})
      for (int64_t reverse : {0, 1})
        for (int64_t axis : {0, 1}) {
          SCOPED_TRACE(::testing::Message() << kind << " exclusive " << exclusive << " reverse " << reverse);
          const Build build = [&](GraphBuilder& b, Values in) -> Results {
            Value* y =
                b.create(OpKind::Scan, {in[0]},
                         {{"axis", axis}, {"op", std::string(kind)}, {"exclusive", exclusive}, {"reverse", reverse}})
                    .result();
            return {b.select(b.scalar_op(ScalarOp::IsInf, {y}), b.like(y, 0), y)};  // what extremes begin with
          };
          for (const std::vector<int64_t>& shape : std::vector<std::vector<int64_t>>{{3, 4}, {1, 1}, {0, 2}, {5, 1}})
            expect_gradients({floats(shape)}, build);
          Argument zeros = floats({3, 4});
          for (size_t i : {1u, 6u, 7u})
            zeros.value.numbers[i] = kind == std::string("mul") ? 0 : zeros.value.numbers[i];
          expect_gradients({named(zeros, {"N", "S"})}, build);
        }
}

TEST(GradientOfContract, OfEveryKindOfLetter) {
  struct Case {
    const char* spec;
    std::vector<int64_t> left, right;
  };
  for (const Case& of : std::vector<Case>{{"mk,kn->mn", {2, 3}, {3, 4}},
                                          {"mk,nk->nm", {2, 3}, {4, 3}},
                                          {"bmk,bnk->bmn", {2, 2, 3}, {2, 4, 3}},
                                          {"bghsd,bgtd->bghst", {1, 2, 2, 3, 2}, {1, 2, 4, 2}},
                                          {"k,k->", {5}, {5}},
                                          {"m,n->nm", {2}, {3}},
                                          {"b,b->b", {4}, {4}},
                                          {"bk,bk->b", {2, 3}, {2, 3}},
                                          {"mk,k->m", {2, 3}, {3}},
                                          {",n->n", {}, {3}},
                                          {"mk,kn->mn", {2, 0}, {0, 3}},
                                          {"mk,kn->mn", {0, 2}, {2, 3}},
                                          {"abc,bcd->da", {2, 2, 3}, {2, 3, 2}}}) {
    SCOPED_TRACE(of.spec);
    const Build build = [&](GraphBuilder& b, Values in) -> Results { return {b.contract(in[0], in[1], of.spec)}; };
    expect_gradients({floats(of.left), floats(of.right)}, build);
    expect_gradients({fixed(floats(of.left)), floats(of.right)}, build);
    expect_gradients({floats(of.left), fixed(floats(of.right))}, build);
  }
  expect_gradients({named(floats({2, 3}), {"M", "K"}), named(floats({3, 4}), {"K", "N"})},
                   [](GraphBuilder& b, Values in) -> Results { return {b.contract(in[0], in[1], "mk,kn->mn")}; });
  expect_gradients({floats({3, 3})},
                   [](GraphBuilder& b, Values in) -> Results { return {b.contract(in[0], in[0], "mk,kn->mn")}; });
}

TEST(GradientOfContract, OfMatrixProductsWithBatchesThatAreSpread) {
  const auto matmul = [](GraphBuilder& b, Values in) -> Results { return {b.matmul(in[0], in[1])}; };
  expect_gradients({floats({2, 1, 2, 3}), floats({3, 3, 2})}, matmul);
  expect_gradients({floats({2, 2, 3}), floats({3, 2})}, matmul);
  expect_gradients({floats({3}), floats({2, 3, 2})}, matmul);
  expect_gradients({floats({2, 3}), floats({3})}, matmul);
  expect_gradients({named(floats({2, 2, 3}), {"N", "S", ""}), named(floats({1, 3, 2}), {"U", "", ""})}, matmul);
}

}  // namespace
}  // namespace lapidary::test
