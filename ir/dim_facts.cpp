// What can be proven of a Dim, and its value under an assignment.
#include <numeric>
#include <unordered_map>

#include "ir/dim_polynomial.h"
#include "ir/error.h"

namespace lapidary {
namespace {

bool is_one_number(Interval i) { return i.lo == i.hi && i.lo > kDimMin && i.hi < kDimMax; }

std::optional<Polynomial> difference(Dim a, Dim b) {
  Polynomial result = Polynomial::of(a);
  result.add(Polynomial::of(b), -1);
  if (result.overflowed) return std::nullopt;
  return result;
}

std::optional<int64_t> checked_floordiv(int64_t a, int64_t b) {
  if (a == INT64_MIN && b == -1) return std::nullopt;
  return floor_divide(a, b);
}

class Evaluation {
 public:
  explicit Evaluation(const std::function<std::optional<int64_t>(Dim)>& lookup) : lookup_(lookup) {}

  std::optional<int64_t> value(Dim dim) {
    if (dim->kind == DimKind::Constant) return dim->constant;
    if (auto place = known_.find(dim); place != known_.end()) return place->second;
    std::optional<int64_t> result = compute(dim);
    known_.emplace(dim, result);
    return result;
  }

 private:
  std::optional<int64_t> compute(Dim dim) {
    switch (dim->kind) {
      case DimKind::Constant:
        return dim->constant;
      case DimKind::Symbol:
      case DimKind::Element:
        return lookup_(dim);
      case DimKind::Sum:
        return fold(dim, 0, [](int64_t a, int64_t b, int64_t* c) { return __builtin_add_overflow(a, b, c); });
      case DimKind::Product:
        return fold(dim, dim->constant,
                    [](int64_t a, int64_t b, int64_t* c) { return __builtin_mul_overflow(a, b, c); });
      case DimKind::Select: {
        std::optional<int64_t> condition = value(dim->operands[0]);
        if (!condition) return std::nullopt;
        return value(dim->operands[*condition != 0 ? 1 : 2]);
      }
      case DimKind::FloorDiv:
      case DimKind::Mod:
      case DimKind::Min:
      case DimKind::Max:
      case DimKind::Equal:
      case DimKind::Less:
        return compute_binary(dim);
    }
    LPD_UNREACHABLE();
  }

  std::optional<int64_t> compute_binary(Dim dim) {
    std::optional<int64_t> a = value(dim->operands[0]), b = value(dim->operands[1]);
    if (!a || !b) return std::nullopt;
    if (dim->kind == DimKind::FloorDiv) return checked_floordiv(*a, *b);
    if (dim->kind == DimKind::Mod) return floor_modulo(*a, *b);
    if (dim->kind == DimKind::Min) return std::min(*a, *b);
    if (dim->kind == DimKind::Max) return std::max(*a, *b);
    return dim->kind == DimKind::Equal ? *a == *b : *a < *b;
  }

  template <typename Step>
  std::optional<int64_t> fold(Dim dim, int64_t start, Step step) {
    for (Dim operand : dim->operands) {
      std::optional<int64_t> x = value(operand);
      if (!x || step(start, *x, &start)) return std::nullopt;
    }
    return start;
  }

  const std::function<std::optional<int64_t>(Dim)>& lookup_;
  std::unordered_map<Dim, std::optional<int64_t>> known_;
};

// The largest divisor of `of` that is known to divide dim.
int64_t known_divisor(Dim dim, int64_t of) {
  auto both = [&](Dim a, Dim b) { return std::gcd(known_divisor(a, of), known_divisor(b, of)); };
  switch (dim->kind) {
    case DimKind::Constant:
      return std::gcd(dim->constant, of);
    case DimKind::Sum: {
      int64_t result = of;
      for (Dim term : dim->operands) result = known_divisor(term, result);
      return result;
    }
    case DimKind::Product: {
      int64_t result = std::gcd(dim->constant, of);
      for (Dim factor : dim->operands) result *= known_divisor(factor, of / result);
      return result;
    }
    case DimKind::Mod:
    case DimKind::Min:
    case DimKind::Max:
      return both(dim->operands[0], dim->operands[1]);
    case DimKind::Select:
      return both(dim->operands[1], dim->operands[2]);
    case DimKind::Symbol:
    case DimKind::Element:
    case DimKind::FloorDiv:
    case DimKind::Equal:
    case DimKind::Less:
      return 1;
  }
  LPD_UNREACHABLE();
}

}  // namespace

std::optional<int64_t> value_of(Dim dim) {
  if (dim->kind == DimKind::Constant) return dim->constant;
  return std::nullopt;
}

bool known_equal(Dim a, Dim b) {
  return a == b || (is_one_number(a->interval) && is_one_number(b->interval) && a->interval == b->interval);
}

bool known_unequal(Dim a, Dim b) {
  if (a->interval.hi < b->interval.lo || b->interval.hi < a->interval.lo) return true;
  std::optional<Polynomial> apart = difference(a, b);
  return apart && excludes_zero(apart->range());
}

bool known_less_equal(Dim a, Dim b) {
  if (a == b || (a->interval.hi < kDimMax && b->interval.lo > kDimMin && a->interval.hi <= b->interval.lo)) return true;
  // min(x, y) <= b when x <= b; a <= max(x, y) when a <= x
  if (a->kind == DimKind::Min && (a->operands[0] == b || a->operands[1] == b)) return true;
  if (b->kind == DimKind::Max && (b->operands[0] == a || b->operands[1] == a)) return true;
  std::optional<Polynomial> room = difference(b, a);
  return room && room->range().lo >= 0;
}

bool known_multiple(Dim dim, int64_t divisor) {
  if (divisor == 0) return value_of(dim) == 0;
  if (divisor == INT64_MIN) return value_of(dim) == 0 || value_of(dim) == INT64_MIN;
  divisor = std::abs(divisor);
  return known_divisor(dim, divisor) == divisor;
}

Interval range(Dim dim) { return dim->interval; }

std::optional<int64_t> evaluate(Dim dim, const std::function<std::optional<int64_t>(Dim leaf)>& lookup) {
  return Evaluation(lookup).value(dim);
}

}  // namespace lapidary
