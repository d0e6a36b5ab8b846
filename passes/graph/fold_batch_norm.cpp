// Fold batch norm: a scale or shift of each output channel right after a convolution or a contraction with constant
// weights goes into the weights and the bias.
//
//   conv(x, w, b) · s + t == conv(x, w·s, b·s + t)          contract(x, w) · s == contract(x, w·s)
//
// Weights get a pending Transform::Scale, so nothing large is computed here. Normalisation before a convolution stays:
// padding pixels would have to hold the shift. Saves one pass over the tensor for each convolution of a ResNet.
// Test: test/passes/fold_batch_norm.cpp.
#include <algorithm>
#include <cmath>

#include "ir/graph_builder.h"
#include "passes/graph/graph_passes.h"
#include "passes/graph/walk.h"

namespace lapidary::passes {

namespace {

// The constant vector that a value repeats along all axes but `axis`: broadcast of [C], [C, 1, 1] and the like, or of
// one number. Null when it is none.
Value* constant_along(GraphBuilder& b, Value* value, int axis) {
  Dim channels = value->type.shape[axis];
  auto extent = value_of(channels);
  Op* broadcast = producer_of_kind(value, OpKind::Broadcast);
  if (!broadcast || !extent) return nullptr;
  Value* source = broadcast->operand(0);
  if (auto number = splat_of(b.module, source))
    return b.constant(b.module.constants.add_splat(source->type.dtype, {*extent}, *number));
  if (!constant_of(source)) return nullptr;
  const auto& axes = broadcast->params.integers("axes");
  for (size_t i = 0; i < axes.size(); ++i)
    if (axes[i] != axis && value_of(source->type.shape[i]) != 1) return nullptr;
  return b.reshape(source, {channels});
}

// What an op does to one value channel by channel: value · scale + shift, either may be null.
struct ChannelwiseOp {
  Value* value = nullptr;
  Value* scale = nullptr;
  Value* shift = nullptr;
};

std::optional<ChannelwiseOp> channelwise(GraphBuilder& b, const Op& op, int axis) {
  bool known = op.is(OpKind::Mul) || op.is(OpKind::Add) || op.is(OpKind::Sub) || op.is(OpKind::Div);
  if (!known || !is_float(op.type().dtype)) return std::nullopt;
  bool commutes = op.is(OpKind::Mul) || op.is(OpKind::Add);
  Value* value = op.operand(0);
  Value* vector = constant_along(b, op.operand(1), axis);
  if (!vector && commutes) {
    value = op.operand(1);
    vector = constant_along(b, op.operand(0), axis);
  }
  if (!vector) return std::nullopt;
  if (op.is(OpKind::Mul)) return ChannelwiseOp{value, vector, nullptr};
  if (op.is(OpKind::Div)) return ChannelwiseOp{value, b.div(b.like(vector, 1), vector), nullptr};
  return ChannelwiseOp{value, nullptr, op.is(OpKind::Sub) ? b.neg(vector) : vector};
}

Value* scaled(GraphBuilder& b, Value* weights, int64_t axis, Value* scale) {
  Transform transform;
  transform.kind = Transform::Kind::Scale;
  transform.axes = {axis};
  transform.other = *constant_of(scale);
  return b.constant(b.module.constants.transformed(*constant_of(weights), transform));
}

// The axis of a convolution's weights its output channels lie along, or -1 when scaling them apart is not one axis.
int64_t output_channel_axis(const Op& conv) {
  if (conv.is(OpKind::Conv)) return 0;
  return conv.params.integer("group") == 1 ? 1 : -1;
}

Value* into_convolution(GraphBuilder& b, Op& conv, const ChannelwiseOp& op) {
  int64_t axis = output_channel_axis(conv);
  if (axis < 0 || !constant_of(conv.operand(1))) return nullptr;
  Value* weights = op.scale ? scaled(b, conv.operand(1), axis, op.scale) : conv.operand(1);
  Value* bias = conv.operands.size() > 2 ? conv.operand(2) : nullptr;
  if (bias && op.scale) bias = b.mul(bias, op.scale);
  if (op.shift) bias = bias ? b.add(bias, op.shift) : op.shift;
  std::vector<Value*> operands{conv.operand(0), weights};
  if (bias) operands.push_back(bias);
  return b.create(conv.kind, operands, conv.params).result();
}

// contract(x, w) · s where s runs along a letter that only w has.
Value* into_contraction(GraphBuilder& b, Op& contract, int axis, Value* scale) {
  const std::string& spec = contract.params.text("spec");
  size_t comma = spec.find(','), arrow = spec.find("->");
  char letter = spec[arrow + 2 + static_cast<size_t>(axis)];
  std::string letters[2] = {spec.substr(0, comma), spec.substr(comma + 1, arrow - comma - 1)};
  for (int i = 0; i < 2; ++i) {
    size_t position = letters[i].find(letter);
    if (position == std::string::npos || !constant_of(contract.operand(i))) continue;
    Value* weights = scaled(b, contract.operand(i), static_cast<int64_t>(position), scale);
    return b.contract(i == 0 ? weights : contract.operand(0), i == 1 ? weights : contract.operand(1), spec);
  }
  return nullptr;
}

bool is_convolution(const Op* op) { return op && (op->is(OpKind::Conv) || op->is(OpKind::ConvTranspose)); }

Value* fold_into_convolution(GraphBuilder& b, Op& op) {
  auto affine = op.type().rank() >= 3 ? channelwise(b, op, 1) : std::nullopt;
  if (!affine || !is_convolution(affine->value->producer) || !affine->value->has_one_use()) return nullptr;
  return into_convolution(b, *affine->value->producer, *affine);
}

// contract(x, w) · s, and (contract(x, w) + t) · s == contract(x, w·s) + t·s
Value* fold_into_contraction(GraphBuilder& b, Op& op) {
  if (op.type().rank() == 0) return nullptr;
  int axis = op.type().rank() - 1;
  auto affine = channelwise(b, op, axis);
  if (!affine || !affine->scale || !affine->value->has_one_use()) return nullptr;
  Value* value = affine->value;
  Value* shift = nullptr;
  if (Op* add = producer_of_kind(value, OpKind::Add)) {
    auto inner = channelwise(b, *add, axis);
    if (!inner || !inner->value->has_one_use()) return nullptr;
    value = inner->value;
    shift = inner->shift;
  }
  Op* contract = producer_of_kind(value, OpKind::Contract);
  Value* result = contract ? into_contraction(b, *contract, axis, affine->scale) : nullptr;
  return result && shift ? b.add(result, b.mul(shift, affine->scale)) : result;
}

}  // namespace

bool fold_batch_norm(Module& module, const Options& options) {
  bool changed = false;
  for_each_body(module, [&](Region& body) {
    for (auto it = body.ops.begin(); it != body.ops.end();) {
      Op& op = *it++;
      if (!is_scalar_op(op.kind)) continue;
      GraphBuilder builder(module, body, op.self);
      builder.origin = op.origin;
      Value* value = fold_into_convolution(builder, op);
      if (!value) value = fold_into_contraction(builder, op);
      if (!value) continue;
      if (is_convolution(value->producer)) value->producer->origin = op.operand(0)->producer->origin;
      replace_value(op.result(), value);
      erase_with_dead_producers(op);
      changed = true;
    }
  });
  drop_dead(module, options);
  if (changed) fold_constants(module, options);
  return changed;
}

}  // namespace lapidary::passes
