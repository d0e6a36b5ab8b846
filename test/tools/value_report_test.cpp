// What `run --check-every-value` says of values that agree and of those that do not.
#include "tools/value_report.h"

#include <gtest/gtest.h>

#include <cmath>

namespace lapidary::tools {
namespace {

Tensor floats(const std::vector<float>& values) {
  return Tensor::from_bytes(DType::F32, {static_cast<int64_t>(values.size())}, std::as_bytes(std::span(values)));
}

std::string text_of(const Tensor& got, const Tensor& expected, bool good) {
  ValueReport report;
  report.add("a value", got, expected);
  EXPECT_EQ(report.good(), good);
  return report.text();
}

TEST(ValueReport, EqualValuesAgree) {
  EXPECT_EQ(text_of(floats({1, 2, NAN, INFINITY}), floats({1, 2, NAN, INFINITY}), true),
            "1 values checked, 0 differ, worst relative L2 0.0e+00\n");
}

TEST(ValueReport, RoundingAgrees) { text_of(floats({1, 2.00001f}), floats({1, 2}), true); }

TEST(ValueReport, WhatDiffersIsNamed) {
  EXPECT_EQ(text_of(floats({3, 4.5f}), floats({3, 4}), false),
            "a value: relative L2 1.0e-01\n1 values checked, 1 differ, worst relative L2 1.0e-01\n");
}

TEST(ValueReport, ANumberIsNoNanAndNoInfinity) {
  for (float special : {NAN, INFINITY, -INFINITY}) {
    text_of(floats({1, special}), floats({1, 2}), false);
    text_of(floats({1, 2}), floats({1, special}), false);
  }
  text_of(floats({INFINITY}), floats({-INFINITY}), false);
}

TEST(ValueReport, OtherShapesAndTypesDiffer) {
  text_of(floats({1, 2}), floats({1, 2, 0}), false);
  text_of(floats({0}), Tensor::from_bytes(DType::I32, {1}, std::vector<std::byte>(4)), false);
}

TEST(ValueReport, NothingCheckedIsNotGood) {
  EXPECT_FALSE(ValueReport().good());
  EXPECT_EQ(ValueReport().text(), "0 values checked, 0 differ, worst relative L2 0.0e+00\n");
}

}  // namespace
}  // namespace lapidary::tools
