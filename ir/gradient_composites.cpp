// Gradients of composites that are better taken whole: from their results instead of through every step of their
// bodies.
#include <cmath>
#include <numeric>

#include "ir/differentiate.h"
#include "ir/gradient_recurrent.h"

namespace lapidary {

namespace {

// dx = y · (g - Σ g·y)
void softmax(Gradients& gradients, const Op& op) {
  GraphBuilder& b = gradients.build;
  Value *y = op.result(), *g = gradients.of(y);
  Value* sum = b.reduce(OpKind::ReduceSum, b.mul(g, y), {op.params.integer("axis")}, true);
  gradients.add(op.operand(0), b.mul(y, b.sub(g, sum)));
}

// dx = g - e^y · Σ g
void log_softmax(Gradients& gradients, const Op& op) {
  GraphBuilder& b = gradients.build;
  Value *y = op.result(), *g = gradients.of(y);
  Value* sum = b.reduce(OpKind::ReduceSum, g, {op.params.integer("axis")}, true);
  gradients.add(op.operand(0), b.sub(g, b.mul(b.scalar_op(ScalarOp::Exp, {y}), sum)));
}

// With x̂ = (x - mean) / deviation and h = g · scale: dx = (h - mean(h) - x̂ · mean(h · x̂)) / deviation.
void layer_norm(Gradients& gradients, const Op& op) {
  GraphBuilder& b = gradients.build;
  Value *x = op.operand(0), *scale = op.operand(1), *g = gradients.of(op.result());
  Value *mean = op.result(1), *inverse = op.result(2);
  const int axis = static_cast<int>(op.params.integer("axis"));
  std::vector<int64_t> before(static_cast<size_t>(axis)), normalized(static_cast<size_t>(x->type.rank() - axis));
  std::iota(before.begin(), before.end(), 0);
  std::iota(normalized.begin(), normalized.end(), axis);
  Value* standard = b.mul(b.sub(x, mean), inverse);
  const auto of_all = [&](Value* value, const Value* operand) {
    return b.reshape(b.reduce(OpKind::ReduceSum, value, before), operand->type.shape);
  };
  if (gradients.wants(x)) {
    Value* h = b.mul(g, scale);
    Value* along = b.reduce(OpKind::ReduceMean, b.mul(h, standard), normalized, true);
    Value* centred = b.sub(h, b.reduce(OpKind::ReduceMean, h, normalized, true));
    gradients.add(x, b.mul(b.sub(centred, b.mul(standard, along)), inverse));
  }
  if (gradients.wants(scale)) gradients.add(scale, of_all(b.mul(g, standard), scale));
  if (op.operands.size() > 2 && gradients.wants(op.operand(2))) gradients.add(op.operand(2), of_all(g, op.operand(2)));
}

// dx = g · (σ(x) - t)
void bce_with_logits(Gradients& gradients, const Op& op) {
  GraphBuilder& b = gradients.build;
  Value *x = op.operand(0), *target = op.operand(1), *g = gradients.of(op.result());
  if (gradients.wants(x)) gradients.add(x, b.mul(g, b.sub(b.scalar_op(ScalarOp::Sigmoid, {x}), target)));
  if (gradients.wants(target)) gradients.add(target, b.neg(b.mul(g, x)));
}

// Φ(x) + x · φ(x)
void gelu(Gradients& gradients, const Op& op) {
  GraphBuilder& b = gradients.build;
  Value *x = op.operand(0), *g = gradients.of(op.result());
  Value* curve = b.scalar_op(ScalarOp::Erf, {b.mul(x, b.like(x, M_SQRT1_2))});
  Value* share = b.mul(b.add(curve, b.like(x, 1)), b.like(x, 0.5));
  Value* density = b.scalar_op(ScalarOp::Exp, {b.mul(b.mul(x, x), b.like(x, -0.5))});
  density = b.mul(density, b.like(x, 1 / std::sqrt(2 * M_PI)));
  gradients.add(x, b.mul(g, b.add(share, b.mul(x, density))));
}

bool uses_first_result_alone(const Op& op) {
  for (size_t i = 1; i < op.results.size(); ++i)
    if (!op.results[i]->uses.empty()) return false;
  return true;
}

}  // namespace

GradientRule composite_rule(const Op& op) {
  const std::string& name = op.params.text("name");
  if (name == "softmax") return softmax;
  if (name == "log_softmax") return log_softmax;
  if (name == "bce_with_logits") return bce_with_logits;
  if (name == "layer_norm" && uses_first_result_alone(op)) return layer_norm;
  if (name == "gelu" && op.params.integer("approximate") == 0) return gelu;
  if (name == "recurrent") return recurrent_rule(op);
  return nullptr;
}

}  // namespace lapidary
