#pragma once

#include "ir/interpreter.h"

namespace lapidary::test {

// Numbers from -2 to 2 (or integers from 0 to 6) of this shape, the same for the same seed.
inline Tensor random_tensor(DType dtype, std::vector<int64_t> shape, uint64_t seed) {
  Tensor tensor = Tensor::zeros(dtype, std::move(shape));
  uint64_t state = seed * 0x9E3779B97F4A7C15u + 1;
  for (int64_t i = 0; i < tensor.elements(); ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const double unit = static_cast<double>(state >> 11) / static_cast<double>(UINT64_C(1) << 53);
    if (is_float(dtype))
      tensor.set(i, Scalar::of_float(dtype, round_to(dtype, 4 * unit - 2)));
    else
      tensor.set(i, convert(Scalar::of_integer(DType::I64, static_cast<int64_t>(unit * 7)), dtype));
  }
  return tensor;
}

}  // namespace lapidary::test
