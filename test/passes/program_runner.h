// Runs a lowered Program in the interpreter of Loops, step by step as the runtime would: formulas evaluated, weights
// materialised, an arena that is poisoned with NaN before use and after each buffer's life. And the check that every
// lowering test ends in: the program computes what the Graph's interpreter says.
#pragma once

#include <span>
#include <vector>

#include "ir/interpreter.h"
#include "ir/program.h"
#include "passes/pipeline.h"
#include "test/passes/random_tensor.h"

namespace lapidary::test {

std::vector<Tensor> run_program(const Program&, const EntryPoint&, std::span<const Tensor> inputs);

struct Lowering {
  std::vector<std::string> passes = {"form-groups"};   // run before lowering
  double tolerance = 1e-5;                             // |error| <= tolerance · (1 + |expected|)
  passes::Options options = {};
};
// Interprets the module's `run`, passes and lowers it, runs the program for each set of inputs, and expects the same
// numbers. Returns the program for further checks.
Program expect_lowered_equal(Module&, const std::vector<std::vector<Tensor>>& input_sets, const Lowering& = {});
void expect_close(const Tensor& actual, const Tensor& expected, double tolerance, const std::string& what);

}  // namespace lapidary::test
