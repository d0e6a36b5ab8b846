// The normal form of I64 scalars. An index is a sum of coefficient·monomial plus a constant, a monomial being a product
// of atoms: variables, loads, quotients, remainders, min, max, select. The terms keep the order in which they first
// appeared, so nothing depends on addresses, and x + 1, x + 2, … share the node x. Equal monomials are found by hash.
//
//   (16*a + b) floordiv 16 == a          where 0 <= b < 16
//   (16*a + b) mod 16      == b
//   (4*a + b) floordiv 12  == a floordiv 3, (4*a + b) mod 12 == 4*(a mod 3) + b     where 0 <= b < 4
//   (x floordiv a) floordiv b == x floordiv (a*b),  (x mod (a*b)) mod b == x mod b
//   c*(x floordiv c) + x mod c == x
//   (n + b) floordiv 16    == n floordiv 16             where 16 divides n and 0 <= b < 16
//   min(a, b) == a, a < b == true, …                    where the interval of a - b says so
//
// Not found: (i*S + j) floordiv S with a symbolic S unless j's interval lies under S's. Sums longer than kMaxTerms
// and products of long sums stay as they are built, so the work for one call is bounded, whatever the DAG under it.
//
// A quotient is ScalarOp::Div, which rounds towards zero, of something never negative: a dividend with a known lower
// bound is shifted by a multiple of the divisor, any other pays a compare. Sums and products hold for wrapping
// integers; division and comparison use intervals and so only index values (loops_nodes.h).
// Tests: test/ir/loops_simplify_test.cpp.
#include "ir/loops_simplify.h"

#include <algorithm>
#include <bit>
#include <numeric>

#include "ir/error.h"
#include "ir/loops_nodes.h"

