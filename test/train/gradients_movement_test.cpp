// Gradients of what moves elements.
#include <gtest/gtest.h>

#include "test/train/gradient_check.h"

namespace lapidary::test {
namespace {

using Values = std::span<Value* const>;
using Results = std::vector<Value*>;

TEST(GradientOfBroadcast, SumsAlongWhatItSpread) {
  expect_gradients({floats({3})}, [](GraphBuilder& b, Values in) -> Results {
    return {b.broadcast(in[0], {1}, b.shape({2, 3, 4}))};
  });
  expect_gradients({floats({2, 1, 3})}, [](GraphBuilder& b, Values in) -> Results {
    return {b.broadcast(in[0], {0, 1, 3}, b.shape({2, 4, 2, 3}))};
  });
  expect_gradients({floats({})}, [](GraphBuilder& b, Values in) -> Results {
    return {b.broadcast(in[0], {}, b.shape({2, 0})), b.broadcast(in[0], {}, b.shape({2, 2}))};
  });
  expect_gradients({floats({1, 1})}, [](GraphBuilder& b, Values in) -> Results {
    return {b.broadcast(in[0], {0, 1}, b.shape({1, 5}))};
  });
}

TEST(GradientOfBroadcast, OverExtentsThatARunTells) {
  const auto product = [](GraphBuilder& b, Values in) -> Results { return {b.mul(in[0], in[1])}; };
  expect_gradients({named(floats({4, 3}), {"N", ""}), floats({3})}, product);
  expect_gradients({named(floats({4, 3}), {"N", "S"}), named(floats({1, 3}), {"", "S"})}, product);
  for (int64_t extent : {1, 4})  // U is 1 or N
    expect_gradients({named(floats({4, 3}), {"N", "S"}), named(floats({extent, 3}), {"U", "S"})}, product);
  expect_gradients({named(floats({0, 3}), {"N", ""}), named(floats({1, 3}), {"U", ""})}, product);
}

TEST(GradientOfReshape, GoesBack) {
  expect_gradients({floats({2, 3, 4})}, [](GraphBuilder& b, Values in) -> Results {
    return {b.reshape(in[0], b.shape({6, 4}))};
  });
  expect_gradients({floats({0, 3})}, [](GraphBuilder& b, Values in) -> Results {
    return {b.reshape(in[0], b.shape({5, 0}))};
  });
  expect_gradients({named(floats({2, 3}), {"N", ""})}, [](GraphBuilder& b, Values in) -> Results {
    return {b.reshape(in[0], {b.module.dims.mul(in[0]->type.shape[0], b.dim(3))})};
  });
}

TEST(GradientOfTranspose, GoesBack) {
  expect_gradients({floats({2, 3, 4})}, [](GraphBuilder& b, Values in) -> Results {
    return {b.transpose(in[0], {2, 0, 1})};
  });
}

TEST(GradientOfSlice, PutsZerosBetweenAndAround) {
  struct Case {
    int64_t start, step, size;
  };
  for (const Case& of : std::vector<Case>{{0, 1, 7},
                                          {2, 1, 3},
                                          {0, 2, 4},
                                          {1, 2, 3},
                                          {1, 3, 2},
                                          {6, -1, 7},
                                          {5, -2, 3},
                                          {4, -3, 2},
                                          {3, 1, 0},
                                          {3, 4, 1},
                                          {6, -4, 2},
                                          {0, -1, 1},
                                          {6, -3, 0}}) {
    SCOPED_TRACE(::testing::Message() << of.start << " step " << of.step << " size " << of.size);
    const Build build = [&](GraphBuilder& b, Values in) -> Results {
      return {b.slice(in[0], {b.dim(0), b.dim(of.start)}, {1, of.step}, {in[0]->type.shape[0], b.dim(of.size)})};
    };
    expect_gradients({floats({2, 7})}, build);
    expect_gradients({named(floats({2, 7}), {"N", ""})}, build);
  }
  expect_gradients({named(floats({5, 2}), {"N", ""})}, [](GraphBuilder& b, Values in) -> Results {  // reversed
    const Dim n = in[0]->type.shape[0];
    return {b.slice(in[0], {b.module.dims.sub(n, b.dim(1)), b.dim(0)}, {-1, 1}, {n, b.dim(2)})};
  });
}

TEST(GradientOfConcat, IsCutApart) {
  expect_gradients({floats({2, 3}), fixed(floats({2, 1})), floats({2, 0}), floats({2, 2})},
                   [](GraphBuilder& b, Values in) -> Results {
                     return {b.concat({in[0], in[1], in[2], in[3], in[0]}, 1)};
                   });
  expect_gradients({named(floats({2, 3}), {"N", ""}), named(floats({1, 3}), {"S", ""})},
                   [](GraphBuilder& b, Values in) -> Results {
                     return {b.concat({in[0], in[1]}, 0)};
                   });
}

TEST(GradientOfPad, OfEveryMode) {
  for (const char* mode : {"constant", "edge", "reflect", "wrap"}) {
    SCOPED_TRACE(mode);
    for (const auto& [lo, hi] : std::vector<std::pair<int64_t, int64_t>>{{1, 2}, {0, 3}, {2, 0}, {3, 3}, {0, 0}}) {
      const Build build = [&](GraphBuilder& b, Values in) -> Results {
        return {b.pad(in[0], {b.dim(lo), b.dim(0)}, {b.dim(hi), b.dim(1)}, mode)};
      };
      expect_gradients({floats({4, 3})}, build);
      expect_gradients({named(floats({4, 3}), {"N", "S"})}, build);
    }
  }
}

TEST(GradientOfPad, OfTheFillAndOfWhatIsCutOff) {
  const Build filled = [](GraphBuilder& b, Values in) -> Results {
    return {b.pad(in[0], b.shape({1, -1}), b.shape({0, 2}), "constant", in[1])};
  };
  expect_gradients({floats({2, 4}), floats({})}, filled);
  expect_gradients({fixed(floats({2, 4})), floats({})}, filled);
  expect_gradients({floats({0, 4}), floats({})}, filled);
  for (const char* mode : {"edge", "reflect", "wrap"}) {
    SCOPED_TRACE(mode);
    expect_gradients({floats({5})}, [&](GraphBuilder& b, Values in) -> Results {
      return {b.pad(in[0], b.shape({-1}), b.shape({2}), mode), b.pad(in[0], b.shape({2}), b.shape({-2}), mode)};
    });
  }
}

TEST(GradientOfGather, SumsWhatWasReadSeveralTimes) {
  for (int axis : {0, 1}) {
    const auto build = [axis](GraphBuilder& b, Values in) -> Results { return {b.gather(in[0], in[1], axis)}; };
    expect_gradients({floats({3, 4}), integers({4}, {0, -1, 2, 2})}, build);
    expect_gradients({floats({3, 4}), integers({2, 2}, {-3, 1, 1, -2}, DType::I32)}, build);
    expect_gradients({floats({3, 4}), integers({}, {-2})}, build);
    expect_gradients({floats({3, 4}), integers({0}, {})}, build);
    expect_gradients({named(floats({3, 4}), {"N", "S"}), named(integers({3}, {0, -1, 0}), {"I"})}, build);
  }
}

TEST(GradientOfGather, OfElements) {
  for (int axis : {0, 1})
    expect_gradients({floats({3, 3}), integers({2, 3}, {0, -1, 2, 2, 2, -2})},
                     [axis](GraphBuilder& b, Values in) -> Results { return {b.gather_elements(in[0], in[1], axis)}; });
  expect_gradients({floats({3, 3}), integers({2, 2}, {0, -1, 2, 2})},
                   [](GraphBuilder& b, Values in) -> Results { return {b.gather_elements(in[0], in[1], 1)}; });
  expect_gradients({floats({3, 3}), integers({4, 2}, {0, -1, 2, 2, 1, 0, 0, 0})},
                   [](GraphBuilder& b, Values in) -> Results { return {b.gather_elements(in[0], in[1], 0)}; });
}

TEST(GradientOfScatter, OfWhatReplacesAndOfWhatIsAdded) {
  for (const char* reduction : {"none", "add"}) {
    SCOPED_TRACE(reduction);
    const auto rows = [&](GraphBuilder& b, Values in) -> Results {
      return {b.scatter(in[0], in[1], in[2], 0, false, reduction)};
    };
    expect_gradients({floats({4, 2}), integers({3}, {0, 2, 0}), floats({3, 2})}, rows);
    expect_gradients({floats({4, 2}), integers({3}, {-1, 2, 3}), floats({3, 2})}, rows);
    expect_gradients({floats({4, 2}), integers({0}, {}), floats({0, 2})}, rows);
    expect_gradients({fixed(floats({4, 2})), integers({2}, {1, 1}), floats({2, 2})}, rows);
    expect_gradients({floats({4, 2}), integers({2}, {1, 1}), fixed(floats({2, 2}))}, rows);
    const auto columns = [&](GraphBuilder& b, Values in) -> Results {
      return {b.scatter(in[0], in[1], in[2], 1, false, reduction)};
    };
    expect_gradients({floats({2, 4}), integers({3}, {0, 2, 0}), floats({2, 3})}, columns);
    for (int axis : {0, 1}) {
      const auto elements = [&](GraphBuilder& b, Values in) -> Results {
        return {b.scatter(in[0], in[1], in[2], axis, true, reduction)};
      };
      expect_gradients({floats({3, 3}), integers({2, 3}, {0, 1, 2, 0, 1, 0}), floats({2, 3})}, elements);
      expect_gradients({floats({3, 3}), integers({2, 2}, {0, -1, -1, 2}), floats({2, 2})}, elements);
      expect_gradients({floats({2, 2}), integers({2, 2}, {0, 0, 0, 0}), floats({2, 2})}, elements);
    }
  }
}

TEST(GradientOfScatter, OfProductsAndExtremesIsRefused) {
  for (const char* reduction : {"mul", "min", "max"})
    EXPECT_EQ(refusal({floats({4}), integers({2}, {1, 1}), floats({2})},
                      [&](GraphBuilder& b, Values in) -> Results {
                        return {b.scatter(in[0], in[1], in[2], 0, false, reduction)};
                      }),
              std::string("node 'tested' (Test, opset 1): the gradient of a scatter that is a ") + reduction);
}

TEST(GradientOfTopK, GoesToWhatWasTaken) {
  for (int64_t largest : {0, 1})
    for (int64_t axis : {0, 1})
      for (int64_t k : {0, 1, 3})
        expect_gradients({floats({3, 4})}, [&](GraphBuilder& b, Values in) -> Results {
          return {b.create(OpKind::TopK, {in[0]}, {{"axis", axis}, {"k", b.dim(k)}, {"largest", largest}}).result()};
        });
}

}  // namespace
}  // namespace lapidary::test
