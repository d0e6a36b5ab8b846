// Normalisations in primitives or, where a kernel knows them, as composites.
#include "frontend/ops/common.h"
#include "frontend/ops/norms.h"
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

void check_elements(Node& node, const Value* parameter, const char* what) {
  const Shape& x = node.type(0).shape;
  check_rank(parameter, static_cast<int>(x.size()) - 1, what);
  for (size_t axis = 1; axis < x.size(); ++axis)
    require_same(node, parameter->type.shape[axis - 1], x[axis], "extents of the input and of its statistics");
}

// [C] → [C, 1, …], so that it broadcasts over [N, C, spatial…].
Value* per_channel(Node& node, Value* vector, int rank, const char* what) {
  check_channels(node, vector, what);
  return rank > 2 ? node.build.expand_axes(vector, axes_from(1, rank - 1)) : vector;
}

Value* same_type(Node& node, Value* value, DType dtype) {
  return value->type.dtype == dtype ? value : node.build.convert(value, dtype);
}

// A state as the nodes before left it: several may move it, or one that is imported for each iteration of a loop.
Value* latest(Node& node, Value* state) {
  if (!node.training) return state;
  const auto moved = node.training->next.find(state);
  return moved == node.training->next.end() ? state : moved->second;
}

// Normalised by its own statistics, and the running ones moved towards those.
Values batch_norm_in_training(Node& node) {
  GraphBuilder& build = node.build;
  Value* x = node.input(0);
  const int rank = x->type.rank();
  const DType dtype = x->type.dtype, kept = node.type(3).dtype, inside = bit_width(dtype) < 32 ? DType::F32 : dtype;
  std::vector<int64_t> axes = axes_from(1, rank);
  axes[0] = 0;
  x = same_type(node, x, inside);
  Value* mean = build.reduce(OpKind::ReduceMean, x, axes, true);
  Value* centred = build.sub(x, mean);
  Value* variance = build.reduce(OpKind::ReduceMean, build.mul(centred, centred), axes, true);
  auto parameter = [&](int index, const char* what) {
    return per_channel(node, same_type(node, node.input(index), inside), rank, what);
  };
  Value* normal = build.div(centred, root(node, shifted(node, variance, node.number("epsilon"))));
  Value* y = build.add(build.mul(normal, parameter(1, "scale")), parameter(2, "B"));
  const double momentum = node.number("momentum");
  auto moved = [&](int index, Value* now) {
    Value *old = latest(node, node.input(index)), *fresh = build.convert(build.reshape(now, old->type.shape), kept);
    return build.add(build.mul(old, build.like(old, momentum)), build.mul(fresh, build.like(fresh, 1 - momentum)));
  };
  Value *running_mean = moved(3, mean), *running_variance = moved(4, variance);
  if (node.training) {
    node.training->next[node.input(3)] = running_mean;
    node.training->next[node.input(4)] = running_variance;
  }
  return {same_type(node, y, dtype), running_mean, running_variance};
}

// x · s + t with s = scale / √(var + ε) and t = B - mean · s, both without the batch.
Values batch_norm(Node& node) {
  Value* x = node.input(0);
  int rank = x->type.rank();
  if (rank < 2) fail("input has rank {}, expected 2 or more", rank);
  if (node.version < 7 && node.integer_or("is_test", 0) == 0 && node.output_count() > 1) unsupported("training mode");
  const bool of_elements = node.integer_or("spatial", 1) == 0;  // as old versions may have it, instead of channels
  const char* kParameters[] = {"scale", "B", "mean", "variance"};
  for (int i = 0; i < 4; ++i) {
    if (of_elements)
      check_elements(node, node.input(i + 1), kParameters[i]);
    else
      check_channels(node, node.input(i + 1), kParameters[i]);
  }
  const bool trains = node.integer_or("training_mode", 0) != 0;
  if (trains && !node.infers()) return batch_norm_in_training(node);
  if (node.training && node.training->trains) ++node.training->frozen_norms;
  for (int i = 1; i < node.output_count(); ++i) {
    if (node.wants(i) && !trains) unsupported("statistics (output {})", i);
  }
  DType dtype = x->type.dtype, inside = node.type(3).dtype;
  GraphBuilder& build = node.build;
  Value *scale = same_type(node, node.input(1), inside), *bias = same_type(node, node.input(2), inside);
  Value *mean = node.input(3), *variance = same_type(node, node.input(4), inside);
  Value* s = build.div(scale, root(node, shifted(node, variance, node.number("epsilon"))));
  Value* t = build.sub(bias, build.mul(mean, s));
  if (!of_elements) s = per_channel(node, s, rank, "scale"), t = per_channel(node, t, rank, "B");
  Value* y = build.add(build.mul(same_type(node, x, inside), s), t);
  return {same_type(node, y, dtype), node.input(3), node.input(4)};
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
    norm = norm_of(node.build, norm, static_cast<double>(p));
    Value* empty = node.build.scalar_op(ScalarOp::Equal, {norm, zero(node, norm)});
    Value* divisor = node.build.select(empty, node.build.like(norm, 1), norm);  // for a gradient that is no NaN
    return node.build.select(empty, zero(node, x), node.build.div(x, divisor));
  })};
}

