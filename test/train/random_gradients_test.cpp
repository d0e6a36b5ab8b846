// Gradients of random graphs: along a random direction they say what the function does, and lowered they stay what they
// are.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "ir/differentiate.h"
#include "ir/error.h"
#include "ir/program_interpreter.h"
#include "ir/text.h"
#include "ir/verifier.h"
#include "passes/pipeline.h"
#include "test/passes/random_graphs.h"
#include "test/train/gradient_check.h"

namespace lapidary::testing {
namespace {

constexpr uint64_t kGraphs = 200;
constexpr double kTolerance = 1e-6;
constexpr double kLoweredTolerance = 1e-5;  // of gradients' largest elements: sums of exponentials in float32

const InterpreterOptions kExact{.round = false, .on_op = {}};

// The graph with one result, the weighted sum of those it had, and behind it that one's gradients by all arguments.
RandomGraph graph_of_loss(uint64_t seed, bool gradients) {
  RandomGraph graph = random_graph(seed);
  Function& run = *graph.module->function("run");
  GraphBuilder b(*graph.module, *run.body);
  std::vector<Value*> results = {test::weighted_sum(b, run.body->results())}, wanted;
  for (const auto& argument : run.body->arguments) wanted.push_back(argument.get());
  if (gradients) {
    for (Value* gradient : differentiate(b, results[0], wanted)) results.push_back(gradient);
    for (size_t i = 0; i < wanted.size(); ++i)
      if (!results[i + 1]) results[i + 1] = b.splat(wanted[i]->type.dtype, wanted[i]->type.shape, 0);
  }
  erase_op(run.body->yield());
  b.before = run.body->ops.end();
  b.yield(results);
  run.result_names.clear();
  for (size_t i = 0; i < results.size(); ++i) run.result_names.push_back(fmt::format("y{}", i));
  return graph;
}

// Numbers off the grid on which kinks lie.
std::vector<Tensor> inputs_of(const RandomGraph& graph, uint64_t seed) {
  std::vector<Tensor> inputs = random_inputs(*graph.module, graph.symbols, seed);
  std::mt19937_64 engine(seed);
  for (Tensor& input : inputs)
    for (double& number : input.numbers)
      number = round_to(input.dtype, std::uniform_real_distribution<double>(-2, 2)(engine));
  return inputs;
}

class GradientOfRandomGraph : public ::testing::TestWithParam<uint64_t> {};

struct Slope {
  double difference;  // by central differences
  double product;     // of gradient and direction
  double scale;       // of the numbers both were made of
  bool smooth;        // two steps give the same difference: no kink lies between
};

Slope slope_along(const RandomGraph& graph, const RandomGraph& plain, std::vector<Tensor> at, uint64_t seed) {
  const std::vector<Tensor> found = interpret(*graph.module, *graph.module->function("run"), at, kExact);
  std::mt19937_64 engine(seed + 1);
  std::vector<Tensor> direction = at;
  Slope slope{0, 0, 1 + std::abs(found[0].numbers[0]), true};
  for (size_t i = 0; i < at.size(); ++i)
    for (size_t element = 0; element < at[i].numbers.size(); ++element) {
      const double along = std::uniform_real_distribution<double>(-1, 1)(engine);
      direction[i].numbers[element] = along;
      slope.product += found[i + 1].numbers[element] * along;
      slope.scale += std::abs(found[i + 1].numbers[element] * along);
    }
  const auto value = [&](double step) {
    std::vector<Tensor> moved = at;
    for (size_t i = 0; i < at.size(); ++i)
      for (size_t element = 0; element < at[i].numbers.size(); ++element)
        moved[i].numbers[element] += step * direction[i].numbers[element];
    return interpret(*plain.module, *plain.module->function("run"), moved, kExact)[0].numbers[0];
  };
  const auto difference = [&](double step) { return (value(step) - value(-step)) / (2 * step); };
  const double wide = difference(2e-5), narrow = difference(1e-5), one_side = (value(1e-5) - value(0)) / 1e-5;
  slope.difference = (4 * narrow - wide) / 3;
  slope.smooth = std::abs(wide - narrow) <= 1e-7 * slope.scale && std::abs(one_side - narrow) <= 1e-2 * slope.scale;
  return slope;
}

TEST_P(GradientOfRandomGraph, IsTheSlope) {
  const uint64_t seed = GetParam();
  const RandomGraph graph = graph_of_loss(seed, true), plain = graph_of_loss(seed, false);
  ASSERT_EQ(verify(*graph.module), std::vector<std::string>{}) << print_module(*graph.module);
  for (uint64_t tries = 0; tries < 8; ++tries) {
    const Slope slope = slope_along(graph, plain, inputs_of(graph, seed + 1000 * tries), seed + tries);
    if (!std::isfinite(slope.difference)) GTEST_SKIP() << "of what is no number";
    if (!slope.smooth) continue;
    EXPECT_NEAR(slope.product, slope.difference, kTolerance * slope.scale) << print_module(*graph.module);
    return;
  }
  FAIL() << "no smooth place: " << print_module(*graph.module);
}

TEST_P(GradientOfRandomGraph, IsLoweredAsItIs) {
  const uint64_t seed = GetParam();
  RandomGraph graph = graph_of_loss(seed, true);
  const std::vector<Tensor> inputs = inputs_of(graph, seed);
  const std::vector<Tensor> expected = interpret(*graph.module, *graph.module->function("run"), inputs);
  passes::Options options;
  if (seed % 2 == 0)
    passes::run_graph_passes(*graph.module, options);
  else
    passes::run_passes(*graph.module, {"form-groups"}, options);
  const std::string grouped = print_module(*graph.module);
  const Program program = passes::lower(*graph.module, options);
  EXPECT_EQ(difference(expected, interpret(program, program.entries[0], inputs), kLoweredTolerance), "") << grouped;
}

INSTANTIATE_TEST_SUITE_P(Seeds, GradientOfRandomGraph, ::testing::Range<uint64_t>(0, kGraphs));

}  // namespace
}  // namespace lapidary::testing
