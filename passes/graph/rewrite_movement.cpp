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

// transpose(x) with extents of 1 == reshape(transpose(reshape(x))) without them
Value* transpose_without_units(GraphBuilder& b, Op& op) {
  if (!op.is(OpKind::Transpose)) return nullptr;
  const Shape& from = op.operand(0)->type.shape;
  std::vector<int64_t> place(from.size(), -1), perm;
  Shape shape;
  for (size_t axis = 0; axis < from.size(); ++axis) {
    if (is_one(from[axis])) continue;
    place[axis] = static_cast<int64_t>(shape.size());
    shape.push_back(from[axis]);
  }
  if (shape.size() == from.size()) return nullptr;
  for (int64_t axis : op.params.integers("perm"))
    if (place[static_cast<size_t>(axis)] >= 0) perm.push_back(place[static_cast<size_t>(axis)]);
  return b.reshape(b.transpose(b.reshape(op.operand(0), shape), perm), op.type().shape);
}

// For each axis of `whole` the axes of `parts` it is split into; nothing when `parts` is not that.
std::optional<std::vector<Shape>> splits(DimPool& dims, const Shape& whole, const Shape& parts) {
  std::vector<Shape> runs;
  size_t next = 0;
  for (Dim extent : whole) {
    Shape run;
    Dim product = dims.constant(1);
    while ((run.empty() || !known_equal(product, extent)) && next < parts.size()) {
      run.push_back(parts[next++]);
      product = dims.mul(product, run.back());
    }
    if (run.empty() || !known_equal(product, extent)) return std::nullopt;
    runs.push_back(run);
  }
  return next == parts.size() ? std::optional(runs) : std::nullopt;
}

// split(transpose(x)) == transpose(split(x)): axes are split where they are contiguous, so that a transpose between
// [S, H·D] and [H, S, D] is seen as one view. Merging reshapes stay behind the transpose.
Value* split_before_transpose(GraphBuilder& b, Op& op) {
  Op* transpose = op.is(OpKind::Reshape) ? producer_of_kind(op.operand(0), OpKind::Transpose) : nullptr;
  if (!transpose) return nullptr;
  Shape parts = op.type().shape;
  std::erase_if(parts, is_one);
  auto runs = splits(b.module.dims, transpose->type().shape, parts);
  if (!runs || parts.size() == runs->size()) return nullptr;
  const auto& perm = transpose->params.integers("perm");
  std::vector<Shape> runs_before(perm.size());
  for (size_t axis = 0; axis < perm.size(); ++axis) runs_before[static_cast<size_t>(perm[axis])] = (*runs)[axis];
  Shape shape;
  std::vector<int64_t> first(perm.size()), split_perm;
  for (size_t axis = 0; axis < perm.size(); ++axis) {
    first[axis] = static_cast<int64_t>(shape.size());
    shape.insert(shape.end(), runs_before[axis].begin(), runs_before[axis].end());
  }
  for (int64_t axis : perm)
    for (size_t i = 0; i < runs_before[static_cast<size_t>(axis)].size(); ++i)
      split_perm.push_back(first[static_cast<size_t>(axis)] + static_cast<int64_t>(i));
  return b.reshape(b.transpose(b.reshape(transpose->operand(0), shape), split_perm), op.type().shape);
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
  if (forward && op.type().shape == op.operand(0)->type.shape && std::ranges::all_of(starts, is_zero))
    return op.operand(0);
  Op* inner = producer_of_kind(op.operand(0), OpKind::Slice);
  if (!inner) return nullptr;
  Shape combined_starts;
  std::vector<int64_t> combined_steps;
  DimPool& dims = b.module.dims;
  for (size_t axis = 0; axis < steps.size(); ++axis) {
    int64_t step = inner->params.integers("steps")[axis];
    combined_starts.push_back(
        dims.add(inner->params.dims("starts")[axis], dims.mul(dims.constant(step), starts[axis])));
    combined_steps.push_back(step * steps[axis]);
  }
  return b.slice(inner->operand(0), combined_starts, combined_steps, op.type().shape);
}

// slice(transpose(x)) == transpose(slice(x)): a part of one axis, as of q, k and v in one, is taken where it is
// adjacent
Value* slice_before_transpose(GraphBuilder& b, Op& op) {
  Op* transpose = op.is(OpKind::Slice) ? producer_of_kind(op.operand(0), OpKind::Transpose) : nullptr;
  if (!transpose) return nullptr;
  const auto& perm = transpose->params.integers("perm");
  Shape starts(perm.size()), sizes(perm.size());
  std::vector<int64_t> steps(perm.size());
  for (size_t axis = 0; axis < perm.size(); ++axis) {
    auto before = static_cast<size_t>(perm[axis]);
    starts[before] = op.params.dims("starts")[axis];
    steps[before] = op.params.integers("steps")[axis];
    sizes[before] = op.type().shape[axis];
  }
  return b.transpose(b.slice(transpose->operand(0), starts, steps, sizes), perm);
}

// concat(x) == x; concat(x, nothing) == x
Value* empty_parts(GraphBuilder& b, Op& op) {
  if (!op.is(OpKind::Concat)) return nullptr;
  if (op.operands.size() == 1) return op.operand(0);
  const int64_t axis = op.params.integer("axis");
  std::vector<Value*> parts = op.operands;
  std::erase_if(parts, [&](const Value* part) { return value_of(part->type.shape[axis]) == 0; });
  if (parts.empty()) return op.operand(0);
  return parts.size() < op.operands.size() ? b.concat(parts, static_cast<int>(axis)) : nullptr;
}

// concat(a, concat(b, c)) == concat(a, b, c) along one axis when nobody else reads the inner one
Value* nested_concat(GraphBuilder& b, Op& op) {
  if (!op.is(OpKind::Concat)) return nullptr;
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
  if (!op.is(OpKind::ReduceSum) && !op.is(OpKind::ReduceProd) && !op.is(OpKind::ReduceMax) &&
      !op.is(OpKind::ReduceMin) && !op.is(OpKind::ReduceMean))
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

constexpr Rewrite kRewrites[] = {nested_reshape,
                                 nested_transpose,
                                 transpose_of_units,
                                 transpose_without_units,
                                 split_before_transpose,
                                 nested_broadcast,
                                 broadcast_without_copies,
                                 moved_scalar,
                                 nested_slice,
                                 slice_before_transpose,
                                 empty_parts,
                                 nested_concat,
                                 empty_pad,
                                 reduce_units,
                                 gather_one};

}  // namespace

std::span<const Rewrite> movement_rewrites() { return kRewrites; }

}  // namespace lapidary::passes
