// A scale and a shift for each channel after a convolution (a batch norm of inference, as importers spell it) move into
// its constant weights and bias:
//
//   conv(x, w) · s + t == conv(x, w·s) + t             s, t constant along the output channels
//   (conv(x, w) + b) · s == conv(x, w·s) + b·s
//
// Weights stay where they are: the scale is one more transform on them. Bias vectors are small and computed now. After
// conv_transpose, and after a product with constant columns, likewise. A batch norm before a convolution stays: its
// shift would have to respect the pads.
#include "ir/contract_spec.h"
#include "ir/graph_builder.h"
#include "passes/graph/graph_passes.h"
#include "passes/graph/walk.h"

namespace lapidary::passes {

namespace {

struct ScaledOp {
  Op* op;            // conv, conv_transpose or contract
  int channel_axis;  // of its result
  int weight_axis;   // of operand 1
  int64_t channels;
};

std::optional<ScaledOp> scaled_op(Value* value) {
  Op* op = value->producer;
  if (!op || value->uses.size() != 1 || value->type.dtype != DType::F32) return std::nullopt;
  int axis = 1, weight_axis;
  if (op->is(OpKind::Conv)) {
    weight_axis = 0;
  } else if (op->is(OpKind::ConvTranspose) && op->params.integer("group") == 1) {
    weight_axis = 1;
  } else if (op->is(OpKind::Contract) && value->type.rank() > 0) {
    // The result's last axis, if the weights alone have it. A table that others read too is not stored twice.
    const ContractSpec spec = contract_spec(*op);
    const size_t found = spec.right.find(spec.result.back());
    bool in_both = spec.left.find(spec.result.back()) != std::string::npos;
    if (found == std::string::npos || in_both || !op->operand(1)->has_one_use()) return std::nullopt;
    axis = value->type.rank() - 1, weight_axis = static_cast<int>(found);
  } else {
    return std::nullopt;
  }
  auto channels = value_of(value->type.shape[static_cast<size_t>(axis)]);
  if (!channels || !constant_of(op->operand(1))) return std::nullopt;
  return ScaledOp{op, axis, weight_axis, *channels};
}

Value* product_of_vectors(GraphBuilder& b, Value* a, ConstantId factors) {
  std::vector<Scalar> x = b.module.constants.scalars_of(*constant_of(a)), y = b.module.constants.scalars_of(factors);
  for (size_t i = 0; i < x.size(); ++i) {
    Scalar operands[] = {x[i], y[i]};
    x[i] = evaluate(ScalarOp::Mul, operands);
  }
  return b.constant(b.module.constants.add_scalars(a->type.dtype, {static_cast<int64_t>(x.size())}, x));
}

// mul(conv(x, w[, b]), s) → conv(x, w·s[, b·s])
bool fold_scale(Module& module, Region& body, Op& mul) {
  for (int side : {0, 1}) {
    auto scaled = scaled_op(mul.operand(side));
    if (!scaled) continue;
    Op& op = *scaled->op;
    if (op.operands.size() > 2 && !constant_of(op.operand(2))) continue;
    auto factors = constant_along(module, mul.operand(1 - side), scaled->channel_axis, scaled->channels);
    if (!factors) continue;
    GraphBuilder b(module, body, op.self);
    b.origin = op.origin;
    ConstantId weight = module.constants.transformed(
        *constant_of(op.operand(1)),
        {.kind = Transform::Kind::Scale, .axes = {scaled->weight_axis}, .other = *factors});
    op.set_operand(1, b.constant(weight));
    if (op.operands.size() > 2) op.set_operand(2, product_of_vectors(b, op.operand(2), *factors));
    replace_value(mul.result(), op.result());
    return true;
  }
  return false;
}

// add(conv(x, w), t) → conv(x, w, t)
bool fold_shift(Module& module, Region& body, Op& add) {
  for (int side : {0, 1}) {
    auto scaled = scaled_op(add.operand(side));
    if (!scaled || scaled->op->is(OpKind::Contract)) continue;
    Op& op = *scaled->op;
    auto shift = constant_along(module, add.operand(1 - side), scaled->channel_axis, scaled->channels);
    if (!shift) continue;
    GraphBuilder b(module, body, op.self);
    b.origin = op.origin;
    if (op.operands.size() == 2) {
      op.add_operand(b.constant(*shift));
    } else if (auto bias = constant_of(op.operand(2))) {
      std::vector<Scalar> sum = module.constants.scalars_of(*bias), more = module.constants.scalars_of(*shift);
      for (size_t i = 0; i < sum.size(); ++i) {
        Scalar operands[] = {sum[i], more[i]};
        sum[i] = evaluate(ScalarOp::Add, operands);
      }
      op.set_operand(2, b.constant(module.constants.add_scalars(add.type().dtype, {scaled->channels}, sum)));
    } else {
      continue;
    }
    replace_value(add.result(), op.result());
    return true;
  }
  return false;
}

}  // namespace

bool fold_batch_norms(Module& module, const Options&) {
  return for_each_op(module, [&](Region& body, Op& op) {
    const bool folded = op.is(OpKind::Mul)   ? fold_scale(module, body, op)
                        : op.is(OpKind::Add) ? fold_shift(module, body, op)
                                             : false;
    if (folded) erase_with_dead_producers(op);
    return folded;
  });
}

}  // namespace lapidary::passes
