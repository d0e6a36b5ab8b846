// Normalisations along trailing axes, as exporters write them:
//   layer_norm:  d = x - mean(x);  d / sqrt(mean(d²) + ε) [· scale] [+ bias]
//   rms_norm:    x / sqrt(mean(x²) + ε) [· scale]
//   softmax:     e = exp(x - max(x));  e / Σ e
// with the division written as a product with 1/sqrt(…) or (…)^-½ too, and the square as d·d (canonicalise turned
// pow(d, 2) into that).
#include <algorithm>

#include "ir/composites.h"
#include "passes/graph/match.h"
#include "passes/graph/recognise.h"
#include "passes/graph/walk.h"

namespace lapidary::passes {

namespace {

// value == sqrt(y): returns y.
Value* root_argument(Value* value) {
  Op* sqrt = producer_of_kind(without_broadcast(value), OpKind::Sqrt);
  return sqrt ? sqrt->operand(0) : nullptr;
}

// value == 1 / sqrt(y) or y ^ -0.5: returns y.
Value* inverse_root_argument(const Module& module, Value* value) {
  value = without_broadcast(value);
  if (Op* div = producer_of_kind(value, OpKind::Div))
    return number_of(module, div->operand(0)) == 1.0 ? root_argument(div->operand(1)) : nullptr;
  Op* pow = producer_of_kind(value, OpKind::Pow);
  return pow && number_of(module, pow->operand(1)) == -0.5 ? pow->operand(0) : nullptr;
}

// x divided by the root of its mean square: x / sqrt(mean(x²) + ε).
struct Normalised {
  Value* x = nullptr;
  int axis = 0;
  double epsilon = 0;
};

bool is_mean_square(const Module& module, Value* denominator_square, Value* x, Normalised* found) {
  double epsilon = 0;
  Value* mean = plus_number(module, without_broadcast(denominator_square), &epsilon);
  int axis = 0;
  Value* square = mean ? mean_of(mean, &axis) : nullptr;
  Op* mul = square ? producer_of_kind(square, OpKind::Mul) : nullptr;
  if (!mul || mul->operand(0) != x || mul->operand(1) != x) return false;
  *found = {x, axis, epsilon};
  return true;
}

std::optional<Normalised> normalised(const Module& module, Value* value) {
  Normalised found;
  if (Op* div = producer_of_kind(value, OpKind::Div)) {
    Value* square = root_argument(div->operand(1));
    if (square && is_mean_square(module, square, div->operand(0), &found)) return found;
  }
  if (Op* mul = producer_of_kind(value, OpKind::Mul))
    for (int i = 0; i < 2; ++i) {
      Value* square = inverse_root_argument(module, mul->operand(i));
      if (square && is_mean_square(module, square, mul->operand(1 - i), &found)) return found;
    }
  return std::nullopt;
}

// value == y · scale or y + bias, with the vector aligned to the axes from `axis` on.
struct Aligned {
  Value* value;
  Value* vector;
};

std::vector<Aligned> sides(const Op& op) { return {{op.operand(0), op.operand(1)}, {op.operand(1), op.operand(0)}}; }

// d = x - mean(x) over the axes from `axis` on: returns x.
Value* centred(Value* d, int axis) {
  Op* sub = producer_of_kind(d, OpKind::Sub);
  int mean_axis = 0;
  if (!sub || mean_of(sub->operand(1), &mean_axis) != sub->operand(0) || mean_axis != axis) return nullptr;
  return sub->operand(0);
}

Value* build(GraphBuilder& b, const Normalised& found, Value* scale, Value* bias) {
  Value* x = centred(found.x, found.axis);
  if (!x && bias) return nullptr;
  if (!scale) {
    std::vector<int64_t> shape;
    for (int axis = found.axis; axis < found.x->type.rank(); ++axis) {
      auto extent = value_of(found.x->type.shape[axis]);
      if (!extent) return nullptr;
      shape.push_back(*extent);
    }
    DType dtype = found.x->type.dtype;
    scale = b.constant(b.module.constants.add_splat(dtype, shape, Scalar::of_float(dtype, 1)));
  }
  if (x) return composites::layer_norm(b, x, scale, bias, found.axis, found.epsilon)[0];
  return composites::rms_norm(b, found.x, scale, found.axis, found.epsilon);
}

Value* with_scale(GraphBuilder& b, Value* value, Value* bias) {
  if (Op* mul = producer_of_kind(value, OpKind::Mul))
    for (auto [inner, vector] : sides(*mul))
      if (auto found = normalised(b.module, inner))
        if (Value* scale = aligned_with_trailing_axes(vector, found->axis)) return build(b, *found, scale, bias);
  return nullptr;
}

Value* softmax(GraphBuilder& b, Op& op) {
  if (!op.is(OpKind::Div)) return nullptr;
  Value* e = op.operand(0);
  Op* sum = producer_of_kind(without_broadcast(op.operand(1)), OpKind::ReduceSum);
  Op* exp = producer_of_kind(e, OpKind::Exp);
  if (!sum || !exp || sum->operand(0) != e) return nullptr;
  Op* sub = producer_of_kind(exp->operand(0), OpKind::Sub);
  Op* max = sub ? producer_of_kind(without_broadcast(sub->operand(1)), OpKind::ReduceMax) : nullptr;
  if (!max || max->operand(0) != sub->operand(0) || max->params != sum->params) return nullptr;
  const auto& axes = sum->params.integers("axes");
  return axes.size() == 1 ? composites::softmax(b, sub->operand(0), static_cast<int>(axes[0])) : nullptr;
}

}  // namespace

Value* recognise_normalisation(GraphBuilder& b, Op& op, const Options&) {
  if (!is_float(op.type().dtype)) return nullptr;
  if (op.is(OpKind::Add))
    for (auto [value, vector] : sides(op)) {
      // The bias' alignment is checked against the normalisation's axis, which the scaled value knows.
      Op* mul = producer_of_kind(value, OpKind::Mul);
      if (!mul) continue;
      for (auto [inner, scale] : sides(*mul))
        if (auto found = normalised(b.module, inner))
          if (Value* bias = aligned_with_trailing_axes(vector, found->axis))
            if (Value* result = with_scale(b, value, bias)) return result;
    }
  if (Value* result = with_scale(b, op.result(), nullptr)) return result;
  if (auto found = normalised(b.module, op.result()); found && centred(found->x, found->axis))
    return build(b, *found, nullptr, nullptr);
  return softmax(b, op);
}

}  // namespace lapidary::passes
