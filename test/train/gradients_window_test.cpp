// Gradients of convolutions and pooling.
#include <gtest/gtest.h>

#include "test/train/gradient_check.h"

namespace lapidary::test {
namespace {

using Values = std::span<Value* const>;
using Results = std::vector<Value*>;

struct Window {
  std::vector<int64_t> extents, kernel, strides, dilations, pads;
};

// Windows that end with the padded input, before it, and in its padding.
std::vector<Window> windows() {
  return {{{5}, {3}, {1}, {1}, {0, 0}},
          {{6}, {3}, {2}, {1}, {1, 1}},  // one element left over
          {{7}, {2}, {3}, {1}, {0, 1}},
          {{7}, {2}, {1}, {3}, {2, 1}},
          {{4}, {1}, {3}, {1}, {0, 0}},  // most elements in no window
          {{6}, {3}, {1}, {1}, {-1, 0}},
          {{4, 5}, {2, 3}, {1, 2}, {1, 1}, {0, 1, 1, 1}},
          {{5, 4}, {3, 2}, {2, 2}, {2, 1}, {2, 0, 1, 1}},
          {{2, 3, 2}, {2, 2, 1}, {1, 2, 1}, {1, 1, 1}, {1, 0, 0, 0, 1, 0}}};
}

std::vector<int64_t> with_channels(std::vector<int64_t> images_and_channels, const std::vector<int64_t>& extents) {
  images_and_channels.insert(images_and_channels.end(), extents.begin(), extents.end());
  return images_and_channels;
}

Shape dims_of(GraphBuilder& b, const std::vector<int64_t>& numbers) {
  Shape shape;
  for (int64_t number : numbers) shape.push_back(b.dim(number));
  return shape;
}

TEST(GradientOfConv, OfInputFilterAndBias) {
  for (const Window& of : windows())
    for (int64_t group : {1, 2}) {
      SCOPED_TRACE(::testing::PrintToString(of.extents) + ::testing::PrintToString(of.strides));
      const auto build = [&](GraphBuilder& b, Values in) -> Results {
        return {b.conv(in[0], in[1], in.size() > 2 ? in[2] : nullptr, group, of.strides, of.dilations,
                       dims_of(b, of.pads))};
      };
      const Argument x = floats(with_channels({2, 2}, of.extents)),
                     w = floats(with_channels({4, 2 / group}, of.kernel));
      expect_gradients({x, w, floats({4})}, build);
      expect_gradients({x, fixed(w)}, build);
      expect_gradients({floats(with_channels({0, 2}, of.extents)), w, floats({4})}, build);
    }
}

TEST(GradientOfConv, DepthwiseAndOfImagesThatARunCounts) {
  const auto depthwise = [](GraphBuilder& b, Values in) -> Results {
    return {b.conv(in[0], in[1], nullptr, 3, {2, 1}, {1, 1}, b.shape({1, 1, 1, 1}))};
  };
  expect_gradients({floats({2, 3, 4, 3}), floats({3, 1, 3, 3})}, depthwise);
  expect_gradients({named(floats({2, 3, 4, 3}), {"N", "", "", ""}), floats({3, 1, 3, 3})}, depthwise);
  const auto plain = [](GraphBuilder& b, Values in) -> Results {
    return {b.conv(in[0], in[1], nullptr, 1, {1, 1}, {1, 1}, b.shape({1, 1, 1, 1}))};
  };
  expect_gradients({named(floats({2, 2, 4, 3}), {"N", "", "H", "W"}), floats({2, 2, 3, 3})}, plain);
}

TEST(GradientOfConv, StridedOverAnExtentThatARunTells) {
  for (int64_t extent : {4, 5, 6, 7})
    expect_gradients({named(floats({1, 2, extent}), {"", "", "W"}), floats({2, 2, 3})},
                     [](GraphBuilder& b, Values in) -> Results {
                       return {b.conv(in[0], in[1], nullptr, 1, {2}, {1}, b.shape({1, 1}))};
                     });
}

TEST(GradientOfConvTranspose, OfInputFilterAndBias) {
  struct Case {
    Window window;
    std::vector<int64_t> widen;
  };
  for (const Case& of : std::vector<Case>{{{{4}, {3}, {1}, {1}, {0, 0}}, {0}},
                                          {{{4}, {3}, {2}, {1}, {1, 1}}, {1}},
                                          {{{3}, {2}, {3}, {1}, {0, 1}}, {2}},
                                          {{{3}, {2}, {1}, {3}, {1, 0}}, {2}},  // wider than a stride
                                          {{{3, 2}, {2, 3}, {2, 1}, {1, 2}, {1, 0, 0, 1}}, {0, 1}}})
    for (int64_t group : {1, 2}) {
      SCOPED_TRACE(::testing::PrintToString(of.window.strides) + ::testing::PrintToString(of.widen));
      const auto build = [&](GraphBuilder& b, Values in) -> Results {
        return {b.create(OpKind::ConvTranspose, {in.begin(), in.end()},
                         {{"group", group},
                          {"strides", of.window.strides},
                          {"dilations", of.window.dilations},
                          {"pads", dims_of(b, of.window.pads)},
                          {"output_padding", of.widen}})
                    .result()};
      };
      const Argument x = floats(with_channels({2, 4}, of.window.extents)),
                     w = floats(with_channels({4, 2 / group}, of.window.kernel));
      expect_gradients({x, w, floats({2})}, build);
      expect_gradients({fixed(x), w}, build);
    }
}

// The gradient of a filter is linear in both of its operands, so that it has gradients as well.
TEST(GradientOfConvFilterGradient, OfBothOperands) {
  for (const Window& of : windows())
    for (int64_t group : {1, 2}) {
      SCOPED_TRACE(::testing::PrintToString(of.extents) + ::testing::PrintToString(of.strides));
      std::vector<int64_t> counts;
      const size_t spatial = of.extents.size();
      for (size_t i = 0; i < spatial; ++i)
        counts.push_back(
            (of.extents[i] + of.pads[i] + of.pads[spatial + i] - (of.kernel[i] - 1) * of.dilations[i] - 1) /
                of.strides[i] +
            1);
      expect_gradients({floats(with_channels({2, 2}, of.extents)), floats(with_channels({2, 4}, counts))},
                       [&](GraphBuilder& b, Values in) -> Results {
                         return {b.create(OpKind::ConvFilterGradient, {in[0], in[1]},
                                          {{"group", group},
                                           {"strides", of.strides},
                                           {"dilations", of.dilations},
                                           {"pads", dims_of(b, of.pads)},
                                           {"kernel", dims_of(b, of.kernel)}})
                                     .result()};
                       });
    }
}

// Both ways of counting windows: the last one within the padded input, or begun in it.
void check_pool(OpKind kind, int64_t include_pad, const std::vector<std::string>& symbols) {
  for (const Window& of : windows())
    for (const bool ceil : {false, true}) {
      SCOPED_TRACE(::testing::PrintToString(of.extents) + ::testing::PrintToString(of.strides) +
                   (ceil ? " ceil" : " floor"));
      std::vector<int64_t> sizes;
      const size_t spatial = of.extents.size();
      for (size_t i = 0; i < spatial; ++i) {
        const int64_t padded = of.extents[i] + of.pads[i] + of.pads[spatial + i];
        const int64_t rest = padded - (of.kernel[i] - 1) * of.dilations[i] - 1;
        const int64_t count = (rest + (ceil ? of.strides[i] - 1 : 0)) / of.strides[i] + 1;
        const bool begins_behind = (count - 1) * of.strides[i] >= of.extents[i] + of.pads[i];
        sizes.push_back(begins_behind ? count - 1 : count);
      }
      std::vector<std::string> names = symbols;
      if (!names.empty()) names.resize(spatial + 2);
      expect_gradients({named(floats(with_channels({2, 3}, of.extents)), names)},
                       [&](GraphBuilder& b, Values in) -> Results {
                         Params params{{"kernel", of.kernel},
                                       {"strides", of.strides},
                                       {"dilations", of.dilations},
                                       {"pads", dims_of(b, of.pads)},
                                       {"sizes", dims_of(b, sizes)}};
                         if (kind == OpKind::AveragePool) params.set("include_pad", include_pad);
                         return {b.create(kind, {in[0]}, params).result()};
                       });
    }
}

TEST(GradientOfPools, OfTheGreatest) {
  check_pool(OpKind::MaxPool, 0, {});
  check_pool(OpKind::MaxPool, 0, {"N", "C"});
}

TEST(GradientOfPools, OfAverages) {
  for (int64_t include_pad : {0, 1}) {
    SCOPED_TRACE(include_pad);
    check_pool(OpKind::AveragePool, include_pad, {});
    check_pool(OpKind::AveragePool, include_pad, {"N"});
    check_pool(OpKind::AveragePool, include_pad, {"N", "C"});
  }
}

}  // namespace
}  // namespace lapidary::test
