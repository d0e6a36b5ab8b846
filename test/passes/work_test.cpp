// The work a program states for its steps is counted once, however many steps a group becomes.
#include <gtest/gtest.h>

#include "ir/composites.h"
#include "ir/run_values.h"
#include "passes/pipeline.h"
#include "test/kernels/case_model.h"

namespace lapidary::test {
namespace {

int64_t total_of(Dim Step::*what, CaseModel& m, const SymbolValues& symbols) {
  const std::vector<Tensor> inputs = case_inputs(m.module, symbols);
  const passes::Options options;
  passes::run_graph_passes(m.module, options);
  const Program program = passes::lower(m.module, options);
  const RunValues value(program.entries[0], inputs);
  int64_t total = 0;
  for (const Step& step : program.entries[0].steps) total += value(step.*what);
  return total;
}

int64_t flops_of(CaseModel& m, const SymbolValues& symbols) { return total_of(&Step::flops, m, symbols); }

TEST(Work, OfALstmIsTheRecurrences) {
  CaseModel m;
  Dim b = m.symbol("B"), hidden = m.module.dims.constant(32);
  Dim one = m.module.dims.constant(1);
  composites::Recurrence lstm{
      .cell = "lstm", .r = m.weights({1, 128, 32}), .h0 = m.input({one, b, hidden}), .c0 = m.input({one, b, hidden})};
  lstm.xw = m.input({m.symbol("S"), b, one, m.module.dims.constant(128)});
  m.result(composites::recurrent(m.build, lstm));
  EXPECT_EQ(flops_of(m, {{"S", 7}, {"B", 3}}), int64_t{2} * 7 * 3 * 128 * 32);
}

TEST(Work, OfAConvolutionIsNotItsHalos) {
  CaseModel m;
  Value* x = m.input(m.shape({1, 32, 8, 8}));
  Value* y = m.build.scalar_op(ScalarOp::Tanh, {m.conv(x, 32, {1, 1}, {.bias = false})});
  m.result({m.conv(y, 16, {5, 5}, {.pads = {2, 2, 2, 2}, .bias = false})});
  EXPECT_EQ(flops_of(m, {}), int64_t{2} * 64 * 32 * 32 + int64_t{2} * 64 * 16 * 32 * 25);
}

TEST(Work, OfAGatherIsItsRows) {
  CaseModel m;
  m.result({m.build.gather(m.weights({1000, 64}), m.input({m.symbol("S")}, DType::I64), 0)});
  EXPECT_EQ(total_of(&Step::bytes, m, {{"S", 7}}), 7 * 8 + 2 * 7 * 64 * 4);
}

}  // namespace
}  // namespace lapidary::test
