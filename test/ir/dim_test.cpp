// Normal form identities, soundness of intervals and facts, the text form; and random formulas whose value must be the
// same with and without simplification.
#include "ir/dim.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <random>

#include "ir/error.h"

namespace lapidary {
namespace {

class DimTest : public ::testing::Test {
 protected:
  DimPool pool;
  Dim n = pool.symbol("N"), s = pool.symbol("S"), batch = pool.symbol("B", {1, 64});
  Dim c(int64_t value) { return pool.constant(value); }
  Dim parse(std::string_view text) { return parse_dim(pool, text); }
};

TEST_F(DimTest, SumsAndProductsHaveOneForm) {
  EXPECT_EQ(parse("N*S + S*N"), parse("2*N*S"));
  EXPECT_EQ(parse("(N + 1)*(N - 1)"), parse("N*N - 1"));
  EXPECT_EQ(parse("N - N"), c(0));
  EXPECT_EQ(parse("3*(N + S) - 2*S - N"), parse("2*N + S"));
  EXPECT_EQ(to_string(parse("1 + S*N*4")), "4*N*S + 1");
}

TEST_F(DimTest, Quotients) {
  EXPECT_EQ(parse("(4*N) floordiv 4"), n);
  EXPECT_EQ(to_string(parse("(N + 3) floordiv 4")), "(N + 3) floordiv 4");
  EXPECT_EQ(parse("(8*N + 4*S + 7) floordiv 4"), parse("2*N + S + 1"));
  EXPECT_EQ(parse("(N + 3) floordiv 4 floordiv 3"), parse("(N + 3) floordiv 12"));
  EXPECT_EQ(parse("((N - 1) floordiv 2 + 1 - 1) floordiv 2 + 1"), parse("(N - 1) floordiv 4 + 1"));
  EXPECT_EQ(pool.ceildiv(n, c(4)), parse("(N + 3) floordiv 4"));
  EXPECT_EQ(parse("(12*B*N + 5*B) floordiv B"), parse("12*N + 5"));
  EXPECT_EQ(parse("(N*S) floordiv S")->kind, DimKind::FloorDiv) << "S may be 0";
  EXPECT_EQ(parse("B floordiv 65"), c(0));
  EXPECT_EQ(parse("N floordiv 0"), c(0));
  EXPECT_EQ(parse("(0 - N) floordiv (0 - 4)"), parse("N floordiv 4"));
}

TEST_F(DimTest, ExactQuotients) {
  EXPECT_EQ(pool.exact_quotient(parse("N*S*768"), parse("N*S")), c(768));
  EXPECT_EQ(pool.exact_quotient(parse("N*N - S*S"), parse("N + S")), parse("N - S"));
  EXPECT_EQ(pool.exact_quotient(parse("N*S + 1"), n), nullptr);
  EXPECT_EQ(pool.exact_quotient(parse("3*N"), parse("2*N")), nullptr);
  EXPECT_EQ(pool.exact_quotient(n, c(0)), nullptr);
}

TEST_F(DimTest, Remainders) {
  EXPECT_EQ(parse("(4*N + 6) mod 4"), c(2));
  EXPECT_EQ(parse("(5*N) mod 4"), parse("N mod 4"));
  EXPECT_EQ(parse("(N mod 12) mod 4"), parse("N mod 4"));
  EXPECT_EQ(parse("(6*N + 5) mod 4"), parse("2*(N mod 2) + 1"));
  EXPECT_EQ(parse("(N*S + 3*S) mod S"), c(0));
  EXPECT_EQ(parse("B mod 100"), batch);
  EXPECT_EQ(parse("(B - 1) mod 64"), parse("B - 1"));
}

TEST_F(DimTest, ExtremaAndComparisons) {
  EXPECT_EQ(parse("min(N, N + 3)"), n);
  EXPECT_EQ(parse("max(N, 0)"), n);
  EXPECT_EQ(parse("min(N, 9223372036854775807)"), n);
  EXPECT_EQ(parse("max(S, max(N, S))"), parse("max(N, S)"));
  EXPECT_EQ(parse("max(N, min(N, S))"), n);
  EXPECT_EQ(parse("equal(N + 1, S + 1)"), parse("equal(S, N)"));
  EXPECT_EQ(parse("equal(2*N, 2*S + 1)"), c(0));
  EXPECT_EQ(parse("equal(B, 65)"), c(0));
  EXPECT_EQ(parse("less(B, 65)"), c(1));
  EXPECT_EQ(parse("less(N + S, N + S)"), c(0));
  EXPECT_EQ(parse("select(equal(N, S), N, S)"), s);
  EXPECT_EQ(parse("select(less(N, S), 1, 0)"), parse("less(N, S)"));
  EXPECT_EQ(parse("select(B, N, S)"), n);
}

TEST_F(DimTest, Facts) {
  EXPECT_TRUE(known_multiple(parse("12*N*S + 8*N"), 4));
  EXPECT_FALSE(known_multiple(parse("12*N*S + 8*N"), 8));
  EXPECT_TRUE(known_multiple(parse("(2*N)*(2*S)"), 4));
  EXPECT_TRUE(known_multiple(parse("max(4*N, 6*S)"), 2));
  EXPECT_TRUE(known_multiple(c(0), 7));
  EXPECT_TRUE(known_unequal(n, parse("N + 1")));
  EXPECT_TRUE(known_unequal(batch, c(0)));
  EXPECT_FALSE(known_unequal(n, s));
  EXPECT_FALSE(known_equal(n, s));
  EXPECT_EQ(range(parse("2*B - 1")), (Interval{1, 127}));
  EXPECT_EQ(range(parse("B floordiv 3")), (Interval{0, 21}));
  EXPECT_EQ(range(parse("N mod 7")), (Interval{0, 6}));
}

TEST_F(DimTest, SymbolRangesMeet) {
  EXPECT_EQ(pool.symbol("B", {0, 32}), batch);
  EXPECT_EQ(range(batch), (Interval{1, 32}));
  EXPECT_THROW(pool.symbol("B", {33, 64}), Error);
}

TEST_F(DimTest, Overflow) {
  Dim huge = c(INT64_MAX);
  EXPECT_THROW(pool.add(huge, c(1)), Error);
  EXPECT_THROW(pool.mul(huge, parse("2*N")), Error);
  auto at = [](int64_t x) { return [x](Dim) { return std::optional<int64_t>(x); }; };
  EXPECT_EQ(evaluate(parse("N*N*N"), at(3'000'000)), std::nullopt);
  EXPECT_EQ(evaluate(parse("N*N*N"), at(2'000'000)), INT64_C(8'000'000'000'000'000'000));
  EXPECT_EQ(evaluate(n, [](Dim) { return std::nullopt; }), std::nullopt);
}

TEST_F(DimTest, FormulasDoNotGrowWithoutEnd) {
  auto doubling = [&] {
    Dim x = n;
    for (int i = 0; i < 100; i++) x = pool.max(pool.floordiv(pool.add(x, s), c(3)), pool.mod(x, c(7)));
  };
  EXPECT_THROW(doubling(), Error);
}

TEST_F(DimTest, Text) {
  for (const char* text :
       {"N", "4*N*S + 1", "max(N, 4)", "(S + 3) floordiv 4", "N - 1", "-N + 3", "2*((S + 3) floordiv 4) + 1",
        "select(less(N, S), N*S, 7)", "%12[3]", "\"batch size\"", "\"a\\x22\\x5c\\xff\" + N", "-9223372036854775808"}) {
    Dim dim = parse(text);
    EXPECT_EQ(parse(to_string(dim)), dim) << text;
  }
  EXPECT_EQ(to_string(pool.symbol("floordiv")), "\"floordiv\"");
  for (const char* text : {"", "N +", "(N", "min(N)", "N N", "9223372036854775808", "\"x", "%1", "floordiv 3", "N $"})
    EXPECT_THROW(parse(text), Error) << text;
}

TEST_F(DimTest, Substitution) {
  Dim dim = parse("max(N*S, 4) + (N + 3) floordiv 4");
  Dim result = pool.substitute(dim, [&](Dim leaf) { return leaf == n ? c(5) : nullptr; });
  EXPECT_EQ(result, parse("max(5*S, 4) + 2"));
}

// --- random formulas ---------------------------------------------------------------------------------------------

// A formula that remembers how it was made, so that it can be evaluated without the pool's simplification.
struct Plain {
  DimKind kind;
  int64_t constant = 0;
  Dim leaf = nullptr;
  std::vector<Plain> operands;
};

class RandomFormulas {
 public:
  RandomFormulas(DimPool& pool, unsigned seed) : pool_(pool), random_(seed) {
    leaves_ = {pool.symbol("N"), pool.symbol("S", {1, 40}), pool.symbol("T", {-9, 9}), pool.element(3, 1)};
  }

