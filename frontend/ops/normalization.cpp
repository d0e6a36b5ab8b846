// Normalisations in primitives or, where a kernel knows them, as composites.
#include "frontend/ops/common.h"
#include "ir/composites.h"

namespace lapidary::frontend {
namespace {

using Values = std::vector<Value*>;

Value* root(Node& node, Value* x) { return node.build.scalar_op(ScalarOp::Sqrt, {x}); }
Value* shifted(Node& node, Value* x, double by) { return node.build.add(x, node.build.like(x, by)); }

void check_channels(Node& node, const Value* vector, const char* what) {
  if (vector->type.rank() != 1) fail("{} has rank {}, expected 1", what, vector->type.rank());
  std::optional<int64_t> extent = value_of(vector->type.shape[0]), channels = value_of(node.type(0).shape[1]);
  if (extent && channels && *extent != *channels)
    fail("{} has {} elements, input has {} channels", what, *extent, *channels);
}

// [C] → [C, 1, …], so that it broadcasts over [N, C, spatial…].
Value* per_channel(Node& node, Value* vector, int rank, const char* what) {
  check_channels(node, vector, what);
  return rank > 2 ? node.build.expand_axes(vector, axes_from(1, rank - 1)) : vector;
}

Value* same_type(Node& node, Value* value, DType dtype) {
  return value->type.dtype == dtype ? value : node.build.convert(value, dtype);
}

// x · s + t with s = scale / √(var + ε) and t = B - mean · s, both of the channels alone.
Values batch_norm(Node& node) {
  Value* x = node.input(0);
  int rank = x->type.rank();
  if (rank < 2) fail("input has rank {}, expected 2 or more", rank);
  if (node.integer_or("training_mode", 0) != 0) unsupported("training_mode");
  if (node.version < 7 && node.integer_or("is_test", 0) == 0 && node.output_count() > 1) unsupported("training mode");
  if (node.integer_or("spatial", 1) == 0) unsupported("statistics for each element (spatial = 0)");
  for (int i = 1; i < node.output_count(); ++i) {
    if (node.wants(i)) unsupported("statistics (output {})", i);
  }
  const char* kParameters[] = {"scale", "B", "mean", "variance"};
  for (int i = 0; i < 4; ++i) check_channels(node, node.input(i + 1), kParameters[i]);
  DType dtype = x->type.dtype, inside = node.type(3).dtype;
  GraphBuilder& build = node.build;
  Value *scale = same_type(node, node.input(1), inside), *bias = same_type(node, node.input(2), inside);
  Value *mean = node.input(3), *variance = same_type(node, node.input(4), inside);
  Value* s = build.div(scale, root(node, shifted(node, variance, node.number("epsilon"))));
  Value* t = build.sub(bias, build.mul(mean, s));
  Value* y = build.add(build.mul(same_type(node, x, inside), per_channel(node, s, rank, "scale")),
                       per_channel(node, t, rank, "B"));
  return {same_type(node, y, dtype)};
}

// (x - mean) / √(variance + ε) over the axes given.
Value* standardized(Node& node, Value* x, const std::vector<int64_t>& axes, double epsilon) {
  GraphBuilder& build = node.build;
  Value* centred = build.sub(x, build.reduce(OpKind::ReduceMean, x, axes, true));
  Value* variance = build.reduce(OpKind::ReduceMean, build.mul(centred, centred), axes, true);
  return build.div(centred, root(node, shifted(node, variance, epsilon)));
}

Values instance_norm(Node& node) {
  int rank = node.rank();
  if (rank < 3) fail("input has rank {}, expected 3 or more", rank);
  Value *scale = per_channel(node, node.input(1), rank, "scale"), *bias = per_channel(node, node.input(2), rank, "B");
  return {in_float32(node, node.input(0), [&](Value* x) {
    Value* normal = standardized(node, x, axes_from(2, rank), node.number("epsilon"));
    return node.build.add(node.build.mul(normal, same_type(node, scale, x->type.dtype)),
                          same_type(node, bias, x->type.dtype));
  })};
}

// Groups of channels; scale and bias belong to groups in opset 18 and to channels since 21.
Values group_norm(Node& node) {
  const Shape& shape = node.type(0).shape;
  int rank = node.rank();
  int64_t groups = node.integer("num_groups");
  if (rank < 3) fail("input has rank {}, expected 3 or more", rank);
  std::optional<int64_t> channels = value_of(shape[1]);
  if (!channels) unsupported("channels known only at run time");
  if (groups < 1 || *channels % groups != 0) fail("{} channels are not a multiple of {} groups", *channels, groups);
  DimPool& dims = node.dims();
  Dim each = dims.constant(*channels / groups), rest = dims.product(std::span(shape).subspan(2));
  Shape grouped = {shape[0], dims.constant(groups), dims.mul(each, rest)};
  auto spread = [&](Value* vector, DType dtype) {
    vector = same_type(node, vector, dtype);
    if (node.version < 21)
      vector = node.build.reshape(node.build.broadcast(vector, {0}, {dims.constant(groups), each}), {shape[1]});
    return per_channel(node, vector, rank, "scale or bias");
  };
  return {in_float32(node, node.input(0), [&](Value* x) {
    Value* normal =
        node.build.reshape(standardized(node, node.build.reshape(x, grouped), {2}, node.number("epsilon")), shape);
    return node.build.add(node.build.mul(normal, spread(node.input(1), x->type.dtype)),
                          spread(node.input(2), x->type.dtype));
  })};
}

// Scale and bias stretched to the axes they belong to.
Value* over_axes(Node& node, Value* vector, int axis, DType dtype) {
  const Shape& shape = node.type(0).shape;
  if (vector->type.rank() > static_cast<int>(shape.size()) - axis)
    unsupported("a scale of rank {} over axes from {} on", vector->type.rank(), axis);
  return node.build.broadcast_to(same_type(node, vector, dtype), Shape(shape.begin() + axis, shape.end()));
}

// f16 and bf16 are computed in float32, as stash_type 1 says.
Values layer_norm(Node& node) {
  int axis = node.axis("axis", node.rank());
  if (node.integer("stash_type") != 1) unsupported("stash_type {}", node.integer("stash_type"));
  DType dtype = node.type(0).dtype, inside = bit_width(dtype) < 32 ? DType::F32 : dtype;
  Value* bias = node.input(2) ? over_axes(node, node.input(2), axis, inside) : nullptr;
  Values results =
      composites::layer_norm(node.build, same_type(node, node.input(0), inside),
                             over_axes(node, node.input(1), axis, inside), bias, axis, node.number("epsilon"));
  return {same_type(node, results[0], dtype), same_type(node, results[1], DType::F32),
          same_type(node, results[2], DType::F32)};
}

Values rms_norm(Node& node) {
  int axis = node.axis("axis", node.rank());
  if (node.integer("stash_type") != 1) unsupported("stash_type {}", node.integer("stash_type"));
  DType dtype = node.type(0).dtype, inside = bit_width(dtype) < 32 ? DType::F32 : dtype;
  Value* y = composites::rms_norm(node.build, same_type(node, node.input(0), inside),
                                  over_axes(node, node.input(1), axis, inside), axis, node.number("epsilon"));
  return {same_type(node, y, node.type(1).dtype)};
}

// x / ‖x‖; where the norm is 0, 0.
Values lp_norm(Node& node) {
  int axis = node.axis("axis", node.rank());
  int64_t p = node.integer("p");
  if (p != 1 && p != 2) fail("p must be 1 or 2, got {}", p);
  return {in_float32(node, node.input(0), [&](Value* x) {
    Value* size = p == 1 ? node.build.scalar_op(ScalarOp::Abs, {x}) : node.build.mul(x, x);
    Value* norm = node.build.reduce(OpKind::ReduceSum, size, {axis}, true);
    if (p == 2) norm = root(node, norm);
    Value* empty = node.build.scalar_op(ScalarOp::Equal, {norm, zero(node, norm)});
    return node.build.select(empty, zero(node, x), node.build.div(x, norm));
  })};
}

// (x - E[x]) / (√(E[x²] - E[x]²) + 1e-9)
Values mean_variance_norm(Node& node) {
  std::vector<int64_t> axes = node.has("axes") ? node.integers("axes") : std::vector<int64_t>{0, 2, 3};
  axes = normalized_axes(axes, node.rank());
  return {in_float32(node, node.input(0), [&](Value* x) {
    Value* centred = node.build.sub(x, node.build.reduce(OpKind::ReduceMean, x, axes, true));
    Value* variance = node.build.reduce(OpKind::ReduceMean, node.build.mul(centred, centred), axes, true);
    return node.build.div(centred, shifted(node, root(node, variance), 1e-9));
  })};
}

constexpr OpEntry kOps[] = {
    {"BatchNormalization", batch_norm},
    {"GroupNormalization", group_norm},
    {"InstanceNormalization", instance_norm},
    {"LayerNormalization", layer_norm},
    {"LpNormalization", lp_norm},
    {"MeanVarianceNormalization", mean_variance_norm},
    {"RMSNormalization", rms_norm},
};

}  // namespace

std::span<const OpEntry> normalization_ops() { return kOps; }

}  // namespace lapidary::frontend
