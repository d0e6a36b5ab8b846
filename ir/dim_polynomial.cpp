#include "ir/dim_polynomial.h"

#include <algorithm>

namespace lapidary {
namespace {

bool by_id(Dim a, Dim b) { return a->id < b->id; }

Interval range_of_term(const Monomial& monomial, int64_t coefficient) {
  Interval result{std::clamp(coefficient, kDimMin, kDimMax), std::clamp(coefficient, kDimMin, kDimMax)};
  for (Dim atom : monomial) result = multiply(result, atom->interval);
  return result;
}

}  // namespace

bool MonomialOrder::operator()(const Monomial& a, const Monomial& b) const {
  if (a.size() != b.size()) return a.size() > b.size();
  return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end(), by_id);
}

Polynomial Polynomial::of(Dim dim) {
  Polynomial result;
  switch (dim->kind) {
    case DimKind::Constant:
      result.add_term({}, dim->constant);
      break;
    case DimKind::Sum:
      for (Dim term : dim->operands) result.add(of(term));
      break;
    case DimKind::Product:
      result.add_term(dim->operands, dim->constant);
      break;
    case DimKind::Symbol:
    case DimKind::Element:
    case DimKind::FloorDiv:
    case DimKind::Mod:
    case DimKind::Min:
    case DimKind::Max:
    case DimKind::Equal:
    case DimKind::Less:
    case DimKind::Select:
      result.add_term({dim}, 1);
      break;
  }
  return result;
}

void Polynomial::add_term(const Monomial& monomial, int64_t coefficient) {
  if (coefficient == 0) return;
  auto [place, is_new] = terms.try_emplace(monomial, coefficient);
  if (is_new) return;
  overflowed |= __builtin_add_overflow(place->second, coefficient, &place->second);
  if (place->second == 0) terms.erase(place);
}

void Polynomial::add(const Polynomial& other, int64_t scale) {
  overflowed |= other.overflowed;
  for (const auto& [monomial, coefficient] : other.terms) {
    int64_t scaled;
    overflowed |= __builtin_mul_overflow(coefficient, scale, &scaled);
    add_term(monomial, scaled);
  }
}

int64_t Polynomial::constant() const {
  return terms.empty() || !terms.rbegin()->first.empty() ? 0 : terms.rbegin()->second;
}

Interval Polynomial::range() const {
  Interval result{0, 0};
  for (const auto& [monomial, coefficient] : terms)
    result = lapidary::add(result, range_of_term(monomial, coefficient));
  return result;
}

Monomial times(const Monomial& a, const Monomial& b) {
  Monomial result(a.size() + b.size());
  std::merge(a.begin(), a.end(), b.begin(), b.end(), result.begin(), by_id);
  return result;
}

Polynomial times(const Polynomial& a, const Polynomial& b) {
  Polynomial result;
  for (const auto& [monomial, coefficient] : a.terms) {
    Polynomial row;
    row.overflowed = a.overflowed || b.overflowed;
    for (const auto& [other, factor] : b.terms) {
      int64_t scaled;
      row.overflowed |= __builtin_mul_overflow(coefficient, factor, &scaled);
      row.add_term(times(monomial, other), scaled);
    }
    result.add(row);
  }
  return result;
}

std::optional<Monomial> divide(const Monomial& a, const Monomial& b) {
  if (!std::includes(a.begin(), a.end(), b.begin(), b.end(), by_id)) return std::nullopt;
  Monomial result;
  std::set_difference(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(result), by_id);
  return result;
}

// Long division by leading terms. Each round removes the leading term of the rest, and the later ones are smaller.
std::optional<Polynomial> divide_exactly(const Polynomial& a, const Polynomial& b) {
  constexpr int kMostRounds = 64;
  if (a.overflowed || b.overflowed || b.terms.empty()) return std::nullopt;
  const auto& [leading, divisor] = *b.terms.begin();
  Polynomial rest = a, quotient;
  for (int round = 0; !rest.terms.empty(); round++) {
    const auto& [monomial, coefficient] = *rest.terms.begin();
    std::optional<Monomial> factor = divide(monomial, leading);
    if (round == kMostRounds || !factor || (divisor == -1 && coefficient == INT64_MIN)) return std::nullopt;
    if (coefficient % divisor != 0) return std::nullopt;
    Polynomial term;
    term.add_term(*factor, coefficient / divisor);
    quotient.add(term);
    rest.add(times(term, b), -1);
    if (rest.overflowed) return std::nullopt;
  }
  return quotient;
}

}  // namespace lapidary
