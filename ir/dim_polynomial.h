// The normal form of a Dim taken apart: a sum of monomials (sorted products of atoms) with constant coefficients.
// Private to dim*.cpp; nodes exist only in a DimPool, polynomials come and go.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "ir/dim.h"

namespace lapidary {

using Monomial = std::vector<Dim>;  // atoms sorted by id, repeated for powers; empty is 1

// Higher degree first, then by ids. Multiplication by a monomial keeps this order, so polynomials can be divided.
struct MonomialOrder {
  bool operator()(const Monomial& a, const Monomial& b) const;
};

struct Polynomial {
  std::map<Monomial, int64_t, MonomialOrder> terms;  // no zero coefficients
  bool overflowed = false;                           // some coefficient did not fit: the terms mean nothing

  static Polynomial of(Dim);
  void add_term(const Monomial&, int64_t coefficient);
  void add(const Polynomial&, int64_t scale = 1);
  int64_t constant() const;  // the coefficient of 1
  bool is_constant() const { return terms.empty() || (terms.size() == 1 && terms.begin()->first.empty()); }
  Interval range() const;
};

Polynomial times(const Polynomial&, const Polynomial&);
Monomial times(const Monomial&, const Monomial&);
// b's atoms taken out of a; nothing when a lacks one of them.
std::optional<Monomial> divide(const Monomial& a, const Monomial& b);
// q with q·b == a for all values of the atoms; nothing when there is none.
std::optional<Polynomial> divide_exactly(const Polynomial& a, const Polynomial& b);

// Interval arithmetic in which kDimMax and kDimMin stand for "no bound known".
bool excludes_zero(Interval);
Interval hull(Interval, Interval);
Interval add(Interval, Interval);
Interval multiply(Interval, Interval);
Interval floor_divide(Interval, Interval);
Interval modulo(Interval, Interval);
// a floordiv c when that is one number on all of the interval; c > 0.
std::optional<int64_t> constant_quotient(Interval a, int64_t c);

// Provably a <= b.
bool known_less_equal(Dim a, Dim b);

int64_t floor_divide(int64_t a, int64_t b);  // 0 when b is 0; must not overflow
int64_t floor_modulo(int64_t a, int64_t b);

}  // namespace lapidary
