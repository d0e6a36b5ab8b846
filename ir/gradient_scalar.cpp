// Gradients of scalar operations and conversions. g is the gradient of the result y of operands a, b, c.
#include <cmath>

#include "ir/differentiate.h"
#include "ir/error.h"

namespace lapidary {

namespace {

struct Of {
  GraphBuilder& b;
  Value *g, *y;

  Value* op(ScalarOp kind, std::vector<Value*> operands) { return b.scalar_op(kind, std::move(operands)); }
  Value* number(double value) { return b.like(g, value); }
  Value* square(Value* x) { return b.mul(x, x); }
  Value* one_plus(Value* x) { return b.add(x, number(1)); }
  Value* one_minus(Value* x) { return b.sub(number(1), x); }
  Value* over_root(Value* x) { return b.div(g, op(ScalarOp::Sqrt, {x})); }
};

Value* of_unary(ScalarOp kind, Of of, Value* a) {
  GraphBuilder& b = of.b;
  Value *g = of.g, *y = of.y;
  switch (kind) {
    case ScalarOp::Neg:
      return b.neg(g);
    case ScalarOp::Abs:
      return b.mul(g, of.op(ScalarOp::Sign, {a}));
    case ScalarOp::Sqrt:
      return b.div(b.mul(g, of.number(0.5)), y);
    case ScalarOp::Exp:
      return b.mul(g, y);
    case ScalarOp::Log:
      return b.div(g, a);
    case ScalarOp::Sin:
      return b.mul(g, of.op(ScalarOp::Cos, {a}));
    case ScalarOp::Cos:
      return b.neg(b.mul(g, of.op(ScalarOp::Sin, {a})));
    case ScalarOp::Tan:
      return b.mul(g, of.one_plus(of.square(y)));
    case ScalarOp::Asin:
      return of.over_root(of.one_minus(of.square(a)));
    case ScalarOp::Acos:
      return b.neg(of.over_root(of.one_minus(of.square(a))));
    case ScalarOp::Atan:
      return b.div(g, of.one_plus(of.square(a)));
    case ScalarOp::Sinh:
      return b.mul(g, of.op(ScalarOp::Cosh, {a}));
    case ScalarOp::Cosh:
      return b.mul(g, of.op(ScalarOp::Sinh, {a}));
    case ScalarOp::Tanh:
      return b.mul(g, of.one_minus(of.square(y)));
    case ScalarOp::Asinh:
      return of.over_root(of.one_plus(of.square(a)));
    case ScalarOp::Acosh:
      return of.over_root(b.sub(of.square(a), of.number(1)));
    case ScalarOp::Atanh:
      return b.div(g, of.one_minus(of.square(a)));
    case ScalarOp::Erf:
      return b.mul(g, b.mul(of.op(ScalarOp::Exp, {b.neg(of.square(a))}), of.number(2 / std::sqrt(M_PI))));
    case ScalarOp::Sigmoid:
      return b.mul(g, b.mul(y, of.one_minus(y)));
    default:
      LPD_UNREACHABLE("{} has no rule", name_of(kind));
  }
}

// Does the first of the two get the gradient of min or max? At a tie both get half of it, as PyTorch has it; of a
// constant 0 (relu) the other nothing, of another constant (clip) all.
Value* share_of(Of of, ScalarOp kind, Gradients& gradients, Value* mine, Value* other, const Value* original) {
  GraphBuilder& b = of.b;
  const bool is_max = kind == ScalarOp::Max;
  Value* loses = is_max ? of.op(ScalarOp::Less, {mine, other}) : of.op(ScalarOp::Less, {other, mine});
  Value* none = b.splat(of.g->type.dtype, of.g->type.shape, 0);
  Value* ties = of.op(ScalarOp::Equal, {mine, other});
  if (gradients.wants(original)) {
    Value* shared = b.select(ties, b.mul(of.g, of.number(0.5)), of.g);
    return b.select(loses, none, shared);
  }
  Value* zero = of.op(ScalarOp::Equal, {other, of.number(0)});
  Value* lost = is_max ? of.op(ScalarOp::Or, {loses, of.op(ScalarOp::And, {ties, zero})}) : loses;
  return b.select(lost, none, of.g);
}

void add_power(Gradients& gradients, const Op& op, Of of) {
  GraphBuilder& b = of.b;
  Value *a = op.operand(0), *e = op.operand(1), *zero = of.number(0);
  if (gradients.wants(a)) {
    Value* slope = b.mul(e, of.op(ScalarOp::Pow, {a, b.sub(e, of.number(1))}));
    gradients.add(a, b.select(of.op(ScalarOp::Equal, {e, zero}), b.splat(of.g->type.dtype, of.g->type.shape, 0),
                              b.mul(of.g, slope)));
  }
  if (gradients.wants(e)) {
    Value* flat = of.op(ScalarOp::And, {of.op(ScalarOp::Equal, {a, zero}), of.op(ScalarOp::LessEqual, {zero, e})});
    gradients.add(e, b.select(flat, b.splat(of.g->type.dtype, of.g->type.shape, 0),
                              b.mul(of.g, b.mul(of.y, of.op(ScalarOp::Log, {a})))));
  }
}

void scalar(Gradients& gradients, const Op& op) {
  Of of{gradients.build, gradients.of(op.result()), op.result()};
  GraphBuilder& b = of.b;
  Value* g = of.g;
  if (op.operands.size() == 1) return gradients.add(op.operand(0), of_unary(scalar_op(op.kind), of, op.operand(0)));
  Value *a = op.operand(0), *c = op.operand(1);
  switch (scalar_op(op.kind)) {
    case ScalarOp::Add:
      gradients.add(a, g);
      gradients.add(c, g);
      break;
    case ScalarOp::Sub:
      gradients.add(a, g);
      if (gradients.wants(c)) gradients.add(c, b.neg(g));
      break;
    case ScalarOp::Mul:
      if (gradients.wants(a)) gradients.add(a, b.mul(g, c));
      if (gradients.wants(c)) gradients.add(c, b.mul(g, a));
      break;
    case ScalarOp::Div:
      if (gradients.wants(a)) gradients.add(a, b.div(g, c));
      if (gradients.wants(c)) gradients.add(c, b.neg(b.div(b.mul(g, of.y), c)));
      break;
    case ScalarOp::FloorMod:
    case ScalarOp::TruncMod: {
      gradients.add(a, g);
      const ScalarOp whole = op.is(OpKind::FloorMod) ? ScalarOp::Floor : ScalarOp::Trunc;
      if (gradients.wants(c)) gradients.add(c, b.neg(b.mul(g, of.op(whole, {b.div(a, c)}))));
      break;
    }
    case ScalarOp::Pow:
      add_power(gradients, op, of);
      break;
    case ScalarOp::Min:
    case ScalarOp::Max:
      if (gradients.wants(a)) gradients.add(a, share_of(of, scalar_op(op.kind), gradients, a, c, c));
      if (gradients.wants(c)) gradients.add(c, share_of(of, scalar_op(op.kind), gradients, c, a, a));
      break;
    case ScalarOp::Select: {
      Value *zero = b.splat(g->type.dtype, g->type.shape, 0), *otherwise = op.operand(2);
      if (gradients.wants(c)) gradients.add(c, b.select(a, g, zero));
      if (gradients.wants(otherwise)) gradients.add(otherwise, b.select(a, zero, g));
      break;
    }
    default:
      LPD_UNREACHABLE("{} has no rule", name_of(op.kind));
  }
}

// Without a default, so that the compiler names a new one.
bool has_rule(ScalarOp kind) {
  switch (kind) {
    case ScalarOp::Neg:
    case ScalarOp::Abs:
    case ScalarOp::Sqrt:
    case ScalarOp::Exp:
    case ScalarOp::Log:
    case ScalarOp::Sin:
    case ScalarOp::Cos:
    case ScalarOp::Tan:
    case ScalarOp::Asin:
    case ScalarOp::Acos:
    case ScalarOp::Atan:
    case ScalarOp::Sinh:
    case ScalarOp::Cosh:
    case ScalarOp::Tanh:
    case ScalarOp::Asinh:
    case ScalarOp::Acosh:
    case ScalarOp::Atanh:
    case ScalarOp::Erf:
    case ScalarOp::Sigmoid:
    case ScalarOp::Add:
    case ScalarOp::Sub:
    case ScalarOp::Mul:
    case ScalarOp::Div:
    case ScalarOp::FloorMod:
    case ScalarOp::TruncMod:
    case ScalarOp::Pow:
    case ScalarOp::Min:
    case ScalarOp::Max:
    case ScalarOp::Select:
      return true;
    case ScalarOp::Not:
    case ScalarOp::BitNot:
    case ScalarOp::Sign:
    case ScalarOp::Floor:
    case ScalarOp::Ceil:
    case ScalarOp::Round:
    case ScalarOp::Trunc:
    case ScalarOp::IsNan:
    case ScalarOp::IsInf:
    case ScalarOp::And:
    case ScalarOp::Or:
    case ScalarOp::Xor:
    case ScalarOp::ShiftLeft:
    case ScalarOp::ShiftRight:
    case ScalarOp::Equal:
    case ScalarOp::NotEqual:
    case ScalarOp::Less:
    case ScalarOp::LessEqual:
      return false;
  }
  LPD_UNREACHABLE("no such scalar operation");
}

void conversion(Gradients& gradients, const Op& op) {
  gradients.add(op.operand(0), gradients.build.convert(gradients.of(op.result()), op.operand(0)->type.dtype));
}

}  // namespace

GradientRule scalar_rule(const Op& op) {
  if (op.is(OpKind::Convert)) return conversion;
  return is_scalar_op(op.kind) && has_rule(scalar_op(op.kind)) ? scalar : nullptr;
}

}  // namespace lapidary
