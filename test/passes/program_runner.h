// The check that every lowering test ends in: the program, run in the interpreter of Loops, computes what the Graph's
// interpreter says.
#pragma once

#include <vector>

#include "ir/check_tensors.h"
#include "ir/program.h"
#include "passes/pipeline.h"

namespace lapidary::test {

using lapidary::random_tensor;

struct Lowering {
  std::vector<std::string> passes = {"form-groups"};  // run before lowering
  double tolerance = 1e-5;                            // |error| <= tolerance · (1 + |expected|)
  passes::Options options = {};
};
// Interprets the module's `run`, passes and lowers it, runs the program for each set of inputs, and expects the same
// numbers. Returns the program for further checks.
Program expect_lowered_equal(Module&, const std::vector<std::vector<Tensor>>& input_sets, const Lowering& = {});
void expect_close(const Tensor& actual, const Tensor& expected, double tolerance, const std::string& what);

}  // namespace lapidary::test
