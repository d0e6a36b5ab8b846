// Algebra on scalar ops and converts that holds for every value, NaN, infinities and −0 included; where it holds for
// integers only, the rule says so. x·sigmoid(x) stays as it is: lowerings know it.
#include <cmath>

#include "passes/graph/rewrites.h"
#include "passes/graph/walk.h"

namespace lapidary::passes {

namespace {

bool commutes(OpKind kind) {
  return kind == OpKind::Add || kind == OpKind::Mul || kind == OpKind::Min || kind == OpKind::Max ||
         kind == OpKind::And || kind == OpKind::Or || kind == OpKind::Xor || kind == OpKind::Equal ||
         kind == OpKind::NotEqual;
}

bool is_positive_zero(double number) { return number == 0 && !std::signbit(number); }
bool is_negative_zero(double number) { return number == 0 && std::signbit(number); }

// A number of x's type and shape.
Value* number_like(GraphBuilder& b, Value* x, double number) {
  return b.broadcast_to(b.like(x, number), x->type.shape);
}

// c + x == x + c, likewise for every commutative op: the number goes right.
Value* constant_right(GraphBuilder& b, Op& op) {
  if (!commutes(op.kind) || !splat_of(b.module, op.operand(0)) || splat_of(b.module, op.operand(1))) return nullptr;
  return b.scalar_op(scalar_op(op.kind), {op.operand(1), op.operand(0)});
}

// x * 1 == x, x / 1 == x
Value* times_one(GraphBuilder& b, Op& op) {
  if (!op.is(OpKind::Mul) && !op.is(OpKind::Div)) return nullptr;
  return number_of(b.module, op.operand(1)) == 1.0 ? op.operand(0) : nullptr;
}

// x + (-0) == x and x - (+0) == x; integers: x + 0 == x. (x + (+0) is not x for x = -0.)
Value* plus_zero(GraphBuilder& b, Op& op) {
  if (!op.is(OpKind::Add) && !op.is(OpKind::Sub)) return nullptr;
  auto number = number_of(b.module, op.operand(1));
  if (!number || *number != 0) return nullptr;
  bool exact =
      !is_float(op.type().dtype) || (op.is(OpKind::Add) ? is_negative_zero(*number) : is_positive_zero(*number));
  return exact ? op.operand(0) : nullptr;
}

// x - c == x + (-c)
Value* subtract_number(GraphBuilder& b, Op& op) {
  if (!op.is(OpKind::Sub) || !is_float(op.type().dtype)) return nullptr;
  auto number = number_of(b.module, op.operand(1));
  return number ? b.add(op.operand(0), number_like(b, op.operand(0), -*number)) : nullptr;
}

// x / 2^n == x * 2^-n
Value* divide_by_power_of_two(GraphBuilder& b, Op& op) {
  if (!op.is(OpKind::Div) || !is_float(op.type().dtype)) return nullptr;
  auto number = number_of(b.module, op.operand(1));
  int exponent = 0;
  if (!number || !std::isfinite(*number) || std::abs(std::frexp(*number, &exponent)) != 0.5) return nullptr;
  if (std::abs(exponent) > 14) return nullptr;  // the reciprocal stays normal in every float type
  return b.mul(op.operand(0), number_like(b, op.operand(0), 1 / *number));
}

// x ^ 1 == x, x ^ 2 == x * x, x ^ 3 == x * x * x
Value* small_power(GraphBuilder& b, Op& op) {
  if (!op.is(OpKind::Pow)) return nullptr;
  Value* x = op.operand(0);
  auto exponent = number_of(b.module, op.operand(1));
  if (exponent == 1.0) return x;
  if (exponent == 2.0) return b.mul(x, x);
  if (exponent == 3.0) return b.mul(b.mul(x, x), x);
  return nullptr;
}

// -(-x) == x, not not x == x, bit_not bit_not x == x
Value* double_negation(GraphBuilder&, Op& op) {
  if (!op.is(OpKind::Neg) && !op.is(OpKind::Not) && !op.is(OpKind::BitNot)) return nullptr;
  Op* inner = producer_of_kind(op.operand(0), op.kind);
  return inner ? inner->operand(0) : nullptr;
}

// max(max(x, a), b) == max(x, max(a, b)), likewise min: relu(relu(x)) == relu(x). NaN wins on both sides.
Value* nested_bounds(GraphBuilder& b, Op& op) {
  if (!op.is(OpKind::Max) && !op.is(OpKind::Min)) return nullptr;
  Op* inner = producer_of_kind(op.operand(0), op.kind);
  if (!inner || !is_float(op.type().dtype)) return nullptr;
  auto outer_bound = number_of(b.module, op.operand(1)), inner_bound = number_of(b.module, inner->operand(1));
  if (!outer_bound || !inner_bound || std::isnan(*outer_bound) || std::isnan(*inner_bound)) return nullptr;
  double bound = op.is(OpKind::Max) ? std::fmax(*outer_bound, *inner_bound) : std::fmin(*outer_bound, *inner_bound);
  return b.scalar_op(scalar_op(op.kind), {inner->operand(0), number_like(b, inner->operand(0), bound)});
}

// select(true, x, y) == x, select(c, x, x) == x
Value* decided_select(GraphBuilder& b, Op& op) {
  if (!op.is(OpKind::Select)) return nullptr;
  if (op.operand(1) == op.operand(2)) return op.operand(1);
  auto condition = number_of(b.module, op.operand(0));
  return condition ? op.operand(*condition != 0 ? 1 : 2) : nullptr;
}

// Types whose every value survives a conversion to the other.
bool converts_without_loss(DType from, DType to) {
  if (from == DType::Bool || from == to) return true;
  if (is_float(from) && is_float(to)) {
    bool half = from == DType::F16 || from == DType::BF16;
    return (half && (to == DType::F32 || to == DType::F64)) || (from == DType::F32 && to == DType::F64);
  }
  bool same_sign = is_integer(from) && is_integer(to) && is_signed_integer(from) == is_signed_integer(to);
  return same_sign && bit_width(from) <= bit_width(to);
}

// convert(x, type of x) == x; convert(convert(x, wider), t) == convert(x, t)
Value* nested_convert(GraphBuilder& b, Op& op) {
  if (!op.is(OpKind::Convert)) return nullptr;
  Value* x = op.operand(0);
  if (x->type.dtype == op.type().dtype) return x;
  Op* inner = producer_of_kind(x, OpKind::Convert);
  if (!inner || !converts_without_loss(inner->operand(0)->type.dtype, x->type.dtype)) return nullptr;
  return b.convert(inner->operand(0), op.type().dtype);
}

// f(broadcast(x)) == broadcast(f(x)) when every operand is a broadcast scalar
Value* compute_before_broadcast(GraphBuilder& b, Op& op) {
  if (!is_scalar_op(op.kind) && !op.is(OpKind::Convert)) return nullptr;
  if (op.type().rank() == 0) return nullptr;
  std::vector<Value*> scalars;
  for (Value* operand : op.operands) {
    Op* broadcast = producer_of_kind(operand, OpKind::Broadcast);
    if (!broadcast || broadcast->operand(0)->type.rank() != 0) return nullptr;
    scalars.push_back(broadcast->operand(0));
  }
  Value* scalar =
      op.is(OpKind::Convert) ? b.convert(scalars[0], op.type().dtype) : b.scalar_op(scalar_op(op.kind), scalars);
  return b.broadcast_to(scalar, op.type().shape);
}

// An operand of an elementwise op that is a stored constant of one repeated number becomes a broadcast scalar.
Value* splat_operand(GraphBuilder& b, Op& op) {
  if (!is_scalar_op(op.kind)) return nullptr;
  std::vector<Value*> operands = op.operands;
  bool changed = false;
  for (Value*& operand : operands) {
    auto id = constant_of(operand);
    Scalar scalar;
    if (!id || operand->type.rank() == 0 || !b.module.constants.is_splat(*id, &scalar)) continue;
    operand = b.broadcast_to(b.scalar(scalar), operand->type.shape);
    changed = true;
  }
  return changed ? b.scalar_op(scalar_op(op.kind), operands) : nullptr;
}

constexpr Rewrite kRewrites[] = {
    constant_right,  times_one,     plus_zero,      subtract_number, divide_by_power_of_two,   small_power,
    double_negation, nested_bounds, decided_select, nested_convert,  compute_before_broadcast, splat_operand};

}  // namespace

std::span<const Rewrite> arithmetic_rewrites() { return kRewrites; }

}  // namespace lapidary::passes
