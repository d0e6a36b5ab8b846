// Rules on ops that only move elements: compose two into one, drop those that change nothing, and prefer the reshape,
// which moves nothing at all.
#include <algorithm>
#include <numeric>

#include "passes/graph/rewrites.h"
#include "passes/graph/walk.h"

namespace lapidary::passes {

namespace {

bool is_one(Dim dim) { return value_of(dim) == 1; }
bool is_zero(Dim dim) { return value_of(dim) == 0; }

// reshape(reshape(x)) == reshape(x); reshape(x, shape of x) == x
Value* nested_reshape(GraphBuilder& b, Op& op) {
  if (!op.is(OpKind::Reshape)) return nullptr;
  if (op.operand(0)->type.shape == op.type().shape) return op.operand(0);
  Op* inner = producer_of_kind(op.operand(0), OpKind::Reshape);
  return inner ? b.reshape(inner->operand(0), op.type().shape) : nullptr;
}

// transpose(transpose(x, p), q) == transpose(x, p∘q); transpose(x, identity) == x
Value* nested_transpose(GraphBuilder& b, Op& op) {
  if (!op.is(OpKind::Transpose)) return nullptr;
  std::vector<int64_t> perm = op.params.integers("perm");
  if (std::ranges::is_sorted(perm)) return op.operand(0);
  Op* inner = producer_of_kind(op.operand(0), OpKind::Transpose);
  if (!inner) return nullptr;
  for (int64_t& axis : perm) axis = inner->params.integers("perm")[axis];
  return b.transpose(inner->operand(0), perm);
}

// A transpose that keeps the order of all axes longer than 1 is a reshape.
Value* transpose_of_units(GraphBuilder& b, Op& op) {
  if (!op.is(OpKind::Transpose)) return nullptr;
  std::vector<int64_t> moving;
  for (int64_t axis : op.params.integers("perm"))
    if (!is_one(op.operand(0)->type.shape[axis])) moving.push_back(axis);
  return std::ranges::is_sorted(moving) ? b.reshape(op.operand(0), op.type().shape) : nullptr;
}

// The axes of `longer` that are left when its extents of 1 that `shorter` lacks are dropped; empty when the shapes do
// not differ by inserted extents of 1 alone.
std::optional<std::vector<int64_t>> axes_kept(const Shape& shorter, const Shape& longer) {
  std::vector<int64_t> kept;
  for (size_t axis = 0; axis < longer.size(); ++axis) {
    if (kept.size() < shorter.size() && longer[axis] == shorter[kept.size()])
      kept.push_back(static_cast<int64_t>(axis));
    else if (!is_one(longer[axis]))
      return std::nullopt;
  }
  if (kept.size() != shorter.size()) return std::nullopt;
  return kept;
}

// broadcast(broadcast(x)) == broadcast(x); broadcast(reshape(x)) == broadcast(x) when the reshape inserts extents of 1
Value* nested_broadcast(GraphBuilder& b, Op& op) {
  if (!op.is(OpKind::Broadcast)) return nullptr;
  Op* inner = op.operand(0)->producer;
  if (!inner) return nullptr;
  std::vector<int64_t> axes;
  if (inner->is(OpKind::Broadcast)) {
    axes = inner->params.integers("axes");
  } else if (inner->is(OpKind::Reshape)) {
    auto kept = axes_kept(inner->operand(0)->type.shape, inner->type().shape);
    if (!kept) return nullptr;
    axes = *kept;
  } else {
    return nullptr;
  }
  for (int64_t& axis : axes) axis = op.params.integers("axes")[axis];
  return b.broadcast(inner->operand(0), axes, op.type().shape);
}

// A broadcast that repeats nothing is a reshape, or nothing.
Value* broadcast_without_copies(GraphBuilder& b, Op& op) {
  if (!op.is(OpKind::Broadcast)) return nullptr;
  const Shape& from = op.operand(0)->type.shape;
  const Shape& to = op.type().shape;
  if (from == to) return op.operand(0);
  const auto& axes = op.params.integers("axes");
  for (size_t axis = 0; axis < to.size(); ++axis) {
    auto source = std::ranges::find(axes, static_cast<int64_t>(axis));
    bool kept = source != axes.end() && from[source - axes.begin()] == to[axis];
    if (!kept && !is_one(to[axis])) return nullptr;
  }
  return b.reshape(op.operand(0), to);
}

// move(broadcast(scalar)) == broadcast(scalar)
Value* moved_scalar(GraphBuilder& b, Op& op) {
  if (!op.is(OpKind::Reshape) && !op.is(OpKind::Transpose) && !op.is(OpKind::Slice)) return nullptr;
  Op* inner = producer_of_kind(op.operand(0), OpKind::Broadcast);
  if (!inner || inner->operand(0)->type.rank() != 0) return nullptr;
  return b.broadcast_to(inner->operand(0), op.type().shape);
}

// slice of everything == x; slice(slice(x, s, t), u, v) == slice(x, s + t·u, t·v)
Value* nested_slice(GraphBuilder& b, Op& op) {
  if (!op.is(OpKind::Slice)) return nullptr;
  const Shape& starts = op.params.dims("starts");
  const auto& steps = op.params.integers("steps");
  bool forward = std::ranges::all_of(steps, [](int64_t step) { return step == 1; });
  if (forward && op.type().shape == op.operand(0)->type.shape && std::ranges::all_of(starts, is_zero)) return op.operand(0);
  Op* inner = producer_of_kind(op.operand(0), OpKind::Slice);
  if (!inner) return nullptr;
  Shape combined_starts;
  std::vector<int64_t> combined_steps;
  DimPool& dims = b.module.dims;
  for (size_t axis = 0; axis < steps.size(); ++axis) {
    int64_t step = inner->params.integers("steps")[axis];
    combined_starts.push_back(dims.add(inner->params.dims("starts")[axis], dims.mul(dims.constant(step), starts[axis])));
    combined_steps.push_back(step * steps[axis]);
  }
  return b.slice(inner->operand(0), combined_starts, combined_steps, op.type().shape);
}

// concat(x) == x; concat(a, concat(b, c)) == concat(a, b, c) along one axis when nobody else reads the inner one
Value* nested_concat(GraphBuilder& b, Op& op) {
  if (!op.is(OpKind::Concat)) return nullptr;
  if (op.operands.size() == 1) return op.operand(0);
  std::vector<Value*> parts;
  for (Value* part : op.operands) {
    Op* inner = producer_of_kind(part, OpKind::Concat);
    if (inner && part->has_one_use() && inner->params.integer("axis") == op.params.integer("axis"))
      parts.insert(parts.end(), inner->operands.begin(), inner->operands.end());
    else
      parts.push_back(part);
  }
  return parts.size() > op.operands.size() ? b.concat(parts, static_cast<int>(op.params.integer("axis"))) : nullptr;
}

// pad by nothing == x
Value* empty_pad(GraphBuilder&, Op& op) {
  if (!op.is(OpKind::Pad)) return nullptr;
  bool empty = std::ranges::all_of(op.params.dims("lo"), is_zero) && std::ranges::all_of(op.params.dims("hi"), is_zero);
  return empty ? op.operand(0) : nullptr;
}

// A reduction over extents of 1 is a reshape.
Value* reduce_units(GraphBuilder& b, Op& op) {
  if (!op.is(OpKind::ReduceSum) && !op.is(OpKind::ReduceProd) && !op.is(OpKind::ReduceMax) && !op.is(OpKind::ReduceMin) &&
      !op.is(OpKind::ReduceMean))
    return nullptr;
  for (int64_t axis : op.params.integers("axes"))
    if (!is_one(op.operand(0)->type.shape[axis])) return nullptr;
  return b.reshape(op.operand(0), op.type().shape);
}

// gather(x, i) == x[i] for one constant index: a slice
Value* gather_one(GraphBuilder& b, Op& op) {
  if (!op.is(OpKind::Gather)) return nullptr;
  int axis = static_cast<int>(op.params.integer("axis"));
  Value* data = op.operand(0);
  auto index = op.operand(1)->type.rank() <= 1 ? number_of(b.module, op.operand(1)) : std::nullopt;
  if (!index || (op.operand(1)->type.rank() == 1 && !is_one(op.operand(1)->type.shape[0]))) return nullptr;
  Dim start = b.dim(static_cast<int64_t>(*index));
  if (*index < 0) start = b.module.dims.add(data->type.shape[axis], start);
  bool in_range = range(start).lo >= 0 && range(b.module.dims.sub(data->type.shape[axis], start)).lo >= 1;
  return in_range ? b.reshape(b.slice_axis(data, axis, start, b.dim(1)), op.type().shape) : nullptr;
}

constexpr Rewrite kRewrites[] = {nested_reshape, nested_transpose, transpose_of_units, nested_broadcast,
                                 broadcast_without_copies, moved_scalar, nested_slice, nested_concat,
                                 empty_pad, reduce_units, gather_one};

}  // namespace

std::span<const Rewrite> movement_rewrites() { return kRewrites; }

}  // namespace lapidary::passes