// (x - E[x]) / (√(E[x²] - E[x]²) + 1e-9)
Values mean_variance_norm(Node& node) {
  std::vector<int64_t> axes = node.has("axes") ? node.integers("axes") : std::vector<int64_t>{0, 2, 3};
  axes = normalized_axes(axes, node.rank());
  return {in_float32(node, node.input(0), [&](Value* x) {
    Value* centred = node.build.sub(x, node.build.reduce(OpKind::ReduceMean, x, axes, true));
    Value* variance = node.build.reduce(OpKind::ReduceMean, node.build.mul(centred, centred), axes, true);
    return node.build.div(centred, shifted(node, norm_of(node.build, variance), 1e-9));
  })};
}

// --- com.microsoft ---------------------------------------------------------------------------------------------------

// The type sums and statistics are made in.
DType inner_type(DType dtype) { return bit_width(dtype) < 32 ? DType::F32 : dtype; }

// input + skip + bias, and its normalisation along the last axis.
Value* skip_sum(Node& node, Value* bias, DType inside) {
  if (node.rank() < 1) fail("input is a scalar");
  Value* sum = same_type(node, node.input(0), inside);
  auto add = [&](Value* other, const char* what) {
    if (other->type.rank() > sum->type.rank())
      fail("{} has rank {}, the input {}", what, other->type.rank(), node.rank());
    sum = node.build.add(sum, node.build.broadcast_to(same_type(node, other, inside), sum->type.shape));
  };
  add(node.input(1), "skip");
  if (bias) add(bias, "bias");
  return sum;
}

Values skip_layer_norm(Node& node) {
  const DType dtype = node.type(0).dtype, inside = inner_type(dtype);
  Value* sum = skip_sum(node, node.input(4), inside);
  const int axis = sum->type.rank() - 1;
  Value* bias = node.input(3) ? over_axes(node, node.input(3), axis, inside) : nullptr;
  Values results = composites::layer_norm(node.build, sum, over_axes(node, node.input(2), axis, inside), bias, axis,
                                          node.number("epsilon"));
  return {same_type(node, results[0], dtype), same_type(node, results[1], DType::F32),
          same_type(node, results[2], DType::F32), same_type(node, sum, dtype)};
}

Values skip_rms_norm(Node& node) {
  const DType dtype = node.type(0).dtype, inside = inner_type(dtype);
  if (node.wants(1) || node.wants(2)) unsupported("the statistics (outputs 1 and 2)");
  Value* sum = skip_sum(node, node.input(3), inside);
  const int axis = sum->type.rank() - 1;
  Value* y =
      composites::rms_norm(node.build, sum, over_axes(node, node.input(2), axis, inside), axis, node.number("epsilon"));
  return {same_type(node, y, dtype), nullptr, nullptr, same_type(node, sum, dtype)};
}

Values simplified_layer_norm(Node& node) {
  if (node.wants(1)) unsupported("the inverse deviation (output 1)");
  const int axis = node.axis("axis", node.rank());
  const DType inside = inner_type(node.type(0).dtype);
  Value* y = composites::rms_norm(node.build, same_type(node, node.input(0), inside),
                                  over_axes(node, node.input(1), axis, inside), axis, node.number("epsilon"));
  return {same_type(node, y, node.type(1).dtype)};
}

// Word, position and segment embeddings, their sum, and its normalisation. `inside` makes of rows of the table at input
// i, or of all of it, what is computed with.
template <typename Inside>
Values embedded(Node& node, Value* position_ids, Inside inside) {
  GraphBuilder& build = node.build;
  DimPool& dims = node.dims();
  Value *ids = node.input(0), *segments = node.input(1), *positions = node.input(3);
  if (ids->type.rank() != 2) fail("input_ids has rank {}, expected 2", ids->type.rank());
  for (int i : {2, 3}) {
    if (node.rank(i) != 2) fail("input {} has rank {}, expected 2", i, node.rank(i));
  }
  Dim length = ids->type.shape[1];
  Value* place = position_ids ? build.gather(positions, position_ids, 0)
                              : build.slice_axis(positions, 0, dims.constant(0), length);
  Value* sum = build.add(inside(2, build.gather(node.input(2), ids, 0)), inside(3, place));
  if (node.input(4)) {
    if (!segments) fail("segment_embedding without segment_ids");
    sum = build.add(sum, inside(4, build.gather(node.input(4), segments, 0)));
  }
  Values results =
      composites::layer_norm(build, sum, inside(5, node.input(5)), inside(6, node.input(6)), 2, node.number("epsilon"));
  Value* count = nullptr;
  if (node.wants(1)) {
    const Dim batch = ids->type.shape[0];
    count = build.splat(DType::I32, {batch}, 0);
    if (Value* mask = node.input(7))
      count =
          build.reduce(OpKind::ReduceSum,
                       build.convert(build.scalar_op(ScalarOp::Equal, {mask, build.like(mask, 1)}), DType::I32), {1});
  }
  return {results[0], count, sum};
}