  std::pair<Plain, Dim> formula(int depth) {
    if (depth == 0 || pick(6) == 0) {
      if (pick(3) == 0) {
        int64_t value = pick(25) - 8;
        return {{DimKind::Constant, value, nullptr, {}}, pool_.constant(value)};
      }
      Dim leaf = leaves_[pick(4)];
      return {{leaf->kind, 0, leaf, {}}, leaf};
    }
    constexpr DimKind kKinds[] = {DimKind::Sum, DimKind::Sum, DimKind::Product, DimKind::FloorDiv, DimKind::Mod,
                                  DimKind::Min, DimKind::Max, DimKind::Equal,   DimKind::Less,     DimKind::Select};
    DimKind kind = kKinds[pick(10)];
    Plain plain{kind, 0, nullptr, {}};
    std::vector<Dim> operands;
    for (int i = 0; i < (kind == DimKind::Select ? 3 : 2); i++) {
      auto [sub, dim] = formula(depth - 1);
      plain.operands.push_back(std::move(sub));
      operands.push_back(dim);
    }
    return {std::move(plain), pool_.make(kind, operands)};
  }

  std::map<Dim, int64_t> assignment() {
    return {
        {leaves_[0], pick(50)}, {leaves_[1], 1 + pick(40)}, {leaves_[2], pick(19) - 9}, {leaves_[3], pick(100) - 50}};
  }

