#include "frontend/ops/float8.h"

#include <cmath>

namespace lapidary::frontend {
namespace {

// Where a magnitude rounds to more than the greatest finite number: beyond halfway to what would follow it. Of f8e4m3fn
// halfway itself rounds down, to the even one.
Value* outside_of_numbers(GraphBuilder& b, Value* magnitude, DType to) {
  if (to == DType::F8E4M3FN) return b.scalar_op(ScalarOp::Less, {b.like(magnitude, 464), magnitude});
  const double halfway = to == DType::F8E4M3FNUZ ? 248 : 61440;
  return b.scalar_op(ScalarOp::LessEqual, {b.like(magnitude, halfway), magnitude});
}

// In a type that holds the bounds compared with and all that is near them.
Value* wide(GraphBuilder& b, Value* x) {
  const DType from = x->type.dtype;
  if (from == DType::F32 || from == DType::F64) return x;
  return b.convert(x, is_integer(from) && bit_width(from) > 16 ? DType::F64 : DType::F32);
}

// f8e5m2 has an infinity, which Convert keeps.
Value* within_numbers(GraphBuilder& b, Value* x) {
  constexpr double kLargest = 57344;
  x = wide(b, x);
  x = b.scalar_op(ScalarOp::Max, {x, b.like(x, -kLargest)});
  return b.scalar_op(ScalarOp::Min, {x, b.like(x, kLargest)});
}

// Convert gives the power of two at or above |x|; the one below it is its half.
Value* power_of_two(Node& node, Value* x, Value* magnitude, const std::string& rounding) {
  GraphBuilder& b = node.build;
  if (rounding == "up") return x;
  if (rounding != "down" && rounding != "nearest")
    fail("round_mode '{}' is none of up, down and nearest", printable(rounding));
  Value* above = b.convert(b.convert(x, DType::F8E8M0), x->type.dtype);
  Value* enough = rounding == "down" ? above : b.mul(above, b.like(above, 0.75));  // halfway goes up
  return b.select(b.scalar_op(ScalarOp::Less, {magnitude, enough}), b.mul(above, b.like(above, 0.5)), above);
}

// Beyond 2^127 when rounded, or below 2^-127, 0 among them.
Value* outside_of_powers(GraphBuilder& b, Value* magnitude, const std::string& rounding) {
  const double least = std::ldexp(1.0, -127), greatest = std::ldexp(1.0, 127);
  Value* under = b.scalar_op(ScalarOp::Less, {magnitude, b.like(magnitude, least)});
  Value* over = rounding == "up"
                    ? b.scalar_op(ScalarOp::Less, {b.like(magnitude, greatest), magnitude})
                    : b.scalar_op(ScalarOp::LessEqual,
                                  {b.like(magnitude, rounding == "down" ? 2 * greatest : 1.5 * greatest), magnitude});
  return b.scalar_op(ScalarOp::Or, {under, over});
}

}  // namespace

Value* to_float8(Node& node, Value* x, DType to, bool saturates, const std::string& rounding) {
  GraphBuilder& b = node.build;
  const bool powers = to == DType::F8E8M0;
  if (saturates && to == DType::F8E5M2 && is_float(x->type.dtype)) return b.convert(within_numbers(b, x), to);
  if (saturates && (!powers || rounding == "up")) return b.convert(x, to);
  x = wide(b, x);
  Value* magnitude = b.scalar_op(ScalarOp::Abs, {x});
  Value* rounded = powers ? power_of_two(node, x, magnitude, rounding) : x;
  if (saturates) return b.convert(rounded, to);
  Value* outside = powers ? outside_of_powers(b, magnitude, rounding) : outside_of_numbers(b, magnitude, to);
  Value* instead = b.like(x, NAN);
  if (to == DType::F8E5M2)
    instead = b.select(b.scalar_op(ScalarOp::Less, {x, zero(node, x)}), b.like(x, -INFINITY), b.like(x, INFINITY));
  return b.convert(b.select(outside, instead, rounded), to);
}

}  // namespace lapidary::frontend
