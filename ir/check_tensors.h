// What a check of numbers needs: inputs that are the same for the same seed, and a comparison.
#pragma once

#include <string>
#include <vector>

#include "ir/interpreter.h"

namespace lapidary {

// Floats in [-2, 2); integers in [0, integers_below), so that small ones are valid indices.
Tensor random_tensor(DType, std::vector<int64_t> shape, uint64_t seed, int64_t integers_below = 7);

// Same dtypes and shapes, numbers equal to `tolerance` times the larger of 1 and the tensor's largest; "" or where not.
std::string difference(const std::vector<Tensor>& expected, const std::vector<Tensor>& found, double tolerance);

}  // namespace lapidary
