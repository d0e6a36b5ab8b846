#include "frontend/ops/told_axes.h"

#include <algorithm>
#include <functional>

namespace lapidary::frontend {

namespace {

Dim opposite(DimPool& dims, Dim flag) { return dims.sub(dims.constant(1), flag); }

}  // namespace

void must_hold(Node& node, Dim condition, const std::string& otherwise) {
  if (value_of(condition) == 0) fail("{}", otherwise);
  node.build.module.check(condition, otherwise);
}

void must_be_lengths(Node& node, Value* lengths, Dim steps) {
  GraphBuilder& b = node.build;
  Value* given = b.convert(lengths, DType::I64);
  Value* most = b.dims_tensor({steps}, {});
  Value* wrong = b.scalar_op(ScalarOp::Or, {b.scalar_op(ScalarOp::Less, {given, b.like(given, 0)}),
                                            b.scalar_op(ScalarOp::Less, {most, given})});
  Value* count = b.reduce(OpKind::ReduceSum, b.convert(wrong, DType::I64), {0});
  const Dim none = b.dim(0);
  must_hold(node, b.module.dims.equal(b.to_host(count, {0, INT32_MAX})->elements.at(0), none),
            fmt::format("sequence_lens must be from 0 to {}", to_string(steps)));
}

bool is_told(const Shape& list) {
  return std::ranges::any_of(list, [](Dim element) { return !value_of(element); });
}

bool is_told_operand(Node& node, int input) {
  const Value* value = node.input(input);
  if (!value || value_of(node.dims().product(value->type.shape)) == 0) return false;
  return value->has_elements() ? is_told(value->elements) : !scalars_of(node.build.module, value);
}

Dim told_axis(Node& node, Dim axis, int rank) {
  DimPool& dims = node.dims();
  Dim front = dims.select(dims.less(axis, dims.constant(0)), dims.add(axis, dims.constant(rank)), axis);
  const std::string otherwise = fmt::format("an axis is not in [{}, {}]", -rank, rank - 1);
  must_hold(node, dims.less(dims.constant(-1), front), otherwise);
  must_hold(node, dims.less(front, dims.constant(rank)), otherwise);
  return front;
}

Shape told_axes(Node& node, const Shape& list, int rank) {
  const Dim one = node.dims().constant(1);
  return dealt(node, list, Shape(list.size(), one), Shape(static_cast<size_t>(rank), node.dims().constant(0)), {0, 1});
}

// The host reads what a scatter made: formulas of every axis's comparisons with every element would multiply.
Shape dealt(Node& node, const Shape& list, const Shape& given, const Shape& otherwise, Interval within) {
  GraphBuilder& build = node.build;
  DimPool& dims = node.dims();
  const auto count = static_cast<int64_t>(list.size()), rank = static_cast<int64_t>(otherwise.size());
  if (count > rank) fail("{} axes of rank {}", count, rank);
  Shape axes;
  for (Dim axis : list) axes.push_back(told_axis(node, axis, static_cast<int>(rank)));
  for (size_t k = 0; k < axes.size(); ++k)
    for (size_t earlier = 0; earlier < k; ++earlier)
      must_hold(node, opposite(dims, dims.equal(axes[earlier], axes[k])), "an axis is given twice");
  Shape all = given;
  all.insert(all.end(), otherwise.begin(), otherwise.end());
  if (std::ranges::adjacent_find(all, std::not_equal_to<>()) == all.end()) return otherwise;
  Value* places = build.dims_tensor(axes, {count});
  Value* result =
      build.scatter(build.dims_tensor(otherwise, {rank}), places, build.dims_tensor(given, {count}), 0, false, "none");
  return build.to_host(result, within)->elements;
}

Shape without(DimPool& dims, const Shape& extents, const Shape& chosen, size_t count) {
  Shape left;
  for (size_t place = 0; place + count < extents.size(); ++place) {
    Dim extent = dims.constant(1), after = dims.constant(0);  // how many are left behind axis i
    for (size_t i = extents.size(); i-- > 0;) {
      Dim stays = opposite(dims, chosen[i]);
      Dim here = dims.equal(after, dims.constant(static_cast<int64_t>(extents.size() - count - 1 - place)));
      extent = dims.select(dims.select(stays, here, dims.constant(0)), extents[i], extent);
      after = dims.add(after, stays);
    }
    left.push_back(extent);
  }
  return left;
}

Shape with_units(DimPool& dims, const Shape& extents, const Shape& chosen) {
  Shape result;
  Dim before = dims.constant(0);  // how many of the extents are at earlier axes
  for (Dim unit : chosen) {
    Dim extent = dims.constant(1);
    for (size_t j = extents.size(); j-- > 0;)
      extent = dims.select(dims.equal(before, dims.constant(static_cast<int64_t>(j))), extents[j], extent);
    result.push_back(dims.select(unit, dims.constant(1), extent));
    before = dims.add(before, opposite(dims, unit));
  }
  return result;
}

}  // namespace lapidary::frontend
