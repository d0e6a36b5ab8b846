// What `run --check-every-value` finds: values beside what they should be, counted, and the first that differ named.
// Test: test/tools/value_report_test.cpp.
#pragma once

#include <string>

#include "ir/interpreter.h"

namespace lapidary::tools {

// Infinite where the two cannot be compared: other types, other shapes, NaN against a number.
double relative_l2(const Tensor& got, const Tensor& expected);

class ValueReport {
 public:
  // `what` names the value in the lines: "result 0 of a conv kernel of node 'c' (Conv, opset 17)".
  void add(const std::string& what, const Tensor& got, const Tensor& expected);
  std::string text() const;  // a line for each of the first few that differ, in the order added, and a summary
  bool good() const { return checked_ > 0 && differing_ == 0; }

 private:
  int checked_ = 0, differing_ = 0;
  double worst_ = 0;
  std::string lines_;
};

}  // namespace lapidary::tools
