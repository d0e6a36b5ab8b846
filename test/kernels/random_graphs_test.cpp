// Random graphs as compiled code between guard pages: with all passes and with none but the forming of groups, for each
// instruction set this machine has, each artifact at several values of its symbols. Graphs are compiled and linked in
// batches, which costs less than one by one.
#include "test/passes/random_graphs.h"

#include <gtest/gtest.h>

#include "ir/error.h"
#include "ir/text.h"
#include "passes/pipeline.h"
#include "test/codegen/run_kernel.h"
#include "test/kernels/guarded_run.h"

namespace lapidary::testing {
namespace {

constexpr uint64_t kGraphs = 200, kBatch = 20;
constexpr double kTolerance = 2e-4;  // sums of squares and exponentials in float32

struct CompiledGraph {
  RandomGraph graph;
  std::vector<RandomInputs> sets;
  Program program;
  size_t number;
  std::string text;
};

CompiledGraph lowered(uint64_t seed, bool all_passes, const Target& target) {
  CompiledGraph made{random_graph(seed), {}, {}, 0, ""};
  made.sets = random_input_sets(made.graph, seed);
  passes::Options options;
  options.target = target;
  if (all_passes)
    passes::run_graph_passes(*made.graph.module, options);
  else
    passes::run_passes(*made.graph.module, {"form-groups"}, options);
  made.text = print_module(*made.graph.module);
  made.program = passes::lower(*made.graph.module, options);
  return made;
}

void check(const CompiledGraph& made, const test::CompiledKernels& kernels, uint64_t seed) {
  const auto kernel = [&](uint32_t index) { return kernels.kernel(made.number, index); };
  const test::Placement placement = seed % 2 ? test::Placement::EndsAtGuard : test::Placement::BeginsAfterGuard;
  const test::GuardedProgram guarded(made.program, kernel, placement);
  for (const RandomInputs& set : made.sets) {
    const std::string text = difference(set.expected, guarded.run(set.inputs), kTolerance);
    EXPECT_EQ(text, "") << "with" << set.text() << "\n" << made.text << print_program(made.program);
  }
}

class CompiledRandomGraphs : public ::testing::TestWithParam<uint64_t> {};

TEST_P(CompiledRandomGraphs, KeepTheMeaning) {
  for (const std::string& name : runnable_targets()) {
    const Target target = codegen::resolve_target(name);
    for (bool all_passes : {false, true}) {
      std::map<uint64_t, CompiledGraph> graphs;
      test::CompiledKernels kernels;
      for (uint64_t seed = GetParam() * kBatch; seed < (GetParam() + 1) * kBatch; ++seed) {
        SCOPED_TRACE(fmt::format("seed {}, {}, {}", seed, name, all_passes ? "all passes" : "form-groups alone"));
        try {
          CompiledGraph& made = graphs.emplace(seed, lowered(seed, all_passes, target)).first->second;
          made.number = kernels.add(made.program);
        } catch (const Error& error) {
          graphs.erase(seed);
          ADD_FAILURE() << error.what();
        }
      }
      kernels.compile(target);
      for (const auto& [seed, made] : graphs) {
        SCOPED_TRACE(fmt::format("seed {}, {}, {}", seed, name, all_passes ? "all passes" : "form-groups alone"));
        try {
          check(made, kernels, seed);
        } catch (const Error& error) {
          ADD_FAILURE() << error.what() << "\n" << made.text << print_program(made.program);
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Batches, CompiledRandomGraphs, ::testing::Range<uint64_t>(0, kGraphs / kBatch));

}  // namespace
}  // namespace lapidary::testing
