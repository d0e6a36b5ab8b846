// What `run --check-each-kernel` finds: results of kernels that ran on the right inputs, beside what they should be.
// Test: test/tools/kernel_report_test.cpp.
#pragma once

#include <string>

#include "ir/interpreter.h"

namespace lapidary::tools {

class KernelReport {
 public:
  // `what` names the result in the lines. Codes are integers of a byte: where they are rounded in floats, one in a
  // thousand may be the next one. Other integers must be equal, floats near.
  void add(const std::string& what, const Tensor& got, const Tensor& expected);
  std::string text() const;  // a line for each result with codes apart or a number wrong, and a summary
  bool good() const { return results_ > 0 && wrong_ == 0; }

 private:
  struct Count {
    int64_t results = 0, elements = 0, apart = 0, most = 0;
    void add(const Count&);
  };
  static Count compare(const Tensor& got, const Tensor& expected);
  void note(const std::string& what, const std::string& text, bool wrong);

  int64_t results_ = 0, wrong_ = 0;
  Count codes_, integers_;
  double worst_ = 0;
  std::string lines_;
};

}  // namespace lapidary::tools
