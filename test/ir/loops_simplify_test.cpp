// Index arithmetic: the identities it promises, and random expressions compared with plain evaluation.
#include "ir/loops_simplify.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "ir/error.h"
#include "ir/loops.h"

namespace lapidary::loops {
namespace {

using Values = std::map<const VarNode*, int64_t>;

int64_t evaluate_index(const Expr& e, const Values& values) {
  if (e->kind == ExprKind::Const) return e->constant.integer;
  if (e->kind == ExprKind::Variable) return values.at(e->var.get());
  EXPECT_EQ(e->kind, ExprKind::Apply);
  std::vector<Scalar> operands;
  for (const Expr& arg : e->args) operands.push_back(Scalar::of_integer(arg->type.dtype, evaluate_index(arg, values)));
  return evaluate(e->op, operands).integer;
}

size_t node_count(const Expr& e) {
  size_t count = 1;
  for (const Expr& arg : e->args) count += node_count(arg);
  return count;
}

struct LoopsSimplify : testing::Test {
  Var i = make_var("i", {}, 0, 1000), j = make_var("j", {}, 0, 15), k = make_var("k", {}, 0, 3);
  Var n = make_var("n", {}, 0, nodes_max(), 16), s = make_var("s", {}, 1, 512), any = make_var("any");
  Expr I = variable(i), J = variable(j), K = variable(k), N = variable(n), S = variable(s), A = variable(any);
  static int64_t nodes_max() { return INT64_MAX / 4; }
  Expr c(int64_t value) { return integer(value); }
};

TEST_F(LoopsSimplify, SumsCollectEqualTerms) {
  EXPECT_EQ(value_of(sub(add(I, J), add(J, I))), 0);
  EXPECT_TRUE(same(add(I, I), mul(I, c(2))));
  EXPECT_TRUE(same(sub(add(mul(I, S), J), mul(S, I)), J));
  EXPECT_TRUE(same(mul(add(I, c(3)), c(4)), add(mul(I, c(4)), c(12))));
  EXPECT_TRUE(same(mul(add(mul(I, c(16)), J), S), add(mul(mul(I, S), c(16)), mul(J, S))));
}

TEST_F(LoopsSimplify, DisplacementsShareTheirBase) {
  Expr base = add(mul(I, S), J);
  Expr first = add(base, c(1)), second = add(first, c(1));
  EXPECT_EQ(first->args[0], base);
  EXPECT_EQ(second->args[0], base);
  EXPECT_EQ(value_of(second->args[1]), 2);
}

TEST_F(LoopsSimplify, QuotientsAndRemaindersOfTiles) {
  Expr flat = add(mul(A, c(16)), J);
  EXPECT_TRUE(same(floordiv(flat, c(16)), A));
  EXPECT_TRUE(same(mod(flat, c(16)), J));
  EXPECT_TRUE(same(floordiv(add(mul(I, c(4)), K), c(12)), floordiv(I, c(3))));
  EXPECT_TRUE(same(mod(add(mul(I, c(4)), K), c(12)), add(mul(mod(I, c(3)), c(4)), K)));
  EXPECT_TRUE(same(floordiv(floordiv(I, c(3)), c(5)), floordiv(I, c(15))));
  EXPECT_TRUE(same(mod(mod(I, c(15)), c(5)), mod(I, c(5))));
  EXPECT_TRUE(same(floordiv(sub(mul(I, c(2)), c(3)), c(2)), sub(I, c(2))));
}

TEST_F(LoopsSimplify, QuotientAndRemainderMeetAgain) {
  EXPECT_TRUE(same(add(mul(floordiv(I, c(7)), c(7)), mod(I, c(7))), I));
  EXPECT_TRUE(same(mul(floordiv(N, c(16)), c(16)), N));
}

TEST_F(LoopsSimplify, KnownMultiplesDivide) {
  EXPECT_TRUE(same(floordiv(add(N, J), c(16)), floordiv(N, c(16))));
  EXPECT_TRUE(same(mod(add(N, J), c(16)), J));
  EXPECT_EQ(value_of(mod(N, c(8))), 0);
  EXPECT_EQ(known_multiple(add(mul(N, c(3)), c(32))), 16);
  EXPECT_EQ(known_multiple(mul(N, S)), 16);
  EXPECT_EQ(known_multiple(c(0)) % 64, 0);
}

TEST_F(LoopsSimplify, SymbolicDivisors) {
  EXPECT_TRUE(same(floordiv(mul(I, S), S), I));
  EXPECT_EQ(value_of(mod(mul(I, S), S)), 0);
  Var wide = make_var("wide", {}, 16, 512);
  Expr flat = add(mul(I, variable(wide)), J);
  EXPECT_TRUE(same(floordiv(flat, variable(wide)), I));
  EXPECT_TRUE(same(mod(flat, variable(wide)), J));
}

TEST_F(LoopsSimplify, ComparisonsByIntervals) {
  EXPECT_TRUE(same(min(J, c(15)), J));
  EXPECT_TRUE(same(min(add(I, c(1)), I), I));
  EXPECT_TRUE(same(max(sub(I, c(1)), I), I));
  EXPECT_EQ(value_of(less(J, c(16))), 1);
  EXPECT_EQ(value_of(less(add(I, c(1)), I)), 0);
  EXPECT_EQ(value_of(equal(mul(I, c(2)), c(7))), 0);
  EXPECT_EQ(min(I, c(5))->op, ScalarOp::Min);
}

TEST_F(LoopsSimplify, DataIsNotAnIndex) {
  Buffer buffer = make_global("x", DType::I64, false);
  Expr x = load(buffer, c(0));
  EXPECT_FALSE(value_of(less(x, add(x, c(1)))));  // wraps at INT64_MAX
  EXPECT_EQ(value_of(sub(x, x)), 0);
  EXPECT_EQ(floordiv(add(mul(x, c(16)), J), c(16))->op, ScalarOp::Sub);  // no way to know
  Expr clamped = min(max(x, c(0)), c(9));
  EXPECT_EQ(bounds(clamped).lo, 0);
  EXPECT_EQ(bounds(clamped).hi, 9);
}

TEST_F(LoopsSimplify, MasksOfTails) {
  EXPECT_EQ(first_lanes(c(16), 16)->constant.integer, 1);
  EXPECT_EQ(first_lanes(c(0), 16)->constant.integer, 0);
  EXPECT_EQ(first_lanes(I, 16)->type, (ExprType{DType::Bool, 16}));
}

// A chain of a thousand squarings and foldings: work and size stay bounded.
TEST_F(LoopsSimplify, DeepDagsStayDags) {
  Expr e = add(I, S);
  for (int step = 0; step < 1000; step++) e = add(mul(e, add(e, J)), floordiv(e, c(3)));
  EXPECT_TRUE(e);
  Expr sum = c(0);
  for (int step = 0; step < 2000; step++) sum = add(sum, mul(variable(make_var("v")), c(step)));
  EXPECT_LE(node_count(sum), 10000u);
}

TEST_F(LoopsSimplify, RandomExpressionsKeepTheirValue) {
  std::mt19937_64 random(1);
  Var low = make_var("low", {}, -40, 25), tens = make_var("tens", {}, 0, 1000, 10);
  std::vector<Var> vars = {i, j, k, s, low, tens};
  for (int round = 0; round < 20000; round++) {
    Values values;
    for (const Var& var : vars) {
      int64_t span = (var->hi - var->lo) / var->multiple + 1;
      int64_t value = var->lo + static_cast<int64_t>(random() % static_cast<uint64_t>(span)) * var->multiple;
      if (random() % 4 == 0) value = random() % 2 ? var->lo : var->lo + (span - 1) * var->multiple;
      values[var.get()] = value;
    }
    std::vector<std::pair<Expr, int64_t>> pool;
    for (const Var& var : vars) pool.push_back({variable(var), values[var.get()]});
    for (int step = 0; step < 12; step++) {
      auto [a, x] = pool[random() % pool.size()];
      auto [b, y] = pool[random() % pool.size()];
      static const int64_t kConstants[] = {0, 1, 2, 3, 4, 5, 7, 8, 10, 12, 16, 30, 48, -1, -3, -16};
      if (random() % 2) b = integer(y = kConstants[random() % std::size(kConstants)]);
      if (std::abs(x) > 1'000'000'000 || std::abs(y) > 1'000'000'000) continue;
      int64_t quotient = y > 0 ? x / y - (x % y < 0) : 0;
      switch (random() % 10) {
        case 0:
          pool.push_back({add(a, b), x + y});
          break;
        case 1:
          pool.push_back({sub(a, b), x - y});
          break;
        case 2:
          pool.push_back({mul(a, b), x * y});
          break;
        case 3:
          pool.push_back({min(a, b), std::min(x, y)});
          break;
        case 4:
          pool.push_back({max(a, b), std::max(x, y)});
          break;
        case 5:
          pool.push_back({select(less(a, b), a, b), x < y ? x : y});
          break;
        case 6:
          pool.push_back({select(equal(a, b), a, integer(3)), x == y ? x : 3});
          break;
        case 7:
        case 8:
          if (y > 0 && (bounds(b).lo > 0)) pool.push_back({floordiv(a, b), quotient});
          break;
        case 9:
          if (y > 0 && (bounds(b).lo > 0)) pool.push_back({mod(a, b), x - quotient * y});
          break;
      }
    }
    for (const auto& [e, expected] : pool) {
      ASSERT_EQ(evaluate_index(e, values), expected) << "round " << round;
      ASSERT_LE(bounds(e).lo, expected) << "round " << round;
      ASSERT_GE(bounds(e).hi, expected) << "round " << round;
      ASSERT_EQ(expected % known_multiple(e), 0) << "round " << round;
    }
  }
}

TEST(LoopsBuilders, FoldConstantsAndRefuseWrongTypes) {
  EXPECT_EQ(add(real(1.5f, 16), real(2, 16))->constant.number, 3.5);
  EXPECT_EQ(fma(real(2), real(3), real(4))->constant.number, 10);
  EXPECT_EQ(splat(real(2), 8)->kind, ExprKind::Const);
  Var x = make_var("x", {DType::F32, 16}), mask = make_var("mask", {DType::Bool, 16});
  EXPECT_EQ(mul(variable(x), real(1, 16))->kind, ExprKind::Variable);
  EXPECT_EQ(add(variable(x), real(0, 16))->kind, ExprKind::Apply);  // -0 + 0 is +0
  EXPECT_THROW(add(variable(x), real(1)), Error);
  EXPECT_THROW(apply(ScalarOp::Exp, {variable(mask)}), Error);
  Buffer half = make_global("h", DType::F16, false);
  EXPECT_THROW(add(load(half, integer(0), 16), load(half, integer(0), 16)), Error);
  EXPECT_EQ(convert(load(half, integer(0), 16), DType::F32)->type, (ExprType{DType::F32, 16}));
}

TEST(LoopsBuilders, StatementsThatDoNothingAreLeftOut) {
  Buffer y = make_global("y", DType::F32, true);
  Stmt never = store(y, integer(0), real(1, 16), constant(Scalar::of_bool(false), 16));
  EXPECT_TRUE(block({never, never})->body.empty());
  Stmt always = if_then(constant(Scalar::of_bool(true)), {store(y, integer(0), real(1))});
  EXPECT_EQ(block({always})->body[0]->kind, StmtKind::Store);
  EXPECT_TRUE(for_loop(make_var("i"), integer(3), integer(3), 1, LoopKind::Serial, {always})->body.empty());
}

}  // namespace
}  // namespace lapidary::loops
