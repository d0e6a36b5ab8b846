// Gradients of the composites, by rules of their own and through their bodies.
#include <gtest/gtest.h>

#include "ir/composites.h"
#include "passes/train/losses.h"
#include "test/train/gradient_check.h"

namespace lapidary::test {
namespace {

using Values = std::span<Value* const>;
using Results = std::vector<Value*>;

TEST(GradientOfComposites, Softmax) {
  for (int axis : {0, 1})
    for (const std::vector<int64_t>& shape : std::vector<std::vector<int64_t>>{{3, 4}, {1, 1}, {2, 1}})
      expect_gradients({floats(shape)},
                       [&](GraphBuilder& b, Values in) -> Results { return {composites::softmax(b, in[0], axis)}; });
  expect_gradients({named(floats({3, 4}), {"N", "S"})},
                   [&](GraphBuilder& b, Values in) -> Results { return {composites::softmax(b, in[0], 1)}; });
}

TEST(GradientOfComposites, LayerNorm) {
  for (const bool bias : {false, true})
    for (int axis : {1, 2}) {
      const std::vector<int64_t> normalized = axis == 1 ? std::vector<int64_t>{3, 4} : std::vector<int64_t>{4};
      const auto build = [&](GraphBuilder& b, Values in) -> Results {
        return {composites::layer_norm(b, in[0], in[1], bias ? in[2] : nullptr, axis, 1e-3)[0]};
      };
      std::vector<Argument> arguments = {floats({2, 3, 4}), floats(normalized)};
      if (bias) arguments.push_back(floats(normalized));
      expect_gradients(arguments, build);
      arguments[0] = named(arguments[0], {"N", "", ""});
      expect_gradients(arguments, build);
      arguments[0].wanted = false;
      expect_gradients(arguments, build);
    }
}

TEST(GradientOfComposites, OfEveryResultOfLayerNorm) {
  for (size_t result : {1u, 2u})
    expect_gradients({floats({2, 4}), floats({4}), floats({4})}, [&](GraphBuilder& b, Values in) -> Results {
      const Results all = composites::layer_norm(b, in[0], in[1], in[2], 1, 1e-3);
      return {all[0], all[result]};
    });
  expect_gradients({floats({2, 4}), floats({4})}, [](GraphBuilder& b, Values in) -> Results {
    return {composites::layer_norm(b, in[0], in[1], nullptr, 1, 1e-3)[1]};
  });
}

TEST(GradientOfComposites, RmsNormAndGelu) {
  for (int axis : {1, 2})
    expect_gradients(
        {floats({2, 3, 4}), floats(axis == 1 ? std::vector<int64_t>{3, 4} : std::vector<int64_t>{4})},
        [&](GraphBuilder& b, Values in) -> Results { return {composites::rms_norm(b, in[0], in[1], axis, 1e-3)}; });
  for (const bool approximate : {false, true})
    expect_gradients({floats({9}, -4, 4)},
                     [&](GraphBuilder& b, Values in) -> Results { return {composites::gelu(b, in[0], approximate)}; });
}

TEST(GradientOfComposites, Attention) {
  struct Case {
    int64_t heads, groups, queries, keys;
    bool mask, causal;
    double softcap;
  };
  for (const Case& of : std::vector<Case>{{1, 1, 3, 3, false, false, 0},
                                          {2, 2, 3, 4, true, false, 0},
                                          {4, 2, 3, 3, false, true, 0},
                                          {2, 1, 2, 4, true, true, 0},
                                          {2, 2, 3, 3, false, false, 2},
                                          {2, 1, 3, 3, true, true, 1.5},
                                          {2, 2, 1, 4, false, true, 0}}) {
    SCOPED_TRACE(::testing::Message() << of.heads << " heads, " << of.groups << " groups, " << of.queries
                                      << " queries");
    std::vector<Argument> arguments = {floats({2, of.heads, of.queries, 3}), floats({2, of.groups, of.keys, 3}),
                                       floats({2, of.groups, of.keys, 2})};
    if (of.mask) arguments.push_back(floats({of.queries, of.keys}));
    const auto build = [&](GraphBuilder& b, Values in) -> Results {
      return {composites::attention(b, in[0], in[1], in[2], of.mask ? in[3] : nullptr, 0.5, of.causal, of.softcap)};
    };
    expect_gradients(arguments, build);
    arguments[0] = named(arguments[0], {"N", "", "S", ""});
    arguments[1] = named(arguments[1], {"N", "", of.queries == of.keys ? "S" : "T", ""});
    arguments[2] = named(arguments[2], {"N", "", of.queries == of.keys ? "S" : "T", ""});
    if (of.mask) arguments[3] = fixed(named(arguments[3], {"S", of.queries == of.keys ? "S" : "T"}));
    expect_gradients(arguments, build);
  }
}

TEST(GradientOfComposites, Lstm) {
  for (int direction : {composites::kForward, composites::kReverse, composites::kBothDirections})
    for (int64_t steps : {0, 1, 3}) {
      SCOPED_TRACE(::testing::Message() << "direction " << direction << ", " << steps << " steps");
      const int64_t count = direction == composites::kBothDirections ? 2 : 1;
      std::vector<Argument> arguments = {floats({steps, 2, count, 8}), floats({count, 8, 2}), floats({count, 2, 2}),
                                         floats({count, 2, 2})};
      for (const std::vector<size_t>& results : std::vector<std::vector<size_t>>{{0, 1, 2}, {0}, {1}, {2}}) {
        const auto build = [&](GraphBuilder& b, Values in) -> Results {
          const Results all = composites::recurrent(
              b, {.cell = "lstm", .direction = direction, .r = in[1], .h0 = in[2], .c0 = in[3], .xw = in[0]});
          Results some;
          for (size_t result : results) some.push_back(all[result]);
          return some;
        };
        expect_gradients(arguments, build);
      }
    }
  expect_gradients({named(floats({3, 2, 1, 8}), {"S", "N", "", ""}), floats({1, 8, 2}),
                    named(floats({1, 2, 2}), {"", "N", ""}), named(floats({1, 2, 2}), {"", "N", ""})},
                   [](GraphBuilder& b, Values in) -> Results {
                     return composites::recurrent(b,
                                                  {.cell = "lstm", .r = in[1], .h0 = in[2], .c0 = in[3], .xw = in[0]});
                   });
}

TEST(GradientOfComposites, Losses) {
  for (const std::string& name : train::loss_names()) {
    SCOPED_TRACE(name);
    const bool classifier = name == "nll" || name == "softmax_cross_entropy";
    const Argument scores = floats({3, 4}),
                   target = classifier ? integers({3}, {1, -100, 3}) : floats({3, 4}, 0.1, 0.9);
    for (double smoothing : {0.0, 0.1})
      for (const std::vector<double>& weights : std::vector<std::vector<double>>{{}, {1, 2, 0.5, 3}})
        expect_gradients({scores, target}, [&](GraphBuilder& b, Values in) -> Results {
          train::LossOptions options;
          options.label_smoothing = smoothing;
          options.weights = weights;
          return {train::build_loss(b, name, options, in[0], in[1]).value};
        });
  }
}

}  // namespace
}  // namespace lapidary::test
