#include "passes/lower/lanes.h"

namespace lapidary::lowering {

using namespace loops;

namespace {

// Do base, base + 1, …, base + lanes - 1 lie within one multiple of the divisor?
bool lanes_stay_within(const Expr& base, const Expr& step, const Expr& divisor, int lanes) {
  const auto size = loops::value_of(divisor);
  if (!size || loops::value_of(step) != 1) return false;
  if (*size % lanes == 0 && known_multiple(base) % lanes == 0) return true;
  const Bounds within = bounds(mod(base, divisor));
  return within.lo >= 0 && within.hi + lanes <= *size;
}

}  // namespace

QuotientRemainder divide_lanes(KernelBuilder& builder, const Coord& coord, Dim divisor, int lanes) {
  Expr by = builder.divisor(divisor);
  if (coord.lanewise) {
    Expr all = splat(by, lanes);
    return {lanewise(apply(ScalarOp::Div, {coord.lanewise, all})),
            lanewise(apply(ScalarOp::TruncMod, {coord.lanewise, all}))};
  }
  if (coord.digits.empty()) return {};
  const Digit& digit = coord.digits[0];
  if (!digit.step) return {at(floordiv(digit.base, by)), at(mod(digit.base, by))};
  if (lanes_stay_within(digit.base, digit.step, by, lanes))
    return {at(floordiv(digit.base, by)), along(mod(digit.base, by))};
  return divide_lanes(builder, lanewise(lane_values(coord, lanes)), divisor, lanes);
}

Expr lane_values(const Coord& coord, int lanes) {
  if (coord.lanewise) return coord.lanewise;
  if (coord.digits.empty()) return integer(0);
  const Digit& digit = coord.digits[0];
  return digit.step ? ramp(digit.base, digit.step, lanes) : digit.base;
}

Expr in_range(const Coord& coord, Expr low, Expr high, int lanes) {
  Expr value = lane_values(coord, lanes);
  const int width = value->type.lanes;
  Expr result;
  if (low) result = apply(ScalarOp::LessEqual, {splat_to(low, width), value});
  if (high) result = both(result, less(value, splat_to(high, width)));
  return result;
}

}  // namespace lapidary::lowering
