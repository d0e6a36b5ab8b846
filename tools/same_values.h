// lapidary-opt --check-values: a golden text says what a pass makes, this says that it is right. Every function of a
// module computes the same numbers before the passes, after each, and lowered, on seeded random inputs and for a few
// values of the symbols (1, unequal ones, more than a vector, 0; those that the function's own checks refuse are left
// out).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ir/interpreter.h"
#include "ir/program.h"

namespace lapidary::tools {

class SameValues {
 public:
  explicit SameValues(const Module&);  // runs it; Error{Fault::Input} when a function runs for no values of the symbols
  void expect(const Module&, const std::string& when) const;  // Error{Fault::Internal} where the numbers differ
  void expect(const Program&) const;

 private:
  struct Run {
    std::string function, symbols;  // "run", "N=2, S=3"
    std::vector<Tensor> inputs, exact, rounded;
  };
  void add_runs(const Module&, const Function&);
  std::vector<Run> runs_;
};

}  // namespace lapidary::tools