Values embed_layer_norm(Node& node) {
  const DType dtype = node.type(2).dtype;
  Values results =
      embedded(node, node.input(8), [&](int, Value* rows) { return same_type(node, rows, inner_type(dtype)); });
  return {same_type(node, results[0], dtype), results[1], same_type(node, results[2], dtype)};
}

// The tables at inputs 2 to 6 have scales at 8 to 12 and zero points at 13 to 17.
Values quantized_embed_layer_norm(Node& node) {
  return embedded(node, nullptr, [&](int i, Value* rows) {
    if (!node.input(i + 6)) fail("input {} is left out", i + 6);
    return composites::dequantize(node.build, rows, node.build.reshape(node.input(i + 6), {}),
                                  node.input(i + 11) ? node.build.reshape(node.input(i + 11), {}) : nullptr);
  });
}

// x / sqrt(mean(x²) + ε) · scale · activation(gate), over rows as long as the scale.
Values gated_rms_norm(Node& node) {
  GraphBuilder& build = node.build;
  const std::string activation = node.text("activation");
  if (activation != "silu" && activation != "swish" && activation != "sigmoid")
    fail("activation '{}' is unknown", printable(activation));
  Value *x = build.convert(node.input(0), DType::F32), *scale = build.convert(node.input(1), DType::F32),
        *gate = build.convert(node.input(2), DType::F32);
  if (scale->type.rank() != 1 || x->type.rank() < 1)
    fail("X has rank {}, scale {}", x->type.rank(), scale->type.rank());
  const Shape shape = x->type.shape;
  Shape rows = shape;
  rows.back() = node.dims().floordiv(shape.back(), scale->type.shape[0]);
  rows.push_back(scale->type.shape[0]);
  require_same(node, node.dims().mul(rows[rows.size() - 2], rows.back()), shape.back(), "rows of the scale in X");
  Value* y = build.reshape(composites::rms_norm(build, build.reshape(x, rows), scale, static_cast<int>(shape.size()),
                                                node.number("epsilon")),
                           shape);
  Value* factor = build.scalar_op(ScalarOp::Sigmoid, {gate});
  if (activation != "sigmoid") factor = build.mul(gate, factor);
  return {build.convert(build.mul(y, factor), node.type(0).dtype)};
}

// Groups of channels, which lie last unless channels_last = 0; SiLU behind it when activation = 1.
Value* grouped_norm(Node& node, Value* x) {
  GraphBuilder& build = node.build;
  DimPool& dims = node.dims();
  const int rank = x->type.rank();
  if (rank < 3) fail("input has rank {}, expected 3 or more", rank);
  const int64_t groups = node.integer("groups"), activation = node.integer("activation");
  if (activation != 0 && activation != 1) fail("activation {}", activation);
  const bool last = node.integer("channels_last") != 0;
  const int axis = last ? rank - 1 : 1;
  const Shape shape = x->type.shape;
  std::optional<int64_t> channels = value_of(shape[axis]);
  if (!channels) unsupported("channels known only at run time");
  if (groups < 1 || *channels % groups != 0) fail("{} channels are not a multiple of {} groups", *channels, groups);
  Shape split = shape;
  split[axis] = dims.constant(groups);
  split.insert(split.begin() + axis + 1, dims.constant(*channels / groups));
  std::vector<int64_t> axes = axes_from(1, rank + 1);
  std::erase(axes, axis);
  Value* y = build.reshape(standardized(node, build.reshape(x, split), axes, node.number("epsilon")), shape);
  auto spread = [&](int index) {
    Value* vector = same_type(node, node.input(index), x->type.dtype);
    if (vector->type.rank() != 1) fail("input {} has rank {}, expected 1", index, vector->type.rank());
    return last ? vector : build.expand_axes(vector, axes_from(1, rank - 1));
  };
  y = build.add(build.mul(y, spread(1)), spread(2));
  return activation == 1 ? build.mul(y, build.scalar_op(ScalarOp::Sigmoid, {y})) : y;
}

