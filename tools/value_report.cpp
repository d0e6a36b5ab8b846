#include "tools/value_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace lapidary::tools {

namespace {

constexpr double kTolerance = 1e-4;  // relative L2 of one value; errors of the kernels before it are in it
constexpr int kMostLines = 10;

double number(const Scalar& scalar) {
  return is_float(scalar.dtype) ? scalar.number : static_cast<double>(scalar.integer);
}

}  // namespace

double relative_l2(const Tensor& got, const Tensor& expected) {
  if (got.dtype != expected.dtype || got.shape != expected.shape) return INFINITY;
  double error = 0, scale = 0;
  for (int64_t i = 0; i < expected.elements(); ++i) {
    const double x = number(got.at(i)), y = number(expected.at(i));
    if (std::isfinite(y)) scale += y * y;
    if (x == y || (std::isnan(x) && std::isnan(y))) continue;
    error += (x - y) * (x - y);
  }
  return std::isfinite(error) ? std::sqrt(error / (scale > 0 ? scale : 1)) : INFINITY;
}

void ValueReport::add(const std::string& what, const Tensor& got, const Tensor& expected) {
  const double error = relative_l2(got, expected);
  ++checked_;
  worst_ = std::max(worst_, error);
  if (error > kTolerance && ++differing_ <= kMostLines) lines_ += fmt::format("{}: relative L2 {:.1e}\n", what, error);
}

std::string ValueReport::text() const {
  return fmt::format("{}{} values checked, {} differ, worst relative L2 {:.1e}\n", lines_, checked_, differing_,
                     worst_);
}

}  // namespace lapidary::tools
