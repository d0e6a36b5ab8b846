#include "passes/lower/coords.h"

#include "ir/error.h"

namespace lapidary::lowering {

using namespace loops;

namespace {

bool same_or_null(const Expr& a, const Expr& b) { return a == b || (a && b && same(a, b)); }

bool same_digit(const Digit& a, const Digit& b) {
  return same_or_null(a.base, b.base) && same_or_null(a.step, b.step) && a.extent == b.extent;
}

bool same_coord(const Coord& a, const Coord& b) {
  if (!same_or_null(a.lanewise, b.lanewise) || a.offset != b.offset || a.scale != b.scale) return false;
  if (a.digits.size() != b.digits.size()) return false;
  for (size_t i = 0; i < a.digits.size(); ++i)
    if (!same_digit(a.digits[i], b.digits[i])) return false;
  return true;
}

}  // namespace

bool Coord::uniform() const {
  if (lanewise) return false;
  for (const Digit& digit : digits)
    if (digit.step) return false;
  return true;
}

Coord at(Expr base) { return {{Digit{std::move(base)}}}; }

Coord along(Expr base, Expr step) { return {{Digit{std::move(base), step ? std::move(step) : integer(1)}}}; }

Coord lanewise(Expr vector) {
  Coord coord;
  coord.lanewise = std::move(vector);
  return coord;
}

Expr both(Expr a, Expr b) {
  if (!a) return b;
  if (!b) return a;
  const int lanes = std::max(a->type.lanes, b->type.lanes);
  return apply(ScalarOp::And, {splat_to(std::move(a), lanes), splat_to(std::move(b), lanes)});
}

Expr splat_to(Expr value, int lanes) {
  if (value->type.lanes == lanes) return value;
  LPD_CHECK(value->type.lanes == 1, "a vector of {} lanes where {} are wanted", value->type.lanes, lanes);
  return splat(std::move(value), lanes);
}

bool same_coords(const Coords& a, const Coords& b) {
  if (a.lanes != b.lanes || a.axes.size() != b.axes.size()) return false;
  if (!same_or_null(a.mask, b.mask) || !same_or_null(a.guard, b.guard)) return false;
  for (size_t i = 0; i < a.axes.size(); ++i)
    if (!same_coord(a.axes[i], b.axes[i])) return false;
  return true;
}

}  // namespace lapidary::lowering
