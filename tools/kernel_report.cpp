#include "tools/kernel_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "tools/value_report.h"

namespace lapidary::tools {

namespace {

constexpr double kTolerance = 1e-4;  // relative L2 of floats
constexpr int64_t kOneIn = 1000;     // codes that may be the next one

}  // namespace

void KernelReport::Count::add(const Count& other) {
  results += other.results, elements += other.elements, apart += other.apart;
  most = std::max(most, other.most);
}

KernelReport::Count KernelReport::compare(const Tensor& got, const Tensor& expected) {
  Count count{.results = 1, .elements = expected.elements()};
  for (int64_t i = 0; i < count.elements; ++i) {
    const int64_t by = std::abs(got.integers[static_cast<size_t>(i)] - expected.integers[static_cast<size_t>(i)]);
    count.apart += by != 0;
    count.most = std::max(count.most, by);
  }
  return count;
}

void KernelReport::note(const std::string& what, const std::string& text, bool wrong) {
  lines_ += fmt::format("{}{}: {}\n", wrong ? "WRONG  " : "", what, text);
  wrong_ += wrong;
}

void KernelReport::add(const std::string& what, const Tensor& got, const Tensor& expected) {
  ++results_;
  if (got.dtype != expected.dtype || got.shape != expected.shape) return note(what, "another type or shape", true);
  if (is_float(got.dtype)) {
    const double error = relative_l2(got, expected);
    worst_ = std::max(worst_, error);
    if (error > kTolerance) note(what, fmt::format("relative L2 {:.1e}", error), true);
    return;
  }
  const Count count = compare(got, expected);
  const bool codes = bit_width(got.dtype) == 8 && got.dtype != DType::Bool;
  (codes ? codes_ : integers_).add(count);
  const int64_t allowed = codes ? (count.elements + kOneIn - 1) / kOneIn : 0;
  if (count.apart > 0)
    note(what, fmt::format("{} of {} differ, by at most {}", count.apart, count.elements, count.most),
         count.apart > allowed || count.most > 1);
}

std::string KernelReport::text() const {
  return fmt::format(
      "{}{} results of integers ({} elements): {} differ\n"
      "{} results of codes ({} elements): {} differ ({:.5f} %), by at most {}\n"
      "{} results checked, {} wrong, worst relative L2 of floats {:.1e}\n",
      lines_, integers_.results, integers_.elements, integers_.apart, codes_.results, codes_.elements, codes_.apart,
      100.0 * static_cast<double>(codes_.apart) / static_cast<double>(std::max<int64_t>(codes_.elements, 1)),
      codes_.most, results_, wrong_, worst_);
}

}  // namespace lapidary::tools
