// Tensors of the interpreter and the walks over them that its ops share.
#include <algorithm>

#include "ir/interpreter_ops.h"

namespace lapidary {
namespace {

int64_t checked_count(const Extents& shape) {
  int64_t count = 1;
  for (int64_t extent : shape) {
    if (extent < 0) throw Error(Fault::Input, fmt::format("a tensor of shape [{}]", fmt::join(shape, ", ")));
    if (__builtin_mul_overflow(count, extent, &count)) throw Error(Fault::Input, "a tensor's size overflows");
  }
  return count;
}

template <typename T>
T* copy_axis(const T* from, T* to, const Extents& shape, const Extents& strides, size_t axis) {
  if (axis == shape.size()) {
    *to = *from;
    return to + 1;
  }
  int64_t stride = strides[axis];
  if (axis + 1 < shape.size()) {
    for (int64_t i = 0; i < shape[axis]; i++) to = copy_axis(from + i * stride, to, shape, strides, axis + 1);
    return to;
  }
  for (int64_t i = 0; i < shape[axis]; i++) to[i] = from[i * stride];
  return to + shape[axis];
}

}  // namespace

int64_t product_of(const Extents& extents) {
  int64_t product = 1;
  for (int64_t extent : extents) product *= extent;
  return product;
}

Extents dense_strides(const Extents& shape) {
  Extents strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
  return strides;
}

int64_t Tensor::elements() const { return product_of(shape); }

Scalar Tensor::at(int64_t index) const {
  return is_float(dtype) ? Scalar::of_float(dtype, numbers[index]) : Scalar::of_integer(dtype, integers[index]);
}

void Tensor::set(int64_t index, const Scalar& value) {
  if (is_float(dtype))
    numbers[index] = value.number;
  else
    integers[index] = value.integer;
}

Tensor Tensor::zeros(DType dtype, std::vector<int64_t> shape) {
  if (!is_float(dtype) && !is_integer(dtype) && dtype != DType::Bool && dtype != DType::String)
    throw Error(Fault::Unsupported, fmt::format("interpreting values of type {}", name_of(dtype)));
  auto count = static_cast<size_t>(checked_count(shape));
  Tensor result{dtype, std::move(shape), {}, {}};
  if (is_float(dtype))
    result.numbers.resize(count);
  else
    result.integers.resize(count);
  return result;
}

Tensor Tensor::from_bytes(DType dtype, std::vector<int64_t> shape, std::span<const std::byte> bytes) {
  Tensor result = zeros(dtype, std::move(shape));
  int64_t count = result.elements();
  std::optional<int64_t> size = byte_size(dtype, count);
  if (!size || *size != static_cast<int64_t>(bytes.size()))
    throw Error(Fault::Input, fmt::format("{} bytes for {} elements of {}", bytes.size(), count, name_of(dtype)));
  for (int64_t i = 0; i < count; i++) result.set(i, load_scalar(dtype, bytes.data(), i));
  return result;
}

std::vector<std::byte> Tensor::to_bytes() const {
  int64_t count = elements();
  std::vector<std::byte> bytes(static_cast<size_t>(byte_size(dtype, count).value()));
  for (int64_t i = 0; i < count; i++) store_scalar(at(i), bytes.data(), i);
  return bytes;
}

Tensor strided(const Tensor& from, const Extents& shape, const Extents& strides, int64_t offset) {
  Tensor result = Tensor::zeros(from.dtype, shape);
  if (result.elements() == 0) return result;
  with_element_type(from, [&](auto element) {
    using T = decltype(element);
    copy_axis(data_of<T>(from) + offset, data_of<T>(result), shape, strides, 0);
  });
  return result;
}

Tensor transposed(const Tensor& from, const Extents& perm) {
  Extents old_strides = dense_strides(from.shape), shape, strides;
  for (int64_t axis : perm) {
    shape.push_back(from.shape[axis]);
    strides.push_back(old_strides[axis]);
  }
  return strided(from, shape, strides);
}

void round_elements(Tensor& tensor, bool round) {
  if (is_float(tensor.dtype)) {
    if (!round || tensor.dtype == DType::F64) return;
    for (double& x : tensor.numbers) x = round_to(tensor.dtype, x);
    return;
  }
  for (int64_t& x : tensor.integers) x = convert(Scalar::of_integer(DType::I64, x), tensor.dtype).integer;
}

// Four rows of c at a time share each row of b; columns go in tiles that stay in the first-level cache.
template <typename T>
void multiply_add(int64_t m, int64_t n, int64_t k, Rows<const T> a, Rows<const T> b, Rows<T> c) {
  constexpr int64_t kTile = 512;
  for (int64_t begin = 0; begin < n; begin += kTile) {
    int64_t width = std::min(kTile, n - begin);
    for (int64_t i = 0; i < m; i += 4) {
      int64_t rows = std::min<int64_t>(4, m - i);
      for (int64_t p = 0; p < k; p++) {
        const T* source = b.data + p * b.stride + begin;
        for (int64_t r = 0; r < rows; r++) {
          T factor = a.data[(i + r) * a.stride + p];
          T* __restrict target = c.data + (i + r) * c.stride + begin;
          for (int64_t j = 0; j < width; j++) target[j] += factor * source[j];
        }
      }
    }
  }
}
template void multiply_add(int64_t, int64_t, int64_t, Rows<const double>, Rows<const double>, Rows<double>);
template void multiply_add(int64_t, int64_t, int64_t, Rows<const uint64_t>, Rows<const uint64_t>, Rows<uint64_t>);

}  // namespace lapidary
