// Lowering keeps the meaning of random graphs, with all passes and with none but the forming of groups, for a CPU and
// for a GPU, whose blocks of threads the interpreter runs one thread after the other.
#include <gtest/gtest.h>

#include "ir/error.h"
#include "ir/program_interpreter.h"
#include "ir/text.h"
#include "ir/verifier.h"
#include "passes/pipeline.h"
#include "test/passes/random_graphs.h"

namespace lapidary::testing {
namespace {

constexpr uint64_t kGraphs = 200;
constexpr double kTolerance = 2e-4;  // sums of squares and exponentials in float32

class LoweringOfRandomGraph : public ::testing::TestWithParam<uint64_t> {};

Program lowered(Module& module, const passes::Options& options, const std::string& text) {
  try {
    return passes::lower(module, options);
  } catch (const Error& error) { throw Error(error.fault, error.what() + ("\n" + text)); }
}

Target gpu() {
  Target target;
  target.arch = Arch::Cuda;
  target.vector_bytes = 16;
  target.capability = 80;
  return target;
}

void check(uint64_t seed, bool all_passes, const Target& target) {
  RandomGraph graph = random_graph(seed);
  const std::vector<Tensor> inputs = random_inputs(*graph.module, graph.symbols, seed);
  const std::vector<Tensor> expected = interpret(*graph.module, *graph.module->function("run"), inputs);
  passes::Options options;
  options.target = target;
  if (all_passes)
    passes::run_graph_passes(*graph.module, options);
  else
    passes::run_passes(*graph.module, {"form-groups"}, options);
  const std::string grouped = print_module(*graph.module);
  const Program program = lowered(*graph.module, options, grouped);
  for (const loops::Kernel& kernel : program.kernels)
    for (const std::string& line : verify(kernel)) ADD_FAILURE() << line << "\n" << print_kernel(kernel);
  const std::string text = difference(expected, interpret(program, program.entries[0], inputs), kTolerance);
  EXPECT_EQ(text, "") << grouped << print_program(program);
}

TEST_P(LoweringOfRandomGraph, KeepsTheMeaning) {
  for (const bool all_passes : {false, true})
    for (const Target& target : {Target(), gpu()}) {
      SCOPED_TRACE(fmt::format("{}, {}", all_passes ? "all passes" : "form-groups alone",
                               target.is_gpu() ? "for a GPU" : "for a CPU"));
      try {
        check(GetParam(), all_passes, target);
      } catch (const Error& error) { ADD_FAILURE() << error.what(); }
      if (HasFailure()) return;
    }
}

INSTANTIATE_TEST_SUITE_P(Seeds, LoweringOfRandomGraph, ::testing::Range<uint64_t>(0, kGraphs));

}  // namespace
}  // namespace lapidary::testing
