// Ops that make or move elements without arithmetic.
#include <algorithm>

#include "ir/interpreter_ops.h"

namespace lapidary {

int64_t checked_index(const Execution& x, int64_t index, int64_t extent) {
  if (index < -extent || index >= extent)
    x.fail(fmt::format("index {} is out of range for an axis of extent {}", index, extent));
  return index < 0 ? index + extent : index;
}

Tensor run_constant(const Execution& x) {
  ConstantId id = x.params().constant("value");
  const Constant& constant = x.module.constants[id];
  Scalar splat;
  if (!x.module.constants.is_splat(id, &splat))
    return Tensor::from_bytes(constant.dtype, constant.shape, x.module.constants.bytes_of(id));
  Tensor result = Tensor::zeros(constant.dtype, constant.shape);
  std::fill(result.numbers.begin(), result.numbers.end(), splat.number);
  std::fill(result.integers.begin(), result.integers.end(), splat.integer);
  return result;
}

Tensor run_dims_tensor(const Execution& x) {
  Tensor result = Tensor::zeros(x.params().dtype("dtype"), x.params().integers("shape"));
  Extents elements = x.values(x.params().dims("elements"));
  LPD_CHECK(static_cast<int64_t>(elements.size()) == result.elements());
  for (size_t i = 0; i < elements.size(); i++)
    result.set(i, convert(Scalar::of_integer(DType::I64, elements[i]), result.dtype));
  return result;
}

Tensor run_iota(const Execution& x) {
  Tensor result = Tensor::zeros(x.params().dtype("dtype"), x.values(x.params().dims("shape")));
  auto axis = static_cast<size_t>(x.params().integer("axis"));
  uint64_t start = x.params().has("start") ? x.value(x.params().dim("start")) : 0;
  uint64_t step = x.params().has("step") ? x.value(x.params().dim("step")) : 1;
  int64_t inner = dense_strides(result.shape)[axis], extent = result.shape[axis], count = result.elements();
  for (int64_t i = 0; i < count; i++) {
    auto coordinate = static_cast<uint64_t>(i / inner % extent);
    auto value = static_cast<int64_t>(start + step * coordinate);
    result.set(i, convert(Scalar::of_integer(DType::I64, value), result.dtype, x.round));
  }
  return result;
}

Tensor run_broadcast(const Execution& x) {
  const Tensor& from = x.operand(0);
  Extents shape = x.values(x.params().dims("shape")), strides(shape.size(), 0), old_strides = dense_strides(from.shape);
  const Extents& axes = x.params().integers("axes");
  for (size_t i = 0; i < axes.size(); i++) {
    if (from.shape[i] != 1 && from.shape[i] != shape[axes[i]])
      x.fail(fmt::format("extent {} must be 1 or {}", from.shape[i], shape[axes[i]]));
    strides[axes[i]] = from.shape[i] == 1 ? 0 : old_strides[i];
  }
  return strided(from, shape, strides);
}

Tensor run_reshape(const Execution& x) {
  Tensor result = x.operand(0);
  result.shape = x.values(x.params().dims("shape"));
  if (result.elements() != x.operand(0).elements())
    x.fail(fmt::format("shape [{}] does not reshape to [{}]", fmt::join(x.operand(0).shape, ", "),
                       fmt::join(result.shape, ", ")));
  return result;
}

Tensor run_transpose(const Execution& x) { return transposed(x.operand(0), x.params().integers("perm")); }

Tensor run_slice(const Execution& x) {
  const Tensor& from = x.operand(0);
  Extents starts = x.values(x.params().dims("starts")), sizes = x.values(x.params().dims("sizes"));
  Extents steps = x.params().integers("steps"), strides = dense_strides(from.shape);
  int64_t offset = 0;
  if (product_of(sizes) == 0) return Tensor::zeros(from.dtype, sizes);
  for (size_t axis = 0; axis < sizes.size(); axis++) {
    int64_t last = starts[axis] + (sizes[axis] - 1) * steps[axis], extent = from.shape[axis];
    if (starts[axis] < 0 || starts[axis] >= extent || last < 0 || last >= extent)
      x.fail(fmt::format("a slice from {} to {} leaves the extent {}", starts[axis], last, extent));
    offset += starts[axis] * strides[axis];
    strides[axis] *= steps[axis];
  }
  return strided(from, sizes, strides, offset);
}

Tensor run_concat(const Execution& x) {
  auto axis = static_cast<size_t>(x.params().integer("axis"));
  Extents shape = x.operand(0).shape;
  shape[axis] = 0;
  for (const TensorRef& part : x.operands) {
    Extents expected = part->shape;
    expected[axis] = shape[axis];
    if (expected != shape) x.fail("the operands' extents differ beside the concatenated axis");
    shape[axis] += part->shape[axis];
  }
  Tensor result = Tensor::zeros(x.operand(0).dtype, shape);
  int64_t inner = product_of({shape.begin() + axis + 1, shape.end()}), row = shape[axis] * inner, at = 0;
  for (const TensorRef& part : x.operands) {
    int64_t run = part->shape[axis] * inner;
    for (int64_t from = 0, to = at; from < part->elements(); from += run, to += row) {
      with_element_type(result, [&](auto element) {
        using T = decltype(element);
        std::copy_n(data_of<T>(*part) + from, run, data_of<T>(result) + to);
      });
    }
    at += run;
  }
  return result;
}

namespace {

// Where element i of an axis comes from, -1 for the fill value. reflect mirrors without repeating the edge.
int64_t pad_source(const std::string& mode, int64_t i, int64_t extent) {
  if (i >= 0 && i < extent) return i;
  if (mode == "constant") return -1;
  if (mode == "edge") return std::clamp<int64_t>(i, 0, extent - 1);
  int64_t period = mode == "wrap" ? extent : std::max<int64_t>(2 * (extent - 1), 1);
  int64_t at = (i % period + period) % period;
  return at < extent ? at : period - at;
}

}  // namespace

Tensor run_pad(const Execution& x) {
  const Tensor& from = x.operand(0);
  const std::string& mode = x.params().text("mode");
  Extents lo = x.values(x.params().dims("lo")), hi = x.values(x.params().dims("hi")), shape = from.shape;
  std::vector<Extents> sources(shape.size());  // for each axis and coordinate of the result
  for (size_t axis = 0; axis < shape.size(); axis++) {
    shape[axis] += lo[axis] + hi[axis];
    if (from.shape[axis] == 0 && shape[axis] > 0 && mode != "constant")
      x.fail(fmt::format("an axis of extent 0 cannot be padded by mode {}", mode));
    for (int64_t i = 0; i < shape[axis]; i++) sources[axis].push_back(pad_source(mode, i - lo[axis], from.shape[axis]));
  }
  Tensor result = Tensor::zeros(from.dtype, shape);
  Scalar fill = x.operands.size() == 2 ? x.operand(1).at(0) : Scalar{from.dtype, 0, 0};
  Extents strides = dense_strides(from.shape);
  int64_t to = 0;
  for_each_coordinate(shape, [&](const Extents& at) {
    int64_t offset = 0;
    bool inside = true;
    for (size_t axis = 0; axis < at.size(); axis++) {
      int64_t source = sources[axis][at[axis]];
      inside &= source >= 0;
      offset += source * strides[axis];
    }
    result.set(to++, inside ? from.at(offset) : fill);
  });
  return result;
}

Tensor run_gather(const Execution& x) {
  const Tensor &from = x.operand(0), &indices = x.operand(1);
  auto axis = static_cast<size_t>(x.params().integer("axis"));
  Extents shape(from.shape.begin(), from.shape.begin() + axis);
  int64_t outer = product_of(shape), inner = product_of({from.shape.begin() + axis + 1, from.shape.end()});
  shape.insert(shape.end(), indices.shape.begin(), indices.shape.end());
  shape.insert(shape.end(), from.shape.begin() + axis + 1, from.shape.end());
  Tensor result = Tensor::zeros(from.dtype, shape);
  int64_t to = 0, extent = from.shape[axis];
  for (int64_t o = 0; o < outer; o++) {
    for (int64_t index : indices.integers) {
      int64_t start = (o * extent + checked_index(x, index, extent)) * inner;
      for (int64_t i = 0; i < inner; i++) result.set(to++, from.at(start + i));
    }
  }
  return result;
}

Tensor run_gather_elements(const Execution& x) {
  const Tensor &from = x.operand(0), &indices = x.operand(1);
  auto axis = static_cast<size_t>(x.params().integer("axis"));
  for (size_t i = 0; i < from.shape.size(); i++)
    if (i != axis && indices.shape[i] > from.shape[i])
      x.fail(fmt::format("axis {} of the indices exceeds the data's", i));
  Tensor result = Tensor::zeros(from.dtype, indices.shape);
  Extents strides = dense_strides(from.shape);
  int64_t to = 0;
  for_each_coordinate(indices.shape, [&](const Extents& at) {
    int64_t offset = checked_index(x, indices.integers[to], from.shape[axis]) * strides[axis];
    for (size_t i = 0; i < at.size(); i++) offset += i == axis ? 0 : at[i] * strides[i];
    result.set(to++, from.at(offset));
  });
  return result;
}

Tensor run_true_positions(const Execution& x) {
  const Tensor& mask = x.operand(0);
  Tensor result{DType::I64, {}, {}, {}};
  for (int64_t i = 0; i < mask.elements(); i++)
    if (mask.integers[static_cast<size_t>(i)] != 0) result.integers.push_back(i);
  result.shape = {static_cast<int64_t>(result.integers.size())};
  return result;
}

Tensor run_bit_cast(const Execution& x) {
  const Tensor& from = x.operand(0);
  Extents shape = x.params().has("shape") ? x.values(x.params().dims("shape")) : from.shape;
  return Tensor::from_bytes(x.params().dtype("to"), std::move(shape), from.to_bytes());
}

}  // namespace lapidary
