// Private to interpreter*.cpp: what the function of one op sees, and those functions by family. Each computes in
// float64 (or wrapping 64-bit integers) and rounds its result once, at the end.
#pragma once

#include <memory>
#include <utility>

#include "ir/error.h"
#include "ir/interpreter.h"

namespace lapidary {

using TensorRef = std::shared_ptr<const Tensor>;
using Extents = std::vector<int64_t>;

// Thrown by Execution::value for a Dim with a symbol or element that has no value.
struct UnknownDim {
  Dim dim;
};

struct Execution {
  const Module& module;
  const Op& op;
  std::vector<TensorRef> operands;
  bool round;
  std::function<int64_t(Dim)> value;

  const Tensor& operand(int i) const { return *operands[i]; }
  const Params& params() const { return op.params; }
  Extents values(const std::vector<Dim>&) const;
  [[noreturn]] void fail(const std::string& message) const;  // Error{Fault::Input} naming the op
};

int64_t product_of(const Extents&);
Extents dense_strides(const Extents&);
// A position of an axis, counted from the end when negative; fails when there is none.
int64_t checked_index(const Execution&, int64_t index, int64_t extent);

// What combining over nothing gives: of Add, Mul, Min, Max, and of And, Or.
Scalar identity_of(ScalarOp combine, DType);

// Visits all coordinates of a shape in row-major order.
template <typename F>
void for_each_coordinate(const Extents& shape, F visit) {
  if (product_of(shape) == 0) return;
  Extents at(shape.size(), 0);
  while (true) {
    visit(at);
    size_t axis = shape.size();
    while (axis > 0 && ++at[axis - 1] == shape[axis - 1]) at[--axis] = 0;
    if (axis == 0) return;
  }
}

// The elements of a tensor as T: double for floats, uint64_t (so that arithmetic wraps) for integers and bool.
template <typename T>
const T* data_of(const Tensor& tensor) {
  if constexpr (std::is_same_v<T, double>)
    return tensor.numbers.data();
  else
    return reinterpret_cast<const T*>(tensor.integers.data());
}
template <typename T>
T* data_of(Tensor& tensor) {
  return const_cast<T*>(data_of<T>(std::as_const(tensor)));
}
// Calls f with a value of the type that data_of takes for the tensor.
template <typename F>
void with_element_type(const Tensor& tensor, F f) {
  if (is_float(tensor.dtype))
    f(double{});
  else
    f(uint64_t{});
}

// result[i…] = from[offset + Σ i · stride]; strides may be 0 or negative.
Tensor strided(const Tensor& from, const Extents& shape, const Extents& strides, int64_t offset = 0);
Tensor transposed(const Tensor& from, const Extents& perm);
// Rounds floats to the tensor's type when `round` is set; wraps integers to it.
void round_elements(Tensor&, bool round);

// c[m][n] += a[m][k] · b[k][n] with rows `stride` apart; the products of one element are added in order of k.
template <typename T>
struct Rows {
  T* data;
  int64_t stride;
};
template <typename T>
void multiply_add(int64_t m, int64_t n, int64_t k, Rows<const T> a, Rows<const T> b, Rows<T> c);

// interpreter_shape.cpp
Tensor run_constant(const Execution&);
Tensor run_dims_tensor(const Execution&);
Tensor run_iota(const Execution&);
Tensor run_broadcast(const Execution&);
Tensor run_reshape(const Execution&);
Tensor run_transpose(const Execution&);
Tensor run_slice(const Execution&);
Tensor run_true_positions(const Execution&);
Tensor run_suppress(const Execution&);
Tensor run_concat(const Execution&);
Tensor run_pad(const Execution&);
Tensor run_gather(const Execution&);
Tensor run_gather_elements(const Execution&);
Tensor run_bit_cast(const Execution&);
// interpreter_index.cpp
Tensor run_scatter(const Execution&);
Tensor run_scan(const Execution&);
std::vector<Tensor> run_top_k(const Execution&);
// interpreter_math.cpp
Tensor run_scalar_op(const Execution&);
Tensor run_convert(const Execution&);
Tensor run_reduce(const Execution&);
Tensor run_contract(const Execution&);
// interpreter_strings.cpp
Tensor run_host_call(const Execution&);
// interpreter_window.cpp
Tensor run_conv(const Execution&);
Tensor run_conv_transpose(const Execution&);
Tensor run_conv_filter_gradient(const Execution&);
Tensor run_pool(const Execution&);
Tensor run_max_pool_tap(const Execution&);
Tensor run_max_pool_gradient(const Execution&);

}  // namespace lapidary
