#include "test/passes/program_runner.h"

#include <gtest/gtest.h>

#include <cmath>

#include "ir/error.h"
#include "ir/program_interpreter.h"
#include "ir/text.h"
#include "ir/verifier.h"

namespace lapidary::test {

void expect_close(const Tensor& actual, const Tensor& expected, double tolerance, const std::string& what) {
  ASSERT_EQ(actual.shape, expected.shape) << what;
  ASSERT_EQ(actual.dtype, expected.dtype) << what;
  for (int64_t i = 0; i < expected.elements(); ++i) {
    const Scalar a = actual.at(i), e = expected.at(i);
    const bool same = is_float(e.dtype) ? a.number == e.number || (std::isnan(a.number) && std::isnan(e.number)) ||
                                              std::abs(a.number - e.number) <= tolerance * (1 + std::abs(e.number))
                                        : a.integer == e.integer;
    if (same) continue;
    FAIL() << what << " element " << i << ": " << (is_float(e.dtype) ? a.number : static_cast<double>(a.integer))
           << ", expected " << (is_float(e.dtype) ? e.number : static_cast<double>(e.integer));
  }
}

namespace {

std::vector<Tensor> run(const Program& program, const std::vector<Tensor>& inputs) {
  try {
    return interpret(program, program.entries[0], inputs);
  } catch (const Error& error) {
    ADD_FAILURE() << error.what();
    return {};
  }
}

}  // namespace

Program expect_lowered_equal(Module& module, const std::vector<std::vector<Tensor>>& input_sets,
                             const Lowering& lowering) {
  std::vector<std::vector<Tensor>> expected;
  for (const auto& inputs : input_sets) expected.push_back(interpret(module, *module.function("run"), inputs));
  passes::run_passes(module, lowering.passes, lowering.options);
  Program program = passes::lower(module, lowering.options);
  for (const loops::Kernel& kernel : program.kernels)
    for (const std::string& line : verify(kernel)) ADD_FAILURE() << line << "\n" << print_kernel(kernel);
  for (size_t set = 0; set < input_sets.size(); ++set) {
    const std::vector<Tensor> actual = run(program, input_sets[set]);
    for (size_t i = 0; i < actual.size(); ++i)
      expect_close(actual[i], expected[set][i], lowering.tolerance, fmt::format("input set {}, result {}", set, i));
    if (!::testing::Test::HasFailure()) continue;
    for (const loops::Kernel& kernel : program.kernels) ADD_FAILURE() << print_kernel(kernel);
    ADD_FAILURE() << print_module(module) << print_program(program);
    break;
  }
  return program;
}

}  // namespace lapidary::test
