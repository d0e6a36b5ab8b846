#include "frontend/ops/common.h"

#include <algorithm>

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

Value* flattened(Node& node, Value* a, int axis) {
  const Shape& shape = a->type.shape;
  std::span<const Dim> dims(shape);
  return node.build.reshape(a, {node.dims().product(dims.subspan(0, axis)), node.dims().product(dims.subspan(axis))});
}

}  // namespace lapidary::frontend