Values microsoft_group_norm(Node& node) {
  return {in_float32(node, node.input(0), [&](Value* x) { return grouped_norm(node, x); })};
}

Values skip_group_norm(Node& node) {
  const DType dtype = node.type(0).dtype, inside = inner_type(dtype);
  if (node.integer("channels_last") == 0) unsupported("channels_last = 0");
  Value* skip = same_type(node, node.input(3), inside);
  if (skip->type.rank() == 2) skip = node.build.expand_axes(skip, axes_from(1, node.rank() - 1));
  Value* sum = same_type(node, node.input(0), inside);
  sum = node.build.add(sum, node.build.broadcast_to(skip, sum->type.shape));
  if (node.input(4))
    sum = node.build.add(sum, node.build.broadcast_to(same_type(node, node.input(4), inside), sum->type.shape));
  return {same_type(node, grouped_norm(node, sum), dtype), same_type(node, sum, dtype)};
}

constexpr OpEntry kOps[] = {
    {"BatchNormalization", batch_norm},
    {"EmbedLayerNormalization", embed_layer_norm,
     "input_ids: i32, segment_ids?: i32, word_embedding: T, position_embedding: T, segment_embedding?: T, gamma: T,"
     " beta: T, mask?: i32, position_ids?: i32 -> output: T, mask_index?: i32, embedding_sum?: T |"
     " epsilon = 1.0e-12, mask_index_type?: int | T = f32 f16"},
    {"GatedRMSNorm", gated_rms_norm,
     "X: T, scale: T, gate: T -> Y: T | activation = \"silu\", epsilon = 1.0e-5 | T = f32 f16 bf16"},
    {"GroupNorm", microsoft_group_norm,
     "X: T, gamma: M, beta: M -> Y: T | epsilon = 1.0e-5, groups: int, activation: int, channels_last = 1 |"
     " T = f16 f32, M = f16 f32"},
    {"GroupNormalization", group_norm},
    {"InstanceNormalization", instance_norm},
    {"LayerNormalization", layer_norm},
    {"LayerNormalization", layer_norm,  // of the domain ai.onnx too, before opset 17
     "X: T, Scale: V, B?: V -> Y: V, Mean?: U, InvStdDev?: U | axis = -1, epsilon = 1.0e-5, stash_type = 1 |"
     " T = f16 f32 f64 bf16, U = f32 f64, V = f16 f32 f64 bf16"},
    {"LpNormalization", lp_norm},
    {"MeanVarianceNormalization", mean_variance_norm},
    {"QEmbedLayerNormalization", quantized_embed_layer_norm,
     "input_ids: i32, segment_ids?: i32, word_embedding_quant: T2, position_embedding_quant: T2, segment_embedding?: "
     "T2,"
     " gamma_quant: T2, beta_quant: T2, mask?: i32, word_embedding_scale: f32, position_embedding_scale: f32,"
     " segment_embedding_scale?: f32, gamma_scale: f32, beta_scale: f32, word_embedding_zero_point: T2,"
     " position_embedding_zero_point: T2, segment_embedding_zero_point?: T2, gamma_zero_point: T2,"
     " beta_zero_point: T2 -> layernorm_out: f32, mask_index_out: i32 | epsilon = 1.0e-12 | T2 = i8 u8"},
    {"RMSNormalization", rms_norm},
    {"SimplifiedLayerNormalization", simplified_layer_norm,  // written with the domain ai.onnx
     "X: T, scale: V -> Y: V, inv_std_var?: U | axis = -1, epsilon = 1.0e-5, stash_type = 1 |"
     " T = f16 f32 f64 bf16, U = f32 f64, V = f16 f32 f64 bf16"},
    {"SkipGroupNorm", skip_group_norm,
     "X: T, gamma: M, beta: M, skip: T, bias?: T -> Y: T, S?: T | epsilon = 1.0e-5, groups: int, activation: int,"
     " channels_last = 1 | T = f16 f32, M = f16 f32"},
    {"SkipLayerNormalization", skip_layer_norm,
     "input: T, skip: T, gamma: T, beta?: T, bias?: T -> output: T, mean?: f32, inv_std_var?: f32,"
     " input_skip_bias_sum?: T | epsilon = 1.0e-12 | T = f32 f16 bf16"},
    {"SkipSimplifiedLayerNormalization", skip_rms_norm,
     "input: T, skip: T, gamma: T, bias?: T -> output: T, mean?: f32, inv_std_var?: f32, input_skip_bias_sum?: T |"
     " epsilon = 1.0e-12 | T = f32 f16 bf16"},
};

}  // namespace

std::span<const OpEntry> normalization_ops() { return kOps; }

}  // namespace lapidary::frontend
