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

// The quotient is a float32's, as kernels compute it: whether it is above a threshold is all that counts.
Tensor run_suppress(const Execution& x) {
  const Tensor &boxes = x.operand(0), &order = x.operand(1), &allowed = x.operand(2);
  const auto threshold = static_cast<float>(x.operand(3).numbers[0]);
  const int64_t classes = order.shape[1], count = order.shape[2], all = boxes.shape[1],
                most = x.value(x.params().dim("most"));
  auto overlap = [&](int64_t batch, int64_t a, int64_t b) {
    float corner[2][4];
    for (int i = 0; i < 4; ++i) {
      corner[0][i] = static_cast<float>(boxes.numbers[static_cast<size_t>((batch * all + a) * 4 + i)]);
      corner[1][i] = static_cast<float>(boxes.numbers[static_cast<size_t>((batch * all + b) * 4 + i)]);
    }
    auto area = [](const float* c) { return (c[2] - c[0]) * (c[3] - c[1]); };
    const float height = std::min(corner[0][2], corner[1][2]) - std::max(corner[0][0], corner[1][0]);
    const float width = std::min(corner[0][3], corner[1][3]) - std::max(corner[0][1], corner[1][1]);
    if (!(height > 0 && width > 0)) return 0.0F;
    return height * width / (area(corner[0]) + area(corner[1]) - height * width);
  };
  Tensor result = Tensor::zeros(DType::Bool, order.shape);
  for (int64_t line = 0; line < order.shape[0] * classes; ++line) {
    std::vector<int64_t> kept;
    for (int64_t i = line * count; i < (line + 1) * count; ++i) {
      const int64_t box = order.integers[static_cast<size_t>(i)];
      const bool takes =
          allowed.integers[static_cast<size_t>(i)] != 0 && static_cast<int64_t>(kept.size()) < most &&
          std::ranges::none_of(kept, [&](int64_t other) { return overlap(line / classes, box, other) > threshold; });
      if (!takes) continue;
      kept.push_back(box);
      result.integers[static_cast<size_t>(i)] = 1;
    }
  }
  return result;
}

}  // namespace lapidary
