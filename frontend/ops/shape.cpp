// Operators that ask for a shape or change it without moving an element.
#include <algorithm>
#include <numeric>

#include "frontend/ops/common.h"
#include "frontend/ops/told_axes.h"
#include "ir/shape_rules.h"

namespace lapidary::frontend {
namespace {

using Values = std::vector<Value*>;

Values shape(Node& node) {
  Value* whole = node.build.shape_of(node.input(0));
  int64_t rank = node.rank();
  int64_t start = node.integer_or("start", 0), end = node.integer_or("end", rank);
  auto clamped = [&](int64_t at) { return std::clamp<int64_t>(at < 0 ? at + rank : at, 0, rank); };
  start = clamped(start), end = std::max(clamped(end), start);
  if (start == 0 && end == rank) return {whole};
  Shape extents(node.type(0).shape.begin() + start, node.type(0).shape.begin() + end);
  return {node.build.dims_tensor(extents, {end - start})};
}

Values size(Node& node) { return {node.build.dims_tensor({node.dims().product(node.type(0).shape)}, {})}; }

// Π above / Π below, extents on both sides cancelled first, so that a symbol never stays in a division it need not be
// in: [N, S, 768] to [N, S, 12, -1] is 768 / 12.
Dim quotient(DimPool& dims, Shape above, Shape below) {
  for (Dim& extent : below) {
    auto same = std::find(above.begin(), above.end(), extent);
    if (same == above.end()) continue;
    above.erase(same);
    extent = dims.constant(1);
  }
  return dims.floordiv(dims.product(above), dims.product(below));
}

// A shape that only a run can tell: each extent may turn out to be 0, which copies, or -1, which is inferred.
Shape told_shape(Node& node, const Shape& from, const Shape& wanted, bool copies_zero) {
  DimPool& dims = node.dims();
  Dim zero = dims.constant(0), one = dims.constant(1), rest = dims.constant(-1);
  Shape extents = wanted, others;
  for (size_t i = 0; i < extents.size(); ++i) {
    if (copies_zero && i < from.size()) extents[i] = dims.select(dims.equal(wanted[i], zero), from[i], wanted[i]);
    others.push_back(dims.select(dims.equal(wanted[i], rest), one, extents[i]));
  }
  Dim inferred = quotient(dims, from, others);
  for (size_t i = 0; i < extents.size(); ++i)
    extents[i] = dims.max(dims.select(dims.equal(wanted[i], rest), inferred, extents[i]), zero);
  node.build.module.check(dims.equal(dims.product(from), dims.product(extents)),
                          "the shape has another number of elements");
  return extents;
}

Values reshape(Node& node) {
  Value* x = node.input(0);
  Shape target = node.version >= 5 ? node.extents(1) : Shape();
  if (node.version < 5) {
    for (int64_t extent : node.integers("shape")) target.push_back(node.dims().constant(extent));
  }
  const Shape wanted = target;
  bool copies_zero = node.integer_or("allowzero", 0) == 0;
  if (std::ranges::any_of(target, [](Dim extent) { return speaks_of_elements(extent) && range(extent).lo <= 0; }))
    return {node.build.reshape(x, told_shape(node, x->type.shape, target, copies_zero))};
  int inferred = -1;
  Shape others;
  for (int i = 0; i < static_cast<int>(target.size()); ++i) {
    std::optional<int64_t> known = value_of(target[i]);
    if (known == 0 && copies_zero) {
      if (i >= x->type.rank()) fail("extent 0 of axis {} copies an axis the input of rank {} lacks", i, x->type.rank());
      target[i] = x->type.shape[i];
    } else if (known == -1) {
      if (inferred >= 0) fail("two extents are -1");
      inferred = i;
      continue;
    } else if (known && *known < 0) {
      fail("extent {} of axis {}", *known, i);
    }
    others.push_back(target[i]);
  }
  if (inferred >= 0) {
    if (value_of(node.dims().product(others)) == 0) fail("cannot infer -1 beside an extent of 0");
    target[inferred] = quotient(node.dims(), x->type.shape, others);
  }
  Dim from = node.dims().product(x->type.shape), to = node.dims().product(target);
  if (known_unequal(from, to)) fail("cannot reshape {} elements to {}", to_string(from), to_string(wanted));
  return {node.build.reshape(x, target)};
}

Values flatten(Node& node) {
  int rank = node.rank();
  int64_t axis = node.integer("axis");
  if (axis < -rank || axis > rank) fail("axis {} not in [{}, {}]", axis, -rank, rank);
  return {flattened(node, node.input(0), static_cast<int>(axis < 0 ? axis + rank : axis))};
}

// Axes that only a run can tell.
Values told_squeeze(Node& node) {
  Value* x = node.input(0);
  const Shape list = node.extents(1), &extents = x->type.shape;
  const Shape chosen = told_axes(node, list, x->type.rank());
  DimPool& dims = node.dims();
  const Dim one = dims.constant(1);
  for (size_t i = 0; i < extents.size(); ++i)
    must_hold(node, dims.equal(dims.select(chosen[i], extents[i], one), one),
              "an axis to squeeze has not the extent 1");
  return {node.build.reshape(x, without(dims, extents, chosen, list.size()))};
}

Values squeeze(Node& node) {
  if (is_told_operand(node, 1)) return told_squeeze(node);
  Value* x = node.input(0);
  std::vector<int64_t> axes;
  if (node.has("axes") || node.input(1)) {
    axes = normalized_axes(node.integers_from("axes", 1), x->type.rank());
  } else {
    for (int i = 0; i < x->type.rank(); ++i) {
      if (value_of(x->type.shape[i]) == 1) axes.push_back(i);
      if (value_of(x->type.shape[i])) continue;
      must_hold(
          node, node.dims().sub(node.dims().constant(1), node.dims().equal(x->type.shape[i], node.dims().constant(1))),
          fmt::format("axis {} must not have extent 1: squeezing it, unnamed, would change the rank of the result", i));
    }
  }
  for (int64_t axis : axes) {
    std::optional<int64_t> extent = value_of(x->type.shape[axis]);
    if (extent && *extent != 1) fail("axis {} has extent {}, expected 1", axis, *extent);
  }
  return {axes.empty() ? x : node.build.drop_axes(x, axes)};
}

Values unsqueeze(Node& node) {
  Value* x = node.input(0);
  if (is_told_operand(node, 1)) {
    const Shape list = node.extents(1);
    const Shape chosen = told_axes(node, list, x->type.rank() + static_cast<int>(list.size()));
    return {node.build.reshape(x, with_units(node.dims(), x->type.shape, chosen))};
  }
  std::vector<int64_t> axes = node.integers_from("axes", 1);
  axes = normalized_axes(axes, x->type.rank() + static_cast<int>(axes.size()));
  return {axes.empty() ? x : node.build.expand_axes(x, axes)};
}

Values expand_dims(Node& node) {
  Value* x = node.input(0);
  std::vector<int64_t> axes = normalized_axes(node.constants(1), x->type.rank() + 1);
  if (axes.size() != 1) fail("axis has {}, expected 1", counted(static_cast<int64_t>(axes.size()), "element"));
  return {node.build.expand_axes(x, axes)};
}

Values expand(Node& node) {
  Value* x = node.input(0);
  Shape target = node.sizes(1);
  for (Dim extent : target) {
    if (range(extent).hi < 0) fail("negative extent {}", to_string(extent));
  }
  return {node.build.broadcast_to(x, broadcast_shapes(node.build.module, x->type.shape, target))};
}

constexpr OpEntry kOps[] = {
    {"Expand", expand},
    {"ExpandDims", expand_dims, "X: T, axis: i32 -> Y: T | | T = u8 u16 u32 u64 i8 i16 i32 i64 f16 f32 f64 bool"},
    {"Flatten", flatten},
    {"Reshape", reshape},
    {"Shape", shape},
    {"Size", size},
    {"Squeeze", squeeze},
    {"Unsqueeze", unsqueeze}};

}  // namespace

std::span<const OpEntry> shape_ops() { return kOps; }

}  // namespace lapidary::frontend
