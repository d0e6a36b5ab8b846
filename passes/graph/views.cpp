// See views.h.
#include "passes/graph/views.h"

#include <algorithm>

namespace lapidary::passes {

namespace {

using Strides = std::vector<Dim>;

bool is_one(Dim dim) { return value_of(dim) == 1; }

// Axes [first, last) of `shape` walked as one: they must be adjacent in memory; the stride is the innermost one's.
std::optional<Dim> merged_stride(DimPool& dims, const Shape& shape, const Strides& strides, size_t first, size_t last) {
  Dim innermost = nullptr, next = nullptr;
  for (size_t axis = last; axis-- > first;) {
    if (is_one(shape[axis])) continue;
    if (next && !known_equal(strides[axis], next)) return std::nullopt;
    if (!innermost) innermost = strides[axis];
    next = dims.mul(strides[axis], shape[axis]);
  }
  return innermost ? innermost : dims.constant(0);
}

// Matches runs of axes of equal product, left to right, and deals each run's stride out to the new axes.
std::optional<Strides> reshaped(DimPool& dims, const Shape& from, const Strides& strides, const Shape& to) {
  Strides result(to.size(), dims.constant(0));
  size_t i = 0, j = 0;
  while (i < from.size() || j < to.size()) {
    size_t first_from = i, first_to = j;
    Dim old_product = dims.constant(1), new_product = dims.constant(1);
    if (i < from.size()) old_product = from[i++];
    if (j < to.size()) new_product = to[j++];
    while (!known_equal(old_product, new_product)) {
      auto old_value = value_of(old_product), new_value = value_of(new_product);
      bool take_new =
          j < to.size() &&
          (i == from.size() || (old_value && new_value ? *new_value < *old_value : j - first_to <= i - first_from));
      if (take_new)
        new_product = dims.mul(new_product, to[j++]);
      else if (i < from.size())
        old_product = dims.mul(old_product, from[i++]);
      else
        return std::nullopt;
    }
    auto stride = merged_stride(dims, from, strides, first_from, i);
    if (!stride) return std::nullopt;
    Dim next = *stride;
    for (size_t axis = j; axis-- > first_to;) {
      result[axis] = next;
      next = dims.mul(next, to[axis]);
    }
  }
  return result;
}

bool step(DimPool& dims, const Op& op, StridedView& view) {
  const Shape& from = op.operand(0)->type.shape;
  if (op.is(OpKind::Reshape)) {
    auto strides = reshaped(dims, from, view.strides, op.type().shape);
    if (strides) view.strides = *strides;
    return strides.has_value();
  }
  Strides before = view.strides;
  if (op.is(OpKind::Transpose)) {
    const auto& perm = op.params.integers("perm");
    for (size_t axis = 0; axis < perm.size(); ++axis) view.strides[axis] = before[perm[axis]];
  } else if (op.is(OpKind::Slice)) {
    for (size_t axis = 0; axis < before.size(); ++axis) {
      view.offset = dims.add(view.offset, dims.mul(before[axis], op.params.dims("starts")[axis]));
      view.strides[axis] = dims.mul(before[axis], dims.constant(op.params.integers("steps")[axis]));
    }
  } else {
    const auto& axes = op.params.integers("axes");
    view.strides.assign(op.type().shape.size(), dims.constant(0));
    for (size_t axis = 0; axis < axes.size(); ++axis)
      if (from[axis] == op.type().shape[axes[axis]])
        view.strides[axes[axis]] = before[axis];
      else if (!is_one(from[axis]))
        return false;
  }
  return true;
}

}  // namespace

Strides dense_strides(DimPool& dims, const Shape& shape) {
  Strides strides(shape.size());
  Dim stride = dims.constant(1);
  for (size_t axis = shape.size(); axis-- > 0;) {
    strides[axis] = stride;
    stride = dims.mul(stride, shape[axis]);
  }
  return strides;
}

bool is_view_op(const Op& op) {
  return op.is(OpKind::Transpose) || op.is(OpKind::Reshape) || op.is(OpKind::Slice) || op.is(OpKind::Broadcast);
}

namespace {

// The view's chain of shape ops, and behind them what it is of.
std::optional<StridedView> viewed(DimPool& dims, Value* value, int depth, std::optional<Strides> strides) {
  std::vector<const Op*> chain;
  for (; depth > 0; --depth) {
    if (!value->producer || !is_view_op(*value->producer)) return std::nullopt;
    chain.push_back(value->producer);
    value = value->producer->operand(0);
  }
  if (!strides) strides = dense_strides(dims, value->type.shape);
  StridedView view{value, dims.constant(0), *strides};
  for (auto op = chain.rbegin(); op != chain.rend(); ++op)
    if (!step(dims, **op, view)) return std::nullopt;
  return view;
}

}  // namespace

std::optional<StridedView> strided_view(DimPool& dims, Value* value, int depth) {
  return viewed(dims, value, depth, std::nullopt);
}

std::optional<StridedView> strided_view(DimPool& dims, Value* value, int depth, Strides base_strides) {
  return viewed(dims, value, depth, std::move(base_strides));
}

}  // namespace lapidary::passes
