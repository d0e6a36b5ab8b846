// What goes through indices or an order: scatter, scan, top_k.
#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "ir/interpreter_ops.h"

namespace lapidary {

Tensor run_scatter(const Execution& x) {
  const Tensor &indices = x.operand(1), &updates = x.operand(2);
  const auto axis = static_cast<size_t>(x.params().integer("axis"));
  const bool elements = x.params().integer("elements") != 0;
  const auto combine = parse_scalar_op(x.params().text("reduction"));
  Tensor result = x.operand(0);
  for (size_t i = 0; i < result.shape.size(); i++) {
    const bool fits = elements ? updates.shape[i] <= result.shape[i] : updates.shape[i] == result.shape[i];
    if (i != axis && !fits) x.fail(fmt::format("axis {} of the updates does not fit the data's", i));
  }
  const Extents strides = dense_strides(result.shape);
  int64_t from = 0;
  for_each_coordinate(updates.shape, [&](const Extents& at) {
    const int64_t index = indices.integers[elements ? from : at[axis]];
    int64_t to = checked_index(x, index, result.shape[axis]) * strides[axis];
    for (size_t i = 0; i < at.size(); i++) to += i == axis ? 0 : at[i] * strides[i];
    const Scalar update = updates.at(from++);
    result.set(to, combine ? evaluate(*combine, std::array{result.at(to), update}, /*round=*/false) : update);
  });
  round_elements(result, x.round);
  return result;
}

Tensor run_scan(const Execution& x) {
  const Tensor& from = x.operand(0);
  const auto axis = static_cast<size_t>(x.params().integer("axis"));
  const ScalarOp combine = *parse_scalar_op(x.params().text("op"));
  const bool exclusive = x.params().integer_or("exclusive", 0) != 0, reverse = x.params().integer_or("reverse", 0) != 0;
  Tensor result = Tensor::zeros(from.dtype, from.shape);
  const int64_t stride = dense_strides(from.shape)[axis], extent = from.shape[axis];
  Extents lines = from.shape;
  lines[axis] = std::min<int64_t>(extent, 1);
  const Extents strides = dense_strides(from.shape);
  for_each_coordinate(lines, [&](const Extents& line) {
    int64_t start = 0;
    for (size_t i = 0; i < line.size(); i++) start += line[i] * strides[i];
    Scalar sum = identity_of(combine, from.dtype);
    for (int64_t i = 0; i < extent; i++) {
      const int64_t at = start + (reverse ? extent - 1 - i : i) * stride;
      const Scalar next = evaluate(combine, std::array{sum, from.at(at)}, /*round=*/false);
      result.set(at, exclusive ? sum : next);
      sum = next;
    }
  });
  round_elements(result, x.round);
  return result;
}

namespace {

// Is a greater than b? NaN is the greatest number.
bool greater(const Scalar& a, const Scalar& b) {
  if (is_float(a.dtype)) return a.number > b.number || (std::isnan(a.number) && !std::isnan(b.number));
  if (is_signed_integer(a.dtype)) return a.integer > b.integer;
  return static_cast<uint64_t>(a.integer) > static_cast<uint64_t>(b.integer);
}

}  // namespace

std::vector<Tensor> run_top_k(const Execution& x) {
  const Tensor& from = x.operand(0);
  const auto axis = static_cast<size_t>(x.params().integer("axis"));
  const bool largest = x.params().integer("largest") != 0;
  const int64_t extent = from.shape[axis], k = x.value(x.params().dim("k"));
  if (k < 0 || k > extent) x.fail(fmt::format("k is {}, axis {} has extent {}", k, axis, extent));
  Extents shape = from.shape, lines = from.shape;
  shape[axis] = k;
  lines[axis] = std::min<int64_t>(k, 1);
  Tensor values = Tensor::zeros(from.dtype, shape), places = Tensor::zeros(DType::I64, shape);
  const Extents strides = dense_strides(from.shape), to_strides = dense_strides(shape);
  std::vector<int64_t> order(static_cast<size_t>(extent));
  for_each_coordinate(lines, [&](const Extents& line) {
    int64_t start = 0, to = 0;
    for (size_t i = 0; i < line.size(); i++) start += line[i] * strides[i], to += line[i] * to_strides[i];
    const auto element = [&](int64_t i) { return from.at(start + i * strides[axis]); };
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
      return largest ? greater(element(a), element(b)) : greater(element(b), element(a));
    });
    for (int64_t i = 0; i < k; i++) {
      values.set(to + i * to_strides[axis], element(order[i]));
      places.integers[to + i * to_strides[axis]] = order[i];
    }
  });
  return {std::move(values), std::move(places)};
}

}  // namespace lapidary
