// Every pass keeps the meaning of random graphs: after each, the module is well formed and the interpreter computes
// what it computed before, in float64 throughout.
#include "test/passes/random_graphs.h"

#include <gtest/gtest.h>

#include "ir/text.h"
#include "ir/verifier.h"
#include "passes/pipeline.h"

namespace lapidary::testing {
namespace {

constexpr uint64_t kGraphs = 200;
constexpr double kTolerance = 1e-9;

class PassesOnRandomGraph : public ::testing::TestWithParam<uint64_t> {};

TEST_P(PassesOnRandomGraph, KeepTheMeaning) {
  RandomGraph graph = random_graph(GetParam());
  ASSERT_EQ(verify(*graph.module), std::vector<std::string>{}) << print_module(*graph.module);
  std::vector<Tensor> inputs = random_inputs(*graph.module, graph.symbols, GetParam());
  InterpreterOptions exact{.round = false, .on_op = {}};
  std::vector<Tensor> expected = interpret(*graph.module, *graph.module->function("run"), inputs, exact);
  std::string before = print_module(*graph.module);
  passes::Options options;
  options.after_pass = [&](const std::string& pass, double, const Module& module) {
    ASSERT_EQ(verify(module), std::vector<std::string>{}) << "after " << pass << ":\n"
                                                          << before << print_module(module);
    std::string text = difference(expected, interpret(module, *module.function("run"), inputs, exact), kTolerance);
    ASSERT_EQ(text, "") << "after " << pass << ":\n" << before << print_module(module);
    before = print_module(module);
  };
  passes::run_graph_passes(*graph.module, options);
}

INSTANTIATE_TEST_SUITE_P(Seeds, PassesOnRandomGraph, ::testing::Range<uint64_t>(0, kGraphs));

}  // namespace
}  // namespace lapidary::testing