 private:
  int pick(int below) { return static_cast<int>(random_() % static_cast<unsigned>(below)); }
  DimPool& pool_;
  std::mt19937 random_;
  std::vector<Dim> leaves_;
};

int64_t plain_value(const Plain& plain, const std::map<Dim, int64_t>& values) {
  if (plain.leaf) return values.at(plain.leaf);
  if (plain.kind == DimKind::Constant) return plain.constant;
  std::vector<int64_t> x;
  for (const Plain& operand : plain.operands) x.push_back(plain_value(operand, values));
  int64_t quotient = x[1] == 0 ? 0 : static_cast<int64_t>(std::floor(static_cast<long double>(x[0]) / x[1]));
  switch (plain.kind) {
    case DimKind::Sum:
      return x[0] + x[1];
    case DimKind::Product:
      return x[0] * x[1];
    case DimKind::FloorDiv:
      return quotient;
    case DimKind::Mod:
      return x[1] == 0 ? 0 : x[0] - quotient * x[1];
    case DimKind::Min:
      return std::min(x[0], x[1]);
    case DimKind::Max:
      return std::max(x[0], x[1]);
    case DimKind::Equal:
      return x[0] == x[1];
    case DimKind::Less:
      return x[0] < x[1];
    case DimKind::Select:
      return x[0] != 0 ? x[1] : x[2];
    case DimKind::Constant:
    case DimKind::Symbol:
    case DimKind::Element:
      break;
  }
  return 0;
}

TEST(RandomDims, SimplificationKeepsTheValueAndFactsHold) {
  int simplified = 0;
  for (unsigned seed = 0; seed < 3000; seed++) {
    DimPool pool;
    RandomFormulas random(pool, seed);
    auto [plain, dim] = random.formula(4);
    auto [other, other_dim] = random.formula(3);
    simplified += dim->kind == DimKind::Constant;
    EXPECT_EQ(parse_dim(pool, to_string(dim)), dim) << to_string(dim);
    for (int trial = 0; trial < 20; trial++) {
      auto values = random.assignment();
      auto lookup = [&](Dim leaf) { return std::optional<int64_t>(values.at(leaf)); };
      int64_t expected = plain_value(plain, values);
      std::optional<int64_t> actual = evaluate(dim, lookup);
      ASSERT_TRUE(actual);
      ASSERT_EQ(*actual, expected) << "seed " << seed << ": " << to_string(dim);
      ASSERT_LE(range(dim).lo, expected) << "seed " << seed << ": " << to_string(dim);
      ASSERT_GE(range(dim).hi, expected) << "seed " << seed << ": " << to_string(dim);
      for (int64_t divisor : {2, 3, 4, 8})
        ASSERT_TRUE(!known_multiple(dim, divisor) || expected % divisor == 0) << to_string(dim);
      ASSERT_TRUE(!known_unequal(dim, other_dim) || expected != plain_value(other, values));
      Dim quotient = pool.exact_quotient(dim, other_dim);
      ASSERT_TRUE(!quotient || *evaluate(quotient, lookup) * plain_value(other, values) == expected);
    }
  }
  EXPECT_GT(simplified, 50);
}

}  // namespace
}  // namespace lapidary