namespace lapidary::loops {

// Products are equal as sets of factors, everything else argument by argument. `budget` bounds the nodes looked at:
// two separately built copies of a deep DAG are told "unknown".
static bool same_within(const Expr& a, const Expr& b, int& budget);

static void collect_factors(const Expr& product, std::vector<Expr>& factors) {
  Expr rest = product;
  while (rest->kind == ExprKind::Apply && rest->op == ScalarOp::Mul) {
    factors.push_back(rest->args[1]);
    rest = rest->args[0];
  }
  factors.push_back(rest);
  std::reverse(factors.begin(), factors.end());
}

static bool same_products(const Expr& a, const Expr& b, int& budget) {
  std::vector<Expr> left, right;
  collect_factors(a, left);
  collect_factors(b, right);
  if (left.size() != right.size()) return false;
  for (const Expr& factor : left) {
    auto found =
        std::find_if(right.begin(), right.end(), [&](const Expr& other) { return same_within(factor, other, budget); });
    if (found == right.end()) return false;
    right.erase(found);
  }
  return true;
}

static bool same_within(const Expr& a, const Expr& b, int& budget) {
  if (a == b) return true;
  if (a->hash != b->hash || a->kind != b->kind || !(a->type == b->type) || a->op != b->op || --budget < 0) return false;
  if (a->kind == ExprKind::Const) {
    return a->constant.integer == b->constant.integer &&
           std::bit_cast<uint64_t>(a->constant.number) == std::bit_cast<uint64_t>(b->constant.number);
  }
  if (a->kind == ExprKind::Apply && a->op == ScalarOp::Mul) return same_products(a, b, budget);
  if (a->var != b->var || a->buffer != b->buffer || a->lanes_from != b->lanes_from || a->args.size() != b->args.size())
    return false;
  for (size_t i = 0; i < a->args.size(); i++) {
    if (!same_within(a->args[i], b->args[i], budget)) return false;
  }
  return true;
}

bool same(const Expr& a, const Expr& b) {
  int budget = 256;
  return same_within(a, b, budget);
}

namespace {

constexpr size_t kMaxTerms = 24;       // of a sum
constexpr size_t kMaxDistributed = 8;  // terms a product of two sums may have
constexpr size_t kMaxFactors = 6;      // of a monomial

bool is_apply(const Expr& e, ScalarOp op) { return e->kind == ExprKind::Apply && e->op == op; }
bool is_constant(const Expr& e) { return e->kind == ExprKind::Const; }
bool is_constant(const Expr& e, int64_t value) { return is_constant(e) && e->constant.integer == value; }

int64_t wrapping_add(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}
int64_t wrapping_mul(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
}
int64_t floor_quotient(int64_t a, int64_t b) { return a / b - (a % b < 0); }
int64_t floor_remainder(int64_t a, int64_t b) { return a - floor_quotient(a, b) * b; }

// --- sums --------------------------------------------------------------------------------------------------------
struct Term {
  Expr monomial;
  int64_t coefficient;
};
struct Sum {
  std::vector<Term> terms;
  int64_t constant = 0;
  std::vector<Expr> prefix;  // prefix[i]: a node that is the sum of the terms up to i, as long as they are unchanged
};

Term term_of(Expr node) {
  int64_t coefficient = 1;
  while (is_apply(node, ScalarOp::Mul) && is_constant(node->args[1])) {
    coefficient = wrapping_mul(coefficient, node->args[1]->constant.integer);
    node = node->args[0];
  }
  return {node, coefficient};
}

// Reads a sum off its left spine; what else stands on the right of a + or - is one term.
Sum sum_of(const Expr& e) {
  Sum sum;
  std::vector<std::pair<Expr, Term>> backwards;  // a node and the term it adds to its left argument
  Expr rest = e;
  for (; is_apply(rest, ScalarOp::Add) || is_apply(rest, ScalarOp::Sub); rest = rest->args[0]) {
    bool plus = rest->op == ScalarOp::Add;
    const Expr& right = rest->args[1];
    if (is_constant(right)) {
      sum.constant =
          wrapping_add(sum.constant, plus ? right->constant.integer : wrapping_mul(-1, right->constant.integer));
      continue;
    }
    Term term = term_of(right);
    if (!plus) term.coefficient = wrapping_mul(-1, term.coefficient);
    backwards.push_back({rest, term});
  }
  if (is_constant(rest)) {
    sum.constant = wrapping_add(sum.constant, rest->constant.integer);
  } else {
    backwards.push_back({rest, term_of(rest)});
  }
  for (auto it = backwards.rbegin(); it != backwards.rend(); ++it) {
    sum.prefix.push_back(it->first);
    sum.terms.push_back(it->second);
  }
  return sum;
}

// A node in the middle of a sum that is not in normal form may hold a constant its terms don't: not to be reused.
bool holds_no_constant(const Expr& e) {
  Expr rest = e;
  for (; is_apply(rest, ScalarOp::Add) || is_apply(rest, ScalarOp::Sub); rest = rest->args[0]) {
    if (is_constant(rest->args[1])) return false;
  }
  return !is_constant(rest);
}

Expr scaled(const Expr& monomial, int64_t coefficient) {
  return coefficient == 1 ? monomial : nodes::apply(ScalarOp::Mul, {monomial, integer(coefficient)});
}

Expr build(const Sum& sum) {
  Expr node;
  size_t reused = sum.prefix.size();
  while (reused > 0 && !holds_no_constant(sum.prefix[reused - 1])) reused--;
  if (reused > 0) node = sum.prefix[reused - 1];
  for (size_t i = reused; i < sum.terms.size(); i++) {
    auto [monomial, coefficient] = sum.terms[i];
    bool minus = node && coefficient < 0 && coefficient != INT64_MIN;
    Expr term = scaled(monomial, minus ? -coefficient : coefficient);
    node = node ? nodes::apply(minus ? ScalarOp::Sub : ScalarOp::Add, {node, term}) : term;
  }
  if (!node) return integer(sum.constant);
  return sum.constant == 0 ? node : nodes::apply(ScalarOp::Add, {node, integer(sum.constant)});
}

void erase_term(Sum& sum, size_t at) {
  sum.terms.erase(sum.terms.begin() + static_cast<std::ptrdiff_t>(at));
  sum.prefix.resize(std::min(sum.prefix.size(), at));
}

void add_term(Sum& sum, const Term& term) {
  for (size_t i = 0; i < sum.terms.size(); i++) {
    if (!same(sum.terms[i].monomial, term.monomial)) continue;
    sum.terms[i].coefficient = wrapping_add(sum.terms[i].coefficient, term.coefficient);
    sum.prefix.resize(std::min(sum.prefix.size(), i));
    if (sum.terms[i].coefficient == 0) erase_term(sum, i);
    return;
  }
  if (term.coefficient != 0) sum.terms.push_back(term);
}

void add_sum(Sum& sum, const Sum& other, int64_t factor) {
  for (const Term& term : other.terms) add_term(sum, {term.monomial, wrapping_mul(term.coefficient, factor)});
  sum.constant = wrapping_add(sum.constant, wrapping_mul(other.constant, factor));
}

// k*c*(n floordiv c) == k*n, where c divides n. True when such a term was found and replaced.
bool undo_exact_quotient(Sum& sum) {
  for (size_t i = 0; i < sum.terms.size(); i++) {
    auto [quotient, coefficient] = sum.terms[i];
    if (!is_apply(quotient, ScalarOp::Div) || !is_constant(quotient->args[1])) continue;
    int64_t c = quotient->args[1]->constant.integer;
    if (c <= 0 || coefficient % c != 0 || quotient->args[0]->multiple % c != 0) continue;
    erase_term(sum, i);
    add_sum(sum, sum_of(quotient->args[0]), coefficient / c);
    return true;
  }
  return false;
}

// k*c*(x floordiv c) + k*(x mod c) == k*x. True when a pair was found and replaced.
bool recombine(Sum& sum) {
  for (size_t m = 0; m < sum.terms.size(); m++) {
    Term remainder = sum.terms[m];
    if (!is_apply(remainder.monomial, ScalarOp::FloorMod) || !is_constant(remainder.monomial->args[1])) continue;
    const Expr& divisor = remainder.monomial->args[1];
    for (size_t q = 0; q < sum.terms.size(); q++) {
      const Term& quotient = sum.terms[q];
      if (!is_apply(quotient.monomial, ScalarOp::Div) || !same(quotient.monomial->args[1], divisor) ||
          !same(quotient.monomial->args[0], remainder.monomial->args[0]) ||
          quotient.coefficient != wrapping_mul(remainder.coefficient, divisor->constant.integer)) {
        continue;
      }
      erase_term(sum, std::max(m, q));
      erase_term(sum, std::min(m, q));
      add_sum(sum, sum_of(remainder.monomial->args[0]), remainder.coefficient);
      return true;
    }
  }
  return false;
}

Expr combine(const Expr& a, const Expr& b, int64_t factor) {
  Sum sum = sum_of(a), other = sum_of(b);
  if (sum.terms.size() + other.terms.size() > kMaxTerms) {
    return nodes::apply(factor == 1 ? ScalarOp::Add : ScalarOp::Sub, {a, b});
  }
  if (sum.terms.empty() && factor == 1) std::swap(sum, other);  // c + x shares x
  add_sum(sum, other, factor);
  while (recombine(sum) || undo_exact_quotient(sum)) {}
  return build(sum);
}

// The interval of a sum; {INT64_MIN, INT64_MAX} when it holds data that may wrap.
Bounds bounds_of(const Sum& sum) {
  __int128 lo = sum.constant, hi = sum.constant;
  for (const auto& [monomial, coefficient] : sum.terms) {
    if (!nodes::is_index(monomial)) return {INT64_MIN, INT64_MAX};
    lo += static_cast<__int128>(coefficient) * (coefficient > 0 ? monomial->lo : monomial->hi);
    hi += static_cast<__int128>(coefficient) * (coefficient > 0 ? monomial->hi : monomial->lo);
  }
  if (sum.terms.empty()) return {sum.constant, sum.constant};
  return {static_cast<int64_t>(std::max<__int128>(lo, nodes::kIndexMin)),
          static_cast<int64_t>(std::min<__int128>(hi, nodes::kIndexMax))};
}

bool all_index(const Sum& sum) {
  return std::all_of(sum.terms.begin(), sum.terms.end(), [](const Term& term) {
    return nodes::is_index(term.monomial) &&
           std::clamp(term.coefficient, nodes::kIndexMin, nodes::kIndexMax) == term.coefficient;
  });
}

bool both_index(const Expr& a, const Expr& b) { return nodes::is_index(a) && nodes::is_index(b); }

Bounds difference_bounds(const Expr& a, const Expr& b) {
  Sum sum = sum_of(a);
  add_sum(sum, sum_of(b), -1);
  return bounds_of(sum);
}

// A sum whose terms all are multiples of something its constant is not: 2*i == 1 never holds.
bool never_zero(const Sum& sum) {
  if (!all_index(sum)) return false;
  int64_t common = 0;
  for (const Term& term : sum.terms) {
    int64_t multiple;
    if (__builtin_mul_overflow(term.coefficient, term.monomial->multiple, &multiple)) multiple = term.coefficient;
    common = std::gcd(common, multiple);
  }
  return common > 1 && sum.constant % common != 0;
}

// --- products ----------------------------------------------------------------------------------------------------

Expr product_of(const std::vector<Expr>& factors) {
  Expr product = factors.front();
  for (size_t i = 1; i < factors.size(); i++) product = nodes::apply(ScalarOp::Mul, {product, factors[i]});
  return product;
}

size_t parts_of(const Sum& sum) { return sum.terms.size() + (sum.constant != 0); }

// monomial · monomial, sharing the left one; null when it has too many factors.
Expr joined(const Expr& a, const Expr& b) {
  std::vector<Expr> left, right;
  collect_factors(a, left);
  collect_factors(b, right);
  if (left.size() + right.size() > kMaxFactors) return nullptr;
  Expr product = a;
  for (const Expr& factor : right) product = nodes::apply(ScalarOp::Mul, {product, factor});
  return product;
}

// (Σ a)·(Σ b) == ΣΣ a·b, when that is short; null otherwise.
Expr distributed(const Sum& a, const Sum& b) {
  if (parts_of(a) * parts_of(b) > kMaxDistributed) return nullptr;
  Sum product;
  product.constant = wrapping_mul(a.constant, b.constant);
  for (const Term& left : a.terms) {
    for (const Term& right : b.terms) {
      Expr monomial = joined(left.monomial, right.monomial);
      if (!monomial) return nullptr;
      add_term(product, {monomial, wrapping_mul(left.coefficient, right.coefficient)});
    }
    if (b.constant != 0) add_term(product, {left.monomial, wrapping_mul(left.coefficient, b.constant)});
  }
  for (const Term& right : b.terms) {
    if (a.constant != 0) add_term(product, {right.monomial, wrapping_mul(right.coefficient, a.constant)});
  }
  return build(product);
}

// --- quotients ---------------------------------------------------------------------------------------------------

// A divisor coefficient·Π factors; a constant one has no factors.
struct Divisor {
  int64_t coefficient;
  std::vector<Expr> factors;
};

std::optional<Divisor> divisor_of(const Expr& e) {
  Sum sum = sum_of(e);
  if (sum.terms.empty()) return Divisor{sum.constant, {}};
  if (sum.terms.size() > 1 || sum.constant != 0) return std::nullopt;
  Divisor divisor{sum.terms[0].coefficient, {}};
  collect_factors(sum.terms[0].monomial, divisor.factors);
  if (divisor.coefficient <= 0) return std::nullopt;
  return divisor;
}

// term / divisor when the division leaves nothing for every value: a term, or a constant (null monomial).
std::optional<Term> exact_quotient(const Term& term, const Divisor& divisor) {
  if (divisor.factors.empty()) {
    int64_t c = divisor.coefficient;
    if (term.coefficient % c == 0) return Term{term.monomial, term.coefficient / c};
    int64_t common = std::gcd(term.coefficient, c), rest = c / common;
    if (term.monomial->multiple % rest != 0) return std::nullopt;
    return Term{nodes::apply(ScalarOp::Div, {term.monomial, integer(rest)}), term.coefficient / common};
  }
  if (term.coefficient % divisor.coefficient != 0) return std::nullopt;
  std::vector<Expr> factors;
  collect_factors(term.monomial, factors);
  for (const Expr& factor : divisor.factors) {
    auto found = std::find_if(factors.begin(), factors.end(), [&](const Expr& other) { return same(factor, other); });
    if (found == factors.end()) return std::nullopt;
    factors.erase(found);
  }
  return Term{factors.empty() ? nullptr : product_of(factors), term.coefficient / divisor.coefficient};
}

struct Division {
  Sum quotient, rest;  // sum == divisor·quotient + rest, as far as that is plain to see
};

Division divide(const Sum& sum, const Divisor& divisor) {
  Division result;
  for (const Term& term : sum.terms) {
    std::optional<Term> quotient = exact_quotient(term, divisor);
    if (!quotient) {
      add_term(result.rest, term);
    } else if (!quotient->monomial) {
      result.quotient.constant += quotient->coefficient;
    } else {
      add_sum(result.quotient, sum_of(quotient->monomial), quotient->coefficient);
    }
  }
  result.rest.constant = sum.constant;
  if (divisor.factors.empty()) {
    result.quotient.constant += floor_quotient(sum.constant, divisor.coefficient);
    result.rest.constant = floor_remainder(sum.constant, divisor.coefficient);
  }
  return result;
}

// Splits `rest` into g·scaled + small with 0 <= small < g for some common divisor g of c: the largest there is.
struct Scaled {
  int64_t g;
  Sum scaled, small;
};

std::optional<Scaled> split_by_scale(const Sum& rest, int64_t c) {
  std::vector<int64_t> candidates;
  for (const Term& term : rest.terms) {
    int64_t g = std::gcd(term.coefficient, c);
    if (g > 1 && g < c) candidates.push_back(g);
  }
  std::sort(candidates.rbegin(), candidates.rend());
  candidates.erase(std::unique(candidates.begin(), candidates.end()), candidates.end());
  for (int64_t g : candidates) {
    Scaled split{g, {}, {}};
    for (const Term& term : rest.terms) {
      if (term.coefficient % g == 0) {
        add_term(split.scaled, {term.monomial, term.coefficient / g});
      } else {
        add_term(split.small, term);
      }
    }
    split.scaled.constant = floor_quotient(rest.constant, g);
    split.small.constant = floor_remainder(rest.constant, g);
    Bounds small = bounds_of(split.small);
    if (small.lo >= 0 && small.hi < g) return split;
  }
  return std::nullopt;
}

// a floordiv b by a truncating division, b > 0.
Expr rounded_down(const Expr& a, const Expr& b) {
  if (nodes::is_index(a) && a->lo >= 0) return nodes::apply(ScalarOp::Div, {a, b});
  if (is_constant(b) && nodes::is_index(a) && a->lo > nodes::kIndexMin / 2) {
    // a floordiv c == (a + k*c) floordiv c - k: with a large enough k, of something never negative
    int64_t c = b->constant.integer, shift = -floor_quotient(a->lo, c);
    return index_sub(nodes::apply(ScalarOp::Div, {index_add(a, integer(shift * c)), b}), integer(shift));
  }
  Expr truncated = nodes::apply(ScalarOp::Div, {a, b});
  Expr above = nodes::apply(ScalarOp::Less, {a, index_mul(truncated, b)});
  return nodes::apply(ScalarOp::Sub, {truncated, nodes::apply(ScalarOp::Select, {above, integer(1), integer(0)})});
}

Expr rest_floordiv(const Sum& rest, const Expr& b) {
  Bounds range = bounds_of(rest);
  if (b->lo > 0 && range.lo >= 0 && range.hi < b->lo) return integer(0);
  if (is_constant(b)) {
    int64_t c = b->constant.integer;
    if (range.lo > INT64_MIN && floor_quotient(range.lo, c) == floor_quotient(range.hi, c))
      return integer(floor_quotient(range.lo, c));
    if (auto split = split_by_scale(rest, c)) return index_floordiv(build(split->scaled), integer(c / split->g));
    Expr a = build(rest);
    bool nested = is_apply(a, ScalarOp::Div) && is_constant(a->args[1]) && a->args[0]->lo >= 0 &&
                  a->args[1]->constant.integer > 0;
    int64_t product;
    if (nested && !__builtin_mul_overflow(c, a->args[1]->constant.integer, &product))
      return index_floordiv(a->args[0], integer(product));
  }
  return rounded_down(build(rest), b);
}

Expr rest_mod(const Sum& rest, const Expr& b) {
  Bounds range = bounds_of(rest);
  if (b->lo > 0 && range.lo >= 0 && range.hi < b->lo) return build(rest);
  if (is_constant(b)) {
    int64_t c = b->constant.integer;
    if (range.lo > INT64_MIN && floor_quotient(range.lo, c) == floor_quotient(range.hi, c)) {
      return index_sub(build(rest), integer(floor_quotient(range.lo, c) * c));
    }
    if (auto split = split_by_scale(rest, c)) {
      Expr scaled = index_mul(index_mod(build(split->scaled), integer(c / split->g)), integer(split->g));
      return index_add(scaled, build(split->small));
    }
    Expr a = build(rest);
    bool nested = is_apply(a, ScalarOp::FloorMod) && is_constant(a->args[1]) && a->args[1]->constant.integer % c == 0;
    if (nested) return index_mod(a->args[0], b);
  }
  return nodes::apply(ScalarOp::FloorMod, {build(rest), b});
}

}  // namespace

Expr index_add(const Expr& a, const Expr& b) { return combine(a, b, 1); }
Expr index_sub(const Expr& a, const Expr& b) { return combine(a, b, -1); }

Expr index_mul(const Expr& a, const Expr& b) {
  if (is_constant(a, 0) || is_constant(b, 1)) return a;
  if (is_constant(b, 0) || is_constant(a, 1)) return b;
  Sum left = sum_of(a), right = sum_of(b);
  if (!left.terms.empty() && !right.terms.empty()) {
    Expr product = distributed(left, right);
    return product ? product : nodes::apply(ScalarOp::Mul, {a, b});
  }
  const Sum& variable = right.terms.empty() ? left : right;
  Sum scaled;
  add_sum(scaled, variable, right.terms.empty() ? right.constant : left.constant);
  while (undo_exact_quotient(scaled)) {}
  return build(scaled);
}

Expr index_floordiv(const Expr& a, const Expr& b) {
  LPD_CHECK(!is_constant(b) || b->constant.integer > 0, "floordiv by {}", b->constant.integer);
  if (is_constant(b, 1)) return a;
  Sum sum = sum_of(a);
  std::optional<Divisor> divisor = divisor_of(b);
  if (!divisor || !all_index(sum)) return rounded_down(a, b);
  Division division = divide(sum, *divisor);
  return index_add(build(division.quotient), rest_floordiv(division.rest, b));
}

Expr index_mod(const Expr& a, const Expr& b) {
  LPD_CHECK(!is_constant(b) || b->constant.integer > 0, "mod {}", b->constant.integer);
  if (is_constant(b, 1)) return integer(0);
  Sum sum = sum_of(a);
  std::optional<Divisor> divisor = divisor_of(b);
  if (!divisor || !all_index(sum)) return nodes::apply(ScalarOp::FloorMod, {a, b});
  return rest_mod(divide(sum, *divisor).rest, b);
}

// Comparisons go by the interval of the difference. Of data that may wrap, only a difference of 0 says anything.

Expr index_min(const Expr& a, const Expr& b) {
  Bounds difference = difference_bounds(a, b);
  if (difference.lo == 0 && difference.hi == 0) return a;
  if (both_index(a, b) && difference.hi <= 0) return a;
  if (both_index(a, b) && difference.lo >= 0) return b;
  return nodes::apply(ScalarOp::Min, {a, b});
}

Expr index_max(const Expr& a, const Expr& b) {
  Expr smaller = index_min(a, b);
  if (smaller == a) return b;
  if (smaller == b) return a;
  return nodes::apply(ScalarOp::Max, {a, b});
}

Expr index_less(const Expr& a, const Expr& b) {
  Bounds difference = difference_bounds(a, b);
  if (difference.lo == 0 && difference.hi == 0) return constant(Scalar::of_bool(false));
  if (both_index(a, b) && difference.hi < 0) return constant(Scalar::of_bool(true));
  if (both_index(a, b) && difference.lo >= 0) return constant(Scalar::of_bool(false));
  return nodes::apply(ScalarOp::Less, {a, b});
}

Expr index_less_equal(const Expr& a, const Expr& b) {
  Bounds difference = difference_bounds(a, b);
  if (difference.lo == 0 && difference.hi == 0) return constant(Scalar::of_bool(true));
  if (both_index(a, b) && difference.hi <= 0) return constant(Scalar::of_bool(true));
  if (both_index(a, b) && difference.lo > 0) return constant(Scalar::of_bool(false));
  return nodes::apply(ScalarOp::LessEqual, {a, b});
}

Expr index_equal(const Expr& a, const Expr& b) {
  Sum difference = sum_of(a);
  add_sum(difference, sum_of(b), -1);
  Bounds range = bounds_of(difference);
  if (range.lo == 0 && range.hi == 0) return constant(Scalar::of_bool(true));
  bool apart = range.hi < 0 || range.lo > 0;  // holds for data too: a constant difference never wraps to 0
  if (apart || never_zero(difference)) return constant(Scalar::of_bool(false));
  return nodes::apply(ScalarOp::Equal, {a, b});
}

}  // namespace lapidary::loops
