#include "ir/check_tensors.h"

#include <fmt/format.h>

#include <cmath>

namespace lapidary {

Tensor random_tensor(DType dtype, std::vector<int64_t> shape, uint64_t seed, int64_t integers_below) {
  Tensor tensor = Tensor::zeros(dtype, std::move(shape));
  uint64_t state = seed * 0x9E3779B97F4A7C15u + 1;
  for (int64_t i = 0; i < tensor.elements(); ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const double unit = static_cast<double>(state >> 11) / static_cast<double>(UINT64_C(1) << 53);
    const auto integer = static_cast<int64_t>(unit * static_cast<double>(integers_below));
    if (is_float(dtype))
      tensor.set(i, Scalar::of_float(dtype, round_to(dtype, 4 * unit - 2)));
    else if (dtype == DType::String)
      tensor.set(i, Scalar::of_integer(dtype, integer));
    else
      tensor.set(i, convert(Scalar::of_integer(DType::I64, integer), dtype));
  }
  return tensor;
}

namespace {

std::string difference(const Tensor& expected, const Tensor& found, double tolerance) {
  if (expected.dtype != found.dtype || expected.shape != found.shape) return "another type or shape";
  if (expected.integers != found.integers) return "other integers";
  double largest = 1;
  for (double number : expected.numbers)
    if (std::isfinite(number)) largest = std::max(largest, std::abs(number));
  for (size_t i = 0; i < expected.numbers.size(); ++i) {
    double a = expected.numbers[i], b = found.numbers[i];
    bool same = a == b || (std::isnan(a) && std::isnan(b)) || std::abs(a - b) <= tolerance * largest;
    if (!same) return fmt::format("element {} is {}, expected {}", i, b, a);
  }
  return "";
}

}  // namespace

std::string difference(const std::vector<Tensor>& expected, const std::vector<Tensor>& found, double tolerance) {
  if (expected.size() != found.size()) return "another number of results";
  for (size_t i = 0; i < expected.size(); ++i)
    if (std::string text = difference(expected[i], found[i], tolerance); !text.empty())
      return fmt::format("result {}: {}", i, text);
  return "";
}

}  // namespace lapidary
