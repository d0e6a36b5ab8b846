// Normalisations: ONNX BatchNormalization-6…15, LayerNormalization-17, RMSNormalization-23, InstanceNormalization-1…22,
// GroupNormalization-18…21, LpNormalization-1…22, MeanVarianceNormalization-9…13
#include <algorithm>

#include "frontend/op_table.h"
#include "ir/composites.h"

namespace lapidary::frontend {

namespace {

// A vector along axis 1 of a tensor of this rank.
Value* along_channels(GraphBuilder& b, Value* vector, int rank) {
  std::vector<int64_t> axes;
  for (int axis = 1; axis < rank - 1; ++axis) axes.push_back(axis);
  return b.expand_axes(vector, axes);   // [C, 1, …]: trailing axes align
}

// x · s + t with s = scale / √(variance + ε) and t = bias - mean · s, both vectors, so that passes can move them.
std::vector<Value*> batch_normalization(Node& node) {
  GraphBuilder& b = node.build;
  if (node.integer_or("training_mode", 0)) unsupported("training_mode 1");
  if (node.output_count() > 1 && node.wants(1)) unsupported("running statistics as results");
  if (node.integer_or("spatial", 1) == 0) unsupported("spatial 0");
  if (node.rank() < 2) fail("input has rank {}, expected 2 or more", node.rank());
  Value *x = node.input(0), *variance = node.input(4);
  Value* deviation = b.scalar_op(ScalarOp::Sqrt, {b.add(variance, b.like(variance, node.number("epsilon")))});
  Value* factor = b.div(node.input(1), deviation);
  Value* shift = b.sub(node.input(2), b.mul(node.input(3), factor));
  return {b.add(b.mul(x, along_channels(b, factor, node.rank())), along_channels(b, shift, node.rank()))};
}

std::vector<Value*> layer_normalization(Node& node) {
  int axis = node.axis("axis", node.rank());
  auto results = composites::layer_norm(node.build, node.input(0), node.input(1), node.input(2), axis, node.number("epsilon"));
  return results;
}

std::vector<Value*> rms_normalization(Node& node) {
  return {composites::rms_norm(node.build, node.input(0), node.input(1), node.axis("axis", node.rank()), node.number("epsilon"))};
}

// (x - mean) / √(variance + ε) over `axes`
Value* standardised(GraphBuilder& b, Value* x, const std::vector<int64_t>& axes, double epsilon) {
  Value* centred = b.sub(x, b.reduce(OpKind::ReduceMean, x, axes, true));
  Value* variance = b.reduce(OpKind::ReduceMean, b.mul(centred, centred), axes, true);
  return b.div(centred, b.scalar_op(ScalarOp::Sqrt, {b.add(variance, b.like(x, epsilon))}));
}

std::vector<Value*> instance_normalization(Node& node) {
  GraphBuilder& b = node.build;
  if (node.rank() < 3) fail("input has rank {}, expected 3 or more", node.rank());
  Value* y = standardised(b, node.input(0), axes_from(2, node.rank()), node.number("epsilon"));
  return {b.add(b.mul(y, along_channels(b, node.input(1), node.rank())), along_channels(b, node.input(2), node.rank()))};
}

std::vector<Value*> group_normalization(Node& node) {
  GraphBuilder& b = node.build;
  const Shape shape = node.type(0).shape;
  if (shape.size() < 3) fail("input has rank {}, expected 3 or more", shape.size());
  int64_t groups = node.integer("num_groups");
  auto channels = value_of(shape[1]);
  if (groups < 1 || (channels && *channels % groups)) fail("{} channels cannot be cut into {} groups", to_string(shape[1]), groups);
  Shape grouped = {shape[0], b.dim(groups), node.dims().floordiv(shape[1], b.dim(groups))};
  grouped.insert(grouped.end(), shape.begin() + 2, shape.end());
  Value* y = standardised(b, b.reshape(node.input(0), grouped), axes_from(2, static_cast<int>(grouped.size())), node.number("epsilon"));
  auto per_channel = [&](Value* vector) {   // up to opset 20 one number for each group
    if (node.version >= 21) return vector;
    Value* rows = b.expand_axes(vector, {1});
    return b.reshape(b.broadcast_to(rows, {grouped[1], grouped[2]}), {shape[1]});
  };
  y = b.reshape(y, shape);
  Value *scale = along_channels(b, per_channel(node.input(1)), node.rank()), *bias = along_channels(b, per_channel(node.input(2)), node.rank());
  return {b.add(b.mul(y, scale), bias)};
}

std::vector<Value*> lp_normalization(Node& node) {
  GraphBuilder& b = node.build;
  Value* x = node.input(0);
  std::vector<int64_t> axis = {node.axis("axis", node.rank())};
  int64_t p = node.integer("p");
  if (p != 1 && p != 2) fail("attribute 'p' must be 1 or 2, got {}", p);
  Value* magnitude = p == 1 ? b.scalar_op(ScalarOp::Abs, {x}) : b.mul(x, x);
  Value* norm = b.reduce(OpKind::ReduceSum, magnitude, axis, true);
  if (p == 2) norm = b.scalar_op(ScalarOp::Sqrt, {norm});
  Value* zero = b.scalar_op(ScalarOp::Equal, {norm, b.like(x, 0)});   // of a zero vector: zero
  return {b.select(zero, b.like(x, 0), b.div(x, norm))};
}

// (x - E x) / √(E x² - (E x)²) as the standard's function body has it
std::vector<Value*> mean_variance_normalization(Node& node) {
  GraphBuilder& b = node.build;
  std::vector<int64_t> axes = node.integers("axes");
  if (axes.empty()) axes = {0, 2, 3};
  axes = normalized_axes(axes, node.rank());
  Value* x = node.input(0);
  Value* centred = b.sub(x, b.reduce(OpKind::ReduceMean, x, axes, true));
  Value* deviation = b.scalar_op(ScalarOp::Sqrt, {b.reduce(OpKind::ReduceMean, b.mul(centred, centred), axes, true)});
  return {b.div(centred, b.add(deviation, b.like(x, 1e-9)))};
}

constexpr OpEntry kOps[] = {{"BatchNormalization", batch_normalization}, {"GroupNormalization", group_normalization},
                            {"InstanceNormalization", instance_normalization}, {"LayerNormalization", layer_normalization},
                            {"LpNormalization", lp_normalization},
                            {"MeanVarianceNormalization", mean_variance_normalization}, {"RMSNormalization", rms_normalization}};

}  // namespace

std::span<const OpEntry> normalization_ops() { return kOps; }

}  // namespace lapidary::frontend
