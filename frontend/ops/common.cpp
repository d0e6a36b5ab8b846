#include "frontend/ops/common.h"

#include <algorithm>

#include "ir/shape_rules.h"

namespace lapidary::frontend {

const Constant* constant_of(const Module& module, const Value* value) {
  if (!value->producer || !value->producer->is(OpKind::Constant)) return nullptr;
  return &module.constants[value->producer->params.constant("value")];
}

std::optional<std::vector<Scalar>> scalars_of(const Module& module, const Value* value) {
  constexpr int64_t kMost = 64;
  const Constant* constant = constant_of(module, value);
  if (!constant || constant->elements() > kMost) return std::nullopt;
  return module.constants.scalars_of(value->producer->params.constant("value"));
}

std::optional<Scalar> scalar_of(const Module& module, const Value* value) {
  if (value->has_elements()) {
    if (value->elements.size() != 1) return std::nullopt;
    std::optional<int64_t> known = value_of(value->elements[0]);
    return known ? std::optional(Scalar::of_integer(value->type.dtype, *known)) : std::nullopt;
  }
  auto scalars = scalars_of(module, value);
  return scalars && scalars->size() == 1 ? std::optional((*scalars)[0]) : std::nullopt;
}

void check_indices(Node& node, const Value* indices, std::span<const Dim> extents) {
  auto known = scalars_of(node.build.module, indices);
  if (!known) return;
  for (size_t i = 0; i < known->size(); ++i) {
    std::optional<int64_t> size = value_of(extents[i % extents.size()]);
    int64_t index = (*known)[i].integer;
    if (size && (index < -*size || index >= *size)) fail("index {} not in [{}, {}]", index, -*size, *size - 1);
  }
}

IndexTuples index_tuples(Node& node, const Shape& shape, Value* indices) {
  GraphBuilder& build = node.build;
  const auto number = [&](Dim value) { return build.dims_tensor({value}, {}, DType::I64); };
  indices = build.convert(indices, DType::I64);
  const int last = indices->type.rank() - 1;
  std::optional<int64_t> width = last >= 0 ? value_of(indices->type.shape[last]) : std::nullopt;
  if (!width) unsupported("index tuples of unknown length");
  if (*width < 1 || *width > static_cast<int64_t>(shape.size()))
    fail("index tuples have {} elements, data has rank {}", *width, shape.size());
  check_indices(node, indices, std::span(shape).first(*width));
  Value *position = nullptr, *inside = nullptr;
  for (int axis = 0; axis < *width; ++axis) {
    Value* index = build.drop_axes(build.slice_axis(indices, last, build.dim(axis), build.dim(1)), {last});
    Value *extent = number(shape[axis]), *zero = number(build.dim(0));
    index = build.select(build.scalar_op(ScalarOp::Less, {index, zero}), build.add(index, extent), index);
    Value* here = build.scalar_op(ScalarOp::And, {build.scalar_op(ScalarOp::LessEqual, {zero, index}),
                                                  build.scalar_op(ScalarOp::Less, {index, extent})});
    position = position ? build.add(build.mul(position, extent), index) : index;
    inside = inside ? build.scalar_op(ScalarOp::And, {inside, here}) : here;
  }
  Value* outside = number(node.dims().product(std::span(shape).first(*width)));
  return {*width, build.select(inside, position, outside)};
}

Value* legacy_aligned(Node& node, Value* a, Value* b) {
  if (node.version >= 7) return b;
  if (node.integer_or("broadcast", 0) == 0) {
    if (a->type.rank() != b->type.rank())
      fail("operands have ranks {} and {}, and broadcast is 0", a->type.rank(), b->type.rank());
    return b;
  }
  if (!node.has("axis")) return b;
  int axis = normalized_axis(node.integer("axis"), a->type.rank());
  int trailing = a->type.rank() - axis - b->type.rank();
  if (trailing < 0) fail("input 1 has rank {}, too many for axis {} of rank {}", b->type.rank(), axis, a->type.rank());
  std::vector<int64_t> added = axes_from(b->type.rank(), b->type.rank() + trailing);
  return added.empty() ? b : node.build.expand_axes(b, added);
}

void check_rank(const Value* value, int rank, const char* what) {
  if (value->type.rank() != rank) fail("{} has rank {}, expected {}", what, value->type.rank(), rank);
}

Value* as_scalar(GraphBuilder& build, Value* value, const char* what) {
  for (Dim extent : value->type.shape)
    if (value_of(extent) != 1) fail("{} is {}, expected one element", what, to_string(value->type));
  return value->type.rank() == 0 ? value : build.reshape(value, {});
}

void require_same(Node& node, Dim a, Dim b, const char* what) {
  Module& module = node.build.module;
  if (known_unequal(a, b)) fail("{} are {} and {}, expected equal", what, to_string(a), to_string(b));
  require_equal(module, a, b, module.describe(node.build.origin) + ": " + what);
}

Value* flattened(Node& node, Value* a, int axis) {
  const Shape& shape = a->type.shape;
  std::span<const Dim> dims(shape);
  return node.build.reshape(a, {node.dims().product(dims.subspan(0, axis)), node.dims().product(dims.subspan(axis))});
}

}  // namespace lapidary::frontend
