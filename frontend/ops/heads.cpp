#include "frontend/ops/heads.h"

#include <algorithm>
#include <cmath>

#include "ir/composites.h"

namespace lapidary::frontend {

void check_heads(int64_t heads) {
  constexpr int64_t kMost = 1 << 20;
  if (heads < 1 || heads > kMost) fail("{} heads, expected from 1 to {}", heads, kMost);
}

Value* split_heads(Node& node, Value* x, int64_t heads, const char* what) {
  check_rank(x, 3, what);
  check_heads(heads);
  const Shape& shape = x->type.shape;
  std::optional<int64_t> width = value_of(shape[2]);
  if (width && *width % heads != 0) fail("{} has {} columns, not a multiple of {} heads", what, *width, heads);
  Dim count = node.dims().constant(heads);
  Dim each = node.dims().floordiv(shape[2], count);
  return node.build.transpose(node.build.reshape(x, {shape[0], shape[1], count, each}), {0, 2, 1, 3});
}

Value* merge_heads(Node& node, Value* x) {
  const Shape shape = x->type.shape;
  return node.build.reshape(node.build.transpose(x, {0, 2, 1, 3}),
                            {shape[0], shape[2], node.dims().mul(shape[1], shape[3])});
}

void AttentionBias::allow(Node& node, Value* condition) {
  allowed = allowed ? node.build.scalar_op(ScalarOp::And, {allowed, condition}) : condition;
}

Value* AttentionBias::value(Node& node, DType dtype) const {
  if (!allowed) return added ? node.build.convert(added, dtype) : nullptr;
  Value* otherwise = added ? node.build.convert(added, dtype) : node.build.scalar(dtype, 0);
  return node.build.select(allowed, otherwise, node.build.scalar(dtype, -INFINITY));
}

AttentionPositions attention_positions(Node& node, Dim queries, Dim keys, Value* offset) {
  Dim one = node.dims().constant(1);
  Value* query = node.build.iota(DType::I64, {queries, one}, 0);
  return {offset ? node.build.add(query, offset) : query, node.build.iota(DType::I64, {one, keys}, 1)};
}

Value* not_after(Node& node, const AttentionPositions& at) {
  return node.build.scalar_op(ScalarOp::LessEqual, {at.key, at.query});
}

Value* within(Node& node, const AttentionPositions& at, int64_t before, int64_t after) {
  Value* inside = nullptr;
  auto bound = [&](Value* lower, Value* upper) {
    Value* holds = node.build.scalar_op(ScalarOp::LessEqual, {lower, upper});
    inside = inside ? node.build.scalar_op(ScalarOp::And, {inside, holds}) : holds;
  };
  constexpr int64_t kFar = INT64_C(1) << 40;  // as good as no bound
  before = std::min(before, kFar), after = std::min(after, kFar);
  auto number = [&](int64_t value) { return node.build.scalar(Scalar::of_integer(DType::I64, value)); };
  if (before >= 0) bound(node.build.sub(at.query, number(before)), at.key);
  if (after >= 0) bound(at.key, node.build.add(at.query, number(after)));
  return inside;
}

Value* sees_nothing(Node& node, Value* bias) {
  Value* most = node.build.reduce(OpKind::ReduceMax, bias, {bias->type.rank() - 1}, true);
  return node.build.scalar_op(ScalarOp::Equal, {most, node.build.like(bias, -INFINITY)});
}

Value* attend(Node& node, const AttentionCall& call) {
  Value* y =
      composites::attention(node.build, call.q, call.k, call.v, call.bias, call.scale, call.causal, call.softcap);
  if (!call.bias || !call.zero_where_masked) return y;
  return node.build.select(sees_nothing(node, call.bias), node.build.like(y, 0), y);
}

void set_scale(Node& node, AttentionCall& call) {
  const Dim size = call.q->type.shape[3];
  const double given = node.number_or("scale", 0);
  std::optional<int64_t> known = value_of(size);
  if (given != 0) {
    call.scale = given;
  } else if (known) {
    call.scale = 1 / std::sqrt(static_cast<double>(*known));
  } else {
    Value* root = node.build.scalar_op(ScalarOp::Sqrt,
                                       {node.build.convert(node.build.dims_tensor({size}, {}), call.q->type.dtype)});
    call.q = node.build.div(call.q, root);
    call.scale = 1;
  }
}

Value* rotated(Node& node, Value* x, Value* cosine, Value* sine, Dim count, bool interleaved) {
  GraphBuilder& build = node.build;
  DimPool& dims = node.dims();
  const Shape shape = x->type.shape;
  Dim two = dims.constant(2), zero = dims.constant(0), half = dims.floordiv(count, two);
  Value* turned = build.slice_axis(x, 3, zero, count);
  Value *first, *second;
  if (interleaved) {
    Value* pairs = build.reshape(turned, {shape[0], shape[1], shape[2], half, two});
    auto part = [&](int64_t index) {
      return build.drop_axes(build.slice_axis(pairs, 4, dims.constant(index), dims.constant(1)), {4});
    };
    first = part(0), second = part(1);
  } else {
    first = build.slice_axis(turned, 3, zero, half), second = build.slice_axis(turned, 3, half, half);
  }
  cosine = build.expand_axes(cosine, {1}), sine = build.expand_axes(sine, {1});
  Value* real = build.sub(build.mul(first, cosine), build.mul(second, sine));
  Value* imaginary = build.add(build.mul(first, sine), build.mul(second, cosine));
  if (interleaved) {
    Value* pairs = build.concat({build.expand_axes(real, {4}), build.expand_axes(imaginary, {4})}, 4);
    turned = build.reshape(pairs, {shape[0], shape[1], shape[2], count});
  } else {
    turned = build.concat({real, imaginary}, 3);
  }
  if (known_equal(count, shape[3])) return turned;
  return build.concat({turned, build.slice_axis(x, 3, count, dims.sub(shape[3], count))}, 3);
}

}  // namespace lapidary::frontend
