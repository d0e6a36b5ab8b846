// What `run --check-each-kernel` lets pass and what it does not.
#include "tools/kernel_report.h"

#include <gtest/gtest.h>

namespace lapidary::tools {
namespace {

Tensor integers(DType dtype, std::vector<int64_t> values) {
  const auto count = static_cast<int64_t>(values.size());
  return {dtype, {count}, {}, std::move(values)};
}

bool is_good(const Tensor& got, const Tensor& expected) {
  KernelReport report;
  report.add("a result", got, expected);
  return report.good();
}

std::vector<int64_t> zeros_but(std::vector<int64_t> first) {
  first.resize(2000);
  return first;
}

TEST(KernelReport, SumsMustBeEqual) {
  EXPECT_TRUE(is_good(integers(DType::I32, {7, -8}), integers(DType::I32, {7, -8})));
  EXPECT_FALSE(is_good(integers(DType::I32, zeros_but({1})), integers(DType::I32, zeros_but({}))));
}

TEST(KernelReport, OneCodeInAThousandMayBeTheNextOne) {
  const Tensor zeros = integers(DType::U8, zeros_but({}));
  EXPECT_TRUE(is_good(integers(DType::U8, zeros_but({1, 1})), zeros));
  EXPECT_FALSE(is_good(integers(DType::U8, zeros_but({1, 1, 1})), zeros));
  EXPECT_FALSE(is_good(integers(DType::U8, zeros_but({2})), zeros));
}

TEST(KernelReport, SaysHowManyAndByHowMuch) {
  KernelReport report;
  report.add("a result", integers(DType::I8, zeros_but({-1})), integers(DType::I8, zeros_but({})));
  report.add("a sum", integers(DType::I32, {5}), integers(DType::I32, {3}));
  report.add("a number", Tensor{DType::F32, {1}, {1.5}, {}}, Tensor{DType::F32, {1}, {1.5}, {}});
  EXPECT_EQ(report.text(),
            "a result: 1 of 2000 differ, by at most 1\n"
            "WRONG  a sum: 1 of 1 differ, by at most 2\n"
            "1 results of integers (1 elements): 1 differ\n"
            "1 results of codes (2000 elements): 1 differ (0.05000 %), by at most 1\n"
            "3 results checked, 1 wrong, worst relative L2 of floats 0.0e+00\n");
}

TEST(KernelReport, OtherTypesAndNothingAtAllAreWrong) {
  EXPECT_FALSE(is_good(integers(DType::I32, {1}), integers(DType::I8, {1})));
  EXPECT_FALSE(KernelReport().good());
}

}  // namespace
}  // namespace lapidary::tools
