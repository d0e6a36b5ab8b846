// Gradients of If and Loop, and of the recurrent layers that are loops.
#include <gtest/gtest.h>

#include "ir/composites.h"
#include "test/train/gradient_check.h"

namespace lapidary::test {
namespace {

using Values = std::span<Value* const>;
using Results = std::vector<Value*>;
using Body = std::function<Results(GraphBuilder&, Values)>;

std::unique_ptr<Region> region_of(GraphBuilder& b, const std::vector<Type>& types, const Body& body) {
  auto region = std::make_unique<Region>();
  std::vector<Value*> arguments;
  for (const Type& type : types) arguments.push_back(add_argument(b.module, *region, type));
  GraphBuilder in(b.module, *region);
  in.origin = b.origin;
  in.yield(body(in, arguments));
  return region;
}

std::vector<Type> types_of(Values values) {
  std::vector<Type> types;
  for (const Value* value : values) types.push_back(value->type);
  return types;
}

Results branches(GraphBuilder& b, Value* condition, std::vector<Value*> operands, const Body& then,
                 const Body& otherwise) {
  std::vector<std::unique_ptr<Region>> regions;
  regions.push_back(region_of(b, types_of(operands), then));
  regions.push_back(region_of(b, types_of(operands), otherwise));
  const Dim chosen = b.to_host(condition)->elements[0];
  return b.with_regions(OpKind::If, operands, {{"condition", chosen}}, std::move(regions));
}

// Goes on while carried value 0, a bool[], holds, for at most `trips` iterations; last, their number.
Results while_loop(GraphBuilder& b, int64_t trips, std::vector<Value*> carried, std::vector<Value*> captures,
                   const Body& body) {
  std::vector<Value*> operands = carried;
  operands.insert(operands.end(), captures.begin(), captures.end());
  std::vector<Type> types = types_of(operands);
  types.insert(types.begin(), Type::tensor(DType::I64, {}));
  std::vector<std::unique_ptr<Region>> regions;
  regions.push_back(region_of(b, types, body));
  Results results = b.with_regions(
      OpKind::Loop, operands,
      {{"trips", b.dim(trips)}, {"carried", static_cast<int64_t>(carried.size())}, {"while", int64_t{1}}},
      std::move(regions));
  const Dim count = b.to_host(results.back(), {0, trips})->elements[0];
  for (size_t i = carried.size(); i + 1 < results.size(); ++i) results[i]->type.shape[0] = count;
  return results;
}

Value* square(GraphBuilder& b, Value* x) { return b.mul(x, x); }
Value* tanh(GraphBuilder& b, Value* x) { return b.scalar_op(ScalarOp::Tanh, {x}); }

TEST(GradientOfIf, IsThatOfTheBranchTaken) {
  for (int64_t chosen : {0, 1})
    expect_gradients(
        {integers({}, {chosen}, DType::Bool), floats({3}), floats({3})}, [](GraphBuilder& b, Values in) -> Results {
          Value* before = b.mul(in[1], in[2]);
          const Results chosen = branches(
              b, in[0], {before, in[2]},
              [](GraphBuilder& then, Values of) -> Results {
                Value* bent = tanh(then, of[0]);
                return {then.mul(bent, of[1]), bent, then.iota(DType::I64, then.shape({2}), 0)};
              },
              [](GraphBuilder& otherwise, Values of) -> Results {
                return {square(otherwise, of[0]), of[0], otherwise.iota(DType::I64, otherwise.shape({2}), 0)};
              });
          return {square(b, chosen[0]), chosen[1]};
        });
}

TEST(GradientOfIf, OfCompositesWithin) {
  for (int64_t chosen : {0, 1})
    expect_gradients(
        {integers({}, {chosen}, DType::Bool), named(floats({2, 3}), {"N", ""})},
        [](GraphBuilder& b, Values in) -> Results {
          return branches(
              b, in[0], {in[1]},
              [](GraphBuilder& then, Values of) -> Results { return {composites::gelu(then, of[0], true)}; },
              [](GraphBuilder& otherwise, Values of) -> Results { return {composites::softmax(otherwise, of[0], 1)}; });
        });
}

TEST(GradientOfLoop, OfCarriedCapturedAndStackedValues) {
  for (const bool reverse : {false, true})
    for (int64_t trips : {0, 1, 4})
      expect_gradients({floats({3}), floats({3})}, [&](GraphBuilder& b, Values in) -> Results {
        return b.loop(b.dim(trips), {in[0], in[1]}, {in[1]}, reverse, [](GraphBuilder& step, Values at) -> Results {
          Value* next = tanh(step, step.add(step.mul(at[1], at[3]), at[2]));
          return {next, step.mul(at[2], step.like(at[2], 0.5)), step.mul(next, at[1])};
        });
      });
}

TEST(GradientOfLoop, OfSlicesThatEachIterationReads) {
  for (const bool reverse : {false, true})
    for (int axis : {0, 1})
      expect_gradients({floats({4, 4}), floats({4})}, [&](GraphBuilder& b, Values in) -> Results {
        const Results done =
            b.loop(b.dim(3), {in[1]}, {in[0], in[0]}, reverse, [&](GraphBuilder& step, Values at) -> Results {
              Value *now = step.gather(at[2], at[0], axis),
                    *last = step.gather(at[2], step.neg(step.add(at[0], step.like(at[0], 1))), axis);
              Value* whole = step.reduce(OpKind::ReduceSum, step.mul(at[3], at[3]), {0});
              Value* next = tanh(step, step.add(step.mul(at[1], now), step.mul(last, whole)));
              return {next, next};
            });
        return done;
      });
}

TEST(GradientOfLoop, WhoseNumberOfIterationsARunTells) {
  for (int64_t steps : {0, 1, 3})
    expect_gradients({named(floats({steps, 2}), {"S", ""}), floats({2})}, [](GraphBuilder& b, Values in) -> Results {
      return b.loop(in[0]->type.shape[0], {in[1]}, {in[0]}, false, [](GraphBuilder& step, Values at) -> Results {
        Value* next = tanh(step, step.add(at[1], step.gather(at[2], at[0], 0)));
        return {next, square(step, next)};
      });
    });
}

TEST(GradientOfLoop, WithCountersAndConstantsBesides) {
  expect_gradients({floats({2})}, [](GraphBuilder& b, Values in) -> Results {
    Value* one = b.scalar(DType::I64, 1);
    Value* fixed = b.scalar(DType::F64, 0.5);
    const Results done = b.loop(b.dim(3), {in[0], one, fixed}, {}, false, [](GraphBuilder& step, Values at) -> Results {
      Value* counter = step.convert(at[2], DType::F64);
      return {tanh(step, step.mul(at[1], step.add(counter, at[3]))), step.add(at[2], at[0]),
              step.scalar_op(ScalarOp::Floor, {step.add(at[3], counter)})};
    });
    return {done[0], done[2]};
  });
}

TEST(GradientOfLoop, OfLoopsAndBranchesWithin) {
  expect_gradients({floats({2}), floats({2})}, [](GraphBuilder& b, Values in) -> Results {
    return b.loop(b.dim(3), {in[0]}, {in[1]}, false, [](GraphBuilder& step, Values at) -> Results {
      Value* inner = step.loop(step.dim(2), {at[1]}, {at[2]}, true, [](GraphBuilder& deep, Values of) -> Results {
        return {tanh(deep, deep.mul(of[1], of[2]))};
      })[0];
      Value* first = step.scalar_op(ScalarOp::Equal, {at[0], step.like(at[0], 0)});
      return branches(
          step, first, {inner, at[2]},
          [](GraphBuilder& then, Values of) -> Results {
            return {then.add(of[0], of[1]), square(then, of[1])};
          },
          [](GraphBuilder& otherwise, Values of) -> Results {
            return {square(otherwise, of[0]), of[0]};
          });
    });
  });
}

// Doubles until the sum is great enough.
TEST(GradientOfLoop, ThatRunsWhileAConditionHolds) {
  for (double start : {0.3, 0.9, 40.0})
    expect_gradients({floats({2}, start, start + 0.3), floats({2}, 1.5, 2)}, [](GraphBuilder& b, Values in) -> Results {
      Value* go_on = b.scalar_op(ScalarOp::Less, {b.reduce(OpKind::ReduceSum, in[0], {0}), b.like(in[0], 20.3)});
      const Results done = while_loop(b, 100, {go_on, in[0]}, {in[1]}, [](GraphBuilder& step, Values at) -> Results {
        Value* next = step.mul(at[2], at[3]);
        Value* more =
            step.scalar_op(ScalarOp::Less, {step.reduce(OpKind::ReduceSum, next, {0}), step.like(next, 20.3)});
        return {more, next, square(step, next)};
      });
      return {done[1], b.reduce(OpKind::ReduceSum, done[2], {0})};
    });
}

TEST(GradientOfLoop, IsRefusedByNodeWhereThereIsNone) {
  EXPECT_EQ(
      refusal(
          {floats({2, 2})},
          [](GraphBuilder& b, Values in) -> Results {
            return b.loop(b.dim(3), {in[0]}, {}, false, [](GraphBuilder& step, Values at) -> Results {
              return {
                  step.create(OpKind::BitCast, {at[1]}, {{"to", DType::F64}, {"shape", step.shape({2, 2})}}).result()};
            });
          }),
      "node 'tested' (Test, opset 1): the gradient of 'bit_cast', on a way from a parameter to the loss");
}

TEST(GradientOfRecurrentLayers, OfEveryCell) {
  for (const char* cell : {"gru", "gru_linear", "rnn", "lstm"})
    for (int direction : {composites::kForward, composites::kReverse, composites::kBothDirections})
      for (const bool told : {false, true}) {
        SCOPED_TRACE(::testing::Message() << cell << " direction " << direction << (told ? " with lengths" : ""));
        const int64_t count = direction == composites::kBothDirections ? 2 : 1, gates = composites::gates_of(cell);
        const std::string name = cell;
        std::vector<Argument> arguments = {floats({3, 2, count, gates * 2}),
                                           floats({count, gates * 2, 2}),
                                           floats({count, 2, 2}),
                                           floats({count, 2, 2}),
                                           floats({count, 2}),
                                           integers({2}, {2, 3}, DType::I32)};
        expect_gradients(arguments, [&](GraphBuilder& b, Values in) -> Results {
          return composites::recurrent(b, {.cell = name,
                                           .direction = direction,
                                           .r = in[1],
                                           .h0 = in[2],
                                           .c0 = name == "lstm" ? in[3] : nullptr,
                                           .r_bias = name == "gru_linear" ? in[4] : nullptr,
                                           .lengths = told ? in[5] : nullptr,
                                           .xw = in[0]});
        });
      }
}

TEST(GradientOfRecurrentLayers, OfLinearAttention) {
  expect_gradients({floats({1, 3, 2, 2}), floats({1, 3, 1, 2}), floats({1, 3, 1, 2}), floats({1, 1, 2, 2}),
                    floats({1, 3, 1, 1}), floats({1, 3, 1})},
                   [](GraphBuilder& b, Values in) -> Results {
                     return composites::linear_attention(
                         b, {.q = in[0], .k = in[1], .v = in[2], .state = in[3], .decay = in[4], .beta = in[5]});
                   });
}

}  // namespace
}  // namespace lapidary::test
