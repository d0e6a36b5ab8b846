// The interpreter's ops against values worked out by hand or by a plain loop in the test.
#include "ir/interpreter.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "ir/error.h"
#include "ir/graph_builder.h"

namespace lapidary {
namespace {

using Extents = std::vector<int64_t>;
using Numbers = std::vector<double>;

Tensor floats(Extents shape, Numbers numbers) { return {DType::F32, std::move(shape), std::move(numbers), {}}; }
Tensor integers(Extents shape, std::vector<int64_t> values, DType dtype = DType::I64) {
  return {dtype, std::move(shape), {}, std::move(values)};
}
Tensor counting(Extents shape) {
  Tensor result = Tensor::zeros(DType::F32, std::move(shape));
  for (size_t i = 0; i < result.numbers.size(); i++) result.numbers[i] = static_cast<double>(i % 23) - 7;
  return result;
}

// Builds a function over arguments shaped as the inputs are and runs it.
class InterpreterTest : public ::testing::Test {
 protected:
  using Build = std::function<std::vector<Value*>(GraphBuilder&, const std::vector<Value*>&)>;

  std::vector<Tensor> run_all(const std::vector<Tensor>& inputs, const Build& build,
                              const InterpreterOptions& options = {}) {
    module = std::make_unique<Module>();
    Function& function = module->add_function("run");
    GraphBuilder builder(*module, *function.body);
    std::vector<Value*> arguments;
    for (const Tensor& input : inputs) {
      Shape shape;
      for (int64_t extent : input.shape) shape.push_back(builder.dim(extent));
      arguments.push_back(add_argument(*module, *function.body, Type::tensor(input.dtype, shape)));
    }
    builder.yield(build(builder, arguments));
    return interpret(*module, function, inputs, options);
  }
  Tensor run(const std::vector<Tensor>& inputs,
             const std::function<Value*(GraphBuilder&, const std::vector<Value*>&)>& build) {
    return run_all(inputs, [&](auto& b, auto& in) { return std::vector<Value*>{build(b, in)}; })[0];
  }
  std::unique_ptr<Module> module;
};

TEST_F(InterpreterTest, ElementwiseRoundsEachOp) {
  Tensor x = floats({2}, {16777216, 3});
  auto build = [](GraphBuilder& b, const std::vector<Value*>& in) {
    Value* one = b.broadcast_to(b.like(in[0], 1), in[0]->type.shape);
    return std::vector<Value*>{b.sub(b.add(in[0], one), in[0])};
  };
  EXPECT_EQ(run_all({x}, build)[0].numbers, (Numbers{0, 1}));
  EXPECT_EQ(run_all({x}, build, {.round = false, .on_op = nullptr})[0].numbers, (Numbers{1, 1}));
}

TEST_F(InterpreterTest, MovesElements) {
  Tensor x = floats({2, 3}, {1, 2, 3, 4, 5, 6});
  EXPECT_EQ(run({x},
                [](auto& b, auto& in) {
                  return b.transpose(in[0], {1, 0});
                })
                .numbers,
            (Numbers{1, 4, 2, 5, 3, 6}));
  EXPECT_EQ(run({x},
                [](auto& b, auto& in) {
                  return b.slice(in[0], b.shape({1, 2}), {1, -2}, b.shape({1, 2}));
                })
                .numbers,
            (Numbers{6, 4}));
  EXPECT_EQ(run({x},
                [](auto& b, auto& in) {
                  return b.concat({in[0], in[0]}, 1);
                })
                .numbers,
            (Numbers{1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6}));
  EXPECT_EQ(run({x},
                [](auto& b, auto& in) {
                  return b.broadcast(b.slice_axis(in[0], 0, b.dim(1), b.dim(1)), {1, 2}, b.shape({2, 1, 3}));
                })
                .numbers,
            (Numbers{4, 5, 6, 4, 5, 6}));
  EXPECT_EQ(run({x}, [](auto& b, auto& in) { return b.reshape(in[0], b.shape({3, 2})); }).shape, (Extents{3, 2}));
}

TEST_F(InterpreterTest, Pads) {
  Tensor x = floats({4}, {1, 2, 3, 4});
  auto padded = [&](int64_t lo, int64_t hi, const char* mode) {
    return run({x}, [&](auto& b, auto& in) { return b.pad(in[0], b.shape({lo}), b.shape({hi}), mode); }).numbers;
  };
  EXPECT_EQ(padded(2, 1, "constant"), (Numbers{0, 0, 1, 2, 3, 4, 0}));
  EXPECT_EQ(padded(-1, -2, "constant"), (Numbers{2}));
  EXPECT_EQ(padded(2, 1, "edge"), (Numbers{1, 1, 1, 2, 3, 4, 4}));
  EXPECT_EQ(padded(2, 5, "reflect"), (Numbers{3, 2, 1, 2, 3, 4, 3, 2, 1, 2, 3}));
  EXPECT_EQ(padded(2, 5, "wrap"), (Numbers{3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1}));
  Numbers filled = run({x, floats({}, {9})}, [](auto& b, auto& in) {
                     return b.pad(in[0], b.shape({1}), b.shape({0}), "constant", in[1]);
                   }).numbers;
  EXPECT_EQ(filled, (Numbers{9, 1, 2, 3, 4}));
}

TEST_F(InterpreterTest, Gathers) {
  Tensor x = floats({2, 3}, {1, 2, 3, 4, 5, 6});
  EXPECT_EQ(run({x, integers({2}, {-1, 0})}, [](auto& b, auto& in) { return b.gather(in[0], in[1], 1); }).numbers,
            (Numbers{3, 1, 6, 4}));
  EXPECT_EQ(
      run({x, integers({2, 1}, {2, -3})}, [](auto& b, auto& in) { return b.gather_elements(in[0], in[1], 1); }).numbers,
      (Numbers{3, 4}));
  EXPECT_THROW(run({x, integers({1}, {3})}, [](auto& b, auto& in) { return b.gather(in[0], in[1], 1); }), Error);
}

TEST_F(InterpreterTest, Reductions) {
  double nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
  auto reduced = [&](OpKind kind, const Tensor& x, Extents axes) {
    return run({x}, [&](auto& b, auto& in) { return b.reduce(kind, in[0], axes); });
  };
  Tensor x = floats({2, 3}, {1, 2, 3, 4, 5, 6});
  EXPECT_EQ(reduced(OpKind::ReduceSum, x, {0}).numbers, (Numbers{5, 7, 9}));
  EXPECT_EQ(reduced(OpKind::ReduceMean, x, {0, 1}).numbers, (Numbers{3.5}));
  EXPECT_EQ(reduced(OpKind::ReduceProd, x, {1}).numbers, (Numbers{6, 120}));
  EXPECT_EQ(reduced(OpKind::ReduceMax, floats({0}, {}), {0}).numbers, (Numbers{-infinity}));
  EXPECT_TRUE(std::isnan(reduced(OpKind::ReduceMax, floats({2}, {nan, 1}), {0}).numbers[0]));
  EXPECT_EQ(reduced(OpKind::ReduceSum, integers({3}, {100, 100, 1}, DType::I8), {0}).integers, (Extents{-55}));
  EXPECT_EQ(reduced(OpKind::ReduceMean, integers({2}, {-3, 0}), {0}).integers, (Extents{-1}));
  EXPECT_EQ(reduced(OpKind::ReduceMin, integers({2}, {1, 0}, DType::Bool), {0}).integers, (Extents{0}));
}

TEST_F(InterpreterTest, ContractionsOfEveryOrderOfAxes) {
  Tensor a = counting({2, 3, 4}), b = counting({5, 4, 2});  // bmk, nkb
  Tensor result = run({a, b}, [](auto& builder, auto& in) { return builder.contract(in[0], in[1], "bmk,nkb->nbm"); });
  ASSERT_EQ(result.shape, (Extents{5, 2, 3}));
  for (int64_t n = 0; n < 5; n++)
    for (int64_t batch = 0; batch < 2; batch++)
      for (int64_t m = 0; m < 3; m++) {
        double sum = 0;
        for (int64_t k = 0; k < 4; k++) sum += a.numbers[(batch * 3 + m) * 4 + k] * b.numbers[(n * 4 + k) * 2 + batch];
        EXPECT_EQ(result.numbers[(n * 2 + batch) * 3 + m], sum);
      }
  Tensor wraps = run({integers({1, 1}, {100}, DType::I8), integers({1, 1}, {3}, DType::I8)},
                     [](auto& builder, auto& in) { return builder.contract(in[0], in[1], "mk,kn->mn"); });
  EXPECT_EQ(wraps.integers, (Extents{44}));
  Tensor outer = run({counting({2}), counting({3})},
                     [](auto& builder, auto& in) { return builder.contract(in[0], in[1], "m,n->mn"); });
  EXPECT_EQ(outer.numbers, (Numbers{49, 42, 35, 42, 36, 30}));
}

// y[n, o, p] = Σ x[n, c, p·stride + q·dilation - lo] · w[o, c, q], and the same sum scattered for its transpose.
TEST_F(InterpreterTest, ConvolutionsAndTheirTransposes) {
  constexpr int64_t kGroup = 2, kHeight = 8, kWidth = 6, kKernel = 3;
  Tensor x = counting({2, 4, kHeight, kWidth}), w = counting({6, 2, kKernel, kKernel}), bias = counting({6});
  Extents strides = {2, 1}, dilations = {1, 2};
  Tensor y = run({x, w, bias}, [&](auto& b, auto& in) {
    return b.conv(in[0], in[1], in[2], kGroup, strides, dilations, b.shape({1, 2, 1, 0}));
  });
  ASSERT_EQ(y.shape, (Extents{2, 6, 4, 4}));
  auto source = [&](int64_t p, int64_t q, int axis) {
    return p * strides[axis] + q * dilations[axis] - (axis == 0 ? 1 : 2);
  };
  for (int64_t i = 0; i < y.elements(); i++) {
    int64_t pw = i % 4, ph = i / 4 % 4, o = i / 16 % 6, n = i / 96;
    double sum = bias.numbers[o];
    for (int64_t c = 0; c < 2; c++)
      for (int64_t q = 0; q < 9; q++) {
        int64_t h = source(ph, q / 3, 0), v = source(pw, q % 3, 1);
        if (h < 0 || h >= kHeight || v < 0 || v >= kWidth) continue;
        sum += x.numbers[((n * 4 + o / 3 * 2 + c) * kHeight + h) * kWidth + v] * w.numbers[(o * 2 + c) * 9 + q];
      }
    ASSERT_EQ(y.numbers[i], sum) << i;
  }
  // <conv(x), z> == <x, conv_transpose(z)> without bias: the transpose is the gradient by the input.
  Tensor z = counting({2, 6, 4, 4});
  Tensor back = run({z, w}, [&](GraphBuilder& b, auto& in) {
    Params params{{"group", kGroup},
                  {"strides", strides},
                  {"dilations", dilations},
                  {"pads", b.shape({1, 2, 1, 0})},
                  {"output_padding", Extents{1, 0}}};
    return b.create(OpKind::ConvTranspose, {in[0], in[1]}, params).result();
  });
  Tensor forth = run({x, w}, [&](auto& b, auto& in) {
    return b.conv(in[0], in[1], nullptr, kGroup, strides, dilations, b.shape({1, 2, 1, 0}));
  });
  ASSERT_EQ(back.shape, x.shape);
  double left = 0, right = 0;
  for (int64_t i = 0; i < z.elements(); i++) left += forth.numbers[i] * z.numbers[i];
  for (int64_t i = 0; i < x.elements(); i++) right += x.numbers[i] * back.numbers[i];
  EXPECT_EQ(left, right);
}

TEST_F(InterpreterTest, FilterGradientByHand) {
  Tensor x = floats({1, 1, 4}, {1, 2, 3, 4}), dy = floats({1, 1, 3}, {1, 10, 100});
  Tensor dw = run({x, dy}, [](GraphBuilder& b, auto& in) {
    Params params{{"group", int64_t{1}},
                  {"strides", Extents{2}},
                  {"dilations", Extents{1}},
                  {"pads", b.shape({1, 2})},
                  {"kernel", b.shape({3})}};
    return b.create(OpKind::ConvFilterGradient, {in[0], in[1]}, params).result();
  });
  ASSERT_EQ(dw.shape, (Extents{1, 1, 3}));  // windows 0 1 2, 2 3 4, 4 0 0
  EXPECT_EQ(dw.numbers, (Numbers{420, 31, 42}));
}

// conv is linear in its weight: the gradient by one weight is <conv(x, that weight alone), dy>.
TEST_F(InterpreterTest, FilterGradientsAreConvolutionsOfSingleWeights) {
  constexpr int64_t kGroup = 2;
  Tensor x = counting({2, 4, 8, 6}), dy = counting({2, 6, 4, 4});
  Extents strides = {2, 1}, dilations = {1, 2};
  Tensor dw = run({x, dy}, [&](GraphBuilder& b, auto& in) {
    Params params{{"group", kGroup},
                  {"strides", strides},
                  {"dilations", dilations},
                  {"pads", b.shape({1, 2, 1, 0})},
                  {"kernel", b.shape({3, 3})}};
    return b.create(OpKind::ConvFilterGradient, {in[0], in[1]}, params).result();
  });
  ASSERT_EQ(dw.shape, (Extents{6, 2, 3, 3}));
  for (int64_t i = 0; i < dw.elements(); i += 5) {
    Tensor w = Tensor::zeros(DType::F32, dw.shape);
    w.numbers[i] = 1;
    Tensor y = run({x, w}, [&](auto& b, auto& in) {
      return b.conv(in[0], in[1], nullptr, kGroup, strides, dilations, b.shape({1, 2, 1, 0}));
    });
    double sum = 0;
    for (int64_t j = 0; j < y.elements(); j++) sum += y.numbers[j] * dy.numbers[j];
    ASSERT_EQ(dw.numbers[i], sum) << i;
  }
}

TEST_F(InterpreterTest, Pools) {
  Tensor x = floats({1, 1, 5}, {1, 5, 2, 4, 3});
  auto pooled = [&](OpKind kind, int64_t include_pad) {
    return run({x},
               [&](GraphBuilder& b, auto& in) {
                 Params params{{"kernel", Extents{3}},
                               {"strides", Extents{2}},
                               {"dilations", Extents{1}},
                               {"pads", b.shape({1, 1})},
                               {"sizes", b.shape({4})}};
                 if (kind == OpKind::AveragePool) params.set("include_pad", include_pad);
                 return b.create(kind, {in[0]}, params).result();
               })
        .numbers;
  };
  double minus = -std::numeric_limits<double>::infinity();
  EXPECT_EQ(pooled(OpKind::MaxPool, 0), (Numbers{5, 5, 4, minus}));
  Numbers excluded = pooled(OpKind::AveragePool, 0), included = pooled(OpKind::AveragePool, 1);
  EXPECT_EQ(excluded[0], 3);
  EXPECT_EQ(included[0], 2);
  EXPECT_EQ(excluded[2], 3.5);
  EXPECT_EQ(included[2], round_to(DType::F32, 7.0 / 3));
  EXPECT_EQ(included[3], 0) << "one position in the padding, the rest beyond it";
}

// Equal elements: the first; NaN: the last; windows that overlap add up; what lies in the padding takes nothing.
TEST_F(InterpreterTest, MaxPoolGradients) {
  const double nan = std::numeric_limits<double>::quiet_NaN(), minus = -std::numeric_limits<double>::infinity();
  auto taps_and_gradient = [&](const Tensor& x, int64_t stride, int64_t lo, int64_t hi, Numbers dy) {
    const auto outputs = static_cast<int64_t>(dy.size());
    return run_all({x, floats({1, 1, outputs}, std::move(dy))}, [&](GraphBuilder& b, auto& in) {
      Params params{{"kernel", Extents{3}},
                    {"strides", Extents{stride}},
                    {"dilations", Extents{1}},
                    {"pads", b.shape({lo, hi})},
                    {"sizes", b.shape({outputs})}};
      Value* taps = b.create(OpKind::MaxPoolTap, {in[0]}, params).result();
      params.set("sizes", Shape{in[0]->type.shape[2]});
      return std::vector<Value*>{taps, b.create(OpKind::MaxPoolGradient, {in[1], taps}, params).result()};
    });
  };
  std::vector<Tensor> strided = taps_and_gradient(floats({1, 1, 5}, {1, 5, 5, 4, 3}), 2, 1, 1, {1, 10, 100});
  EXPECT_EQ(strided[0].dtype, DType::U8);
  EXPECT_EQ(strided[0].integers, (Extents{2, 0, 0}));
  EXPECT_EQ(strided[1].numbers, (Numbers{0, 11, 0, 100, 0}));
  std::vector<Tensor> broken = taps_and_gradient(floats({1, 1, 5}, {nan, nan, 5, minus, minus}), 1, 0, 1, {1, 2, 4, 8});
  EXPECT_EQ(broken[0].integers, (Extents{1, 0, 0, 0}));
  EXPECT_EQ(broken[1].numbers, (Numbers{0, 3, 4, 8, 0}));
  std::vector<Tensor> beside = taps_and_gradient(floats({1, 1, 2}, {minus, minus}), 4, 1, 4, {1, 2});
  EXPECT_EQ(beside[0].integers, (Extents{1, 0}));
  EXPECT_EQ(beside[1].numbers, (Numbers{1, 0}));
}

// Against differences of max_pool, of elements far enough apart.
TEST_F(InterpreterTest, MaxPoolGradientsAreDifferences) {
  constexpr int64_t kHeight = 5, kWidth = 7;
  constexpr double kStep = 0.25;
  Tensor x = Tensor::zeros(DType::F32, {2, 1, kHeight, kWidth}), dy = counting({2, 1, 3, 3});
  for (int64_t i = 0; i < x.elements(); i++) x.numbers[i] = static_cast<double>(i * 37 % 71);
  auto params = [](GraphBuilder& b, const Shape& sizes) {
    return Params{{"kernel", Extents{3, 2}},
                  {"strides", Extents{2, 3}},
                  {"dilations", Extents{1, 2}},
                  {"pads", b.shape({1, 0, 1, 2})},
                  {"sizes", sizes}};
  };
  Tensor dx = run({x, dy}, [&](GraphBuilder& b, auto& in) {
    Value* taps = b.create(OpKind::MaxPoolTap, {in[0]}, params(b, b.shape({3, 3}))).result();
    return b.create(OpKind::MaxPoolGradient, {in[1], taps}, params(b, b.shape({kHeight, kWidth}))).result();
  });
  auto loss = [&](const Tensor& at) {
    Tensor y = run({at}, [&](GraphBuilder& b, auto& in) {
      return b.create(OpKind::MaxPool, {in[0]}, params(b, b.shape({3, 3}))).result();
    });
    double sum = 0;
    for (int64_t i = 0; i < y.elements(); i++) sum += y.numbers[i] * dy.numbers[i];
    return sum;
  };
  for (int64_t i = 0; i < x.elements(); i++) {
    Tensor more = x, less = x;
    more.numbers[i] += kStep;
    less.numbers[i] -= kStep;
    ASSERT_EQ(dx.numbers[i], (loss(more) - loss(less)) / (2 * kStep)) << i;
  }
}

TEST_F(InterpreterTest, IotaDimsAndConvert) {
  std::vector<Tensor> results = run_all({}, [](GraphBuilder& b, auto&) {
    return std::vector<Value*>{b.iota(DType::F32, b.shape({2, 3}), 1), b.dims_tensor({b.dim(3), b.dim(-1)}, {2}),
                               b.convert(b.scalar(DType::F32, 300.7), DType::U8)};
  });
  EXPECT_EQ(results[0].numbers, (Numbers{0, 1, 2, 0, 1, 2}));
  EXPECT_EQ(results[1].integers, (Extents{3, -1}));
  EXPECT_EQ(results[2].integers, (Extents{255}));
}

// Fibonacci numbers: the iteration is not used, the slices are.
TEST_F(InterpreterTest, LoopsCarryAndStack) {
  for (bool reverse : {false, true}) {
    std::vector<Tensor> results = run_all({integers({}, {0}), integers({}, {1})}, [&](GraphBuilder& b, const auto& in) {
      return b.loop(b.dim(5), {in[0], in[1]}, {}, reverse, [](GraphBuilder& step, std::span<Value* const> at) {
        return std::vector<Value*>{at[2], step.add(at[1], at[2]), at[1]};
      });
    });
    EXPECT_EQ(results[0].integers, (Extents{5}));
    EXPECT_EQ(results[2].integers, reverse ? (Extents{3, 2, 1, 1, 0}) : (Extents{0, 1, 1, 2, 3}));
  }
}

TEST_F(InterpreterTest, CompositesRunTheirBodyAndEveryOpIsSeen) {
  int seen = 0;
  InterpreterOptions options;
  options.on_op = [&](const Op& op, const std::vector<Tensor>& results) {
    seen++;
    EXPECT_EQ(results.size(), op.results.size());
  };
  std::vector<Tensor> results = run_all(
      {floats({2}, {3, -4})},
      [](GraphBuilder& b, const auto& in) {
        return b.composite("square", {}, {in[0]}, [](GraphBuilder& body, std::span<Value* const> x) {
          return std::vector<Value*>{body.mul(x[0], x[0])};
        });
      },
      options);
  EXPECT_EQ(results[0].numbers, (Numbers{9, 16}));
  EXPECT_EQ(seen, 2);
}

class BoundShapes : public ::testing::Test {
 protected:
  void SetUp() override {
    Function& function = module.add_function("run");
    GraphBuilder builder(module, *function.body);
    n = module.dims.symbol("N", {1, 100});
    Value* x = add_argument(module, *function.body, Type::tensor(DType::F32, {n, builder.dim(2)}));
    Value* y = add_argument(module, *function.body, Type::tensor(DType::F32, {module.dims.mul(n, builder.dim(2))}));
    function.argument_names = {"x", "y"};
    builder.yield({builder.add(builder.reshape(x, {module.dims.mul(n, builder.dim(2))}), y)});
  }
  std::string error_of(const std::vector<Tensor>& inputs) {
    try {
      interpret(module, *module.function("run"), inputs);
    } catch (const Error& error) {
      EXPECT_EQ(error.fault, Fault::Input);
      return error.what();
    }
    return "";
  }
  Module module;
  Dim n = nullptr;
};

TEST_F(BoundShapes, SymbolsComeFromTheInputs) {
  std::vector<Tensor> inputs = {floats({2, 2}, {1, 2, 3, 4}), floats({4}, {1, 1, 1, 1})};
  EXPECT_EQ(interpret(module, *module.function("run"), inputs)[0].numbers, (Numbers{2, 3, 4, 5}));
}

TEST_F(BoundShapes, InputsThatDoNotFitAreErrors) {
  EXPECT_EQ(error_of({counting({2, 2}), counting({5})}), "input 'y' has extent 5 on axis 0, expected 2*N = 4");
  EXPECT_EQ(error_of({counting({2, 3}), counting({4})}), "input 'x' has extent 3 on axis 1, expected 2 = 2");
  EXPECT_EQ(error_of({counting({2}), counting({4})}), "input 'x' has rank 1, expected 2");
  EXPECT_EQ(error_of({counting({2, 2})}), "1 inputs, expected 2");
  EXPECT_EQ(error_of({integers({2, 2}, {1, 2, 3, 4}), counting({4})}), "input 'x' has type i64, expected f32");
  EXPECT_EQ(error_of({floats({0, 2}, {}), floats({0}, {})}), "input 'x' has extent 0 on axis 0, expected 1 to 100");
}

TEST_F(BoundShapes, ChecksOfTheModule) {
  module.check(module.dims.less(n, module.dims.constant(3)), "N must be small");
  EXPECT_EQ(error_of({counting({2, 2}), counting({4})}), "");
  EXPECT_EQ(error_of({counting({3, 2}), counting({6})}), "N must be small");
}

// A slice whose size is an element of an input: known only once the value is there.
TEST(ElementDims, AreLookedUpInValues) {
  Module module;
  Function& function = module.add_function("run");
  GraphBuilder b(module, *function.body);
  Value* x = add_argument(module, *function.body, Type::tensor(DType::F32, b.shape({4})));
  Value* k = add_argument(module, *function.body, Type::tensor(DType::I64, {}));
  Dim size = module.dims.element(k->id, 0);
  b.yield({b.slice(x, b.shape({1}), {1}, {size})});
  std::vector<Tensor> inputs = {floats({4}, {1, 2, 3, 4}), integers({}, {2})};
  EXPECT_EQ(interpret(module, function, inputs)[0].numbers, (Numbers{2, 3}));
  inputs[1].integers[0] = 4;
  EXPECT_THROW(interpret(module, function, inputs), Error);
  const Op& slice = *function.body->results()[0]->producer;
  std::vector<Tensor> operands = {inputs[0]};
  EXPECT_FALSE(interpret_op(module, slice, operands)) << "the size has no value";
}

TEST(Tensors, BytesComeBack) {
  for (DType dtype : {DType::F16, DType::I4, DType::Bool, DType::U64, DType::F32}) {
    Tensor tensor = Tensor::zeros(dtype, {3});
    for (int i = 0; i < 3; i++) tensor.set(i, convert(Scalar::of_integer(DType::I64, i - 1), dtype));
    Tensor back = Tensor::from_bytes(dtype, {3}, tensor.to_bytes());
    EXPECT_EQ(back.numbers, tensor.numbers);
    EXPECT_EQ(back.integers, tensor.integers);
  }
  EXPECT_THROW(Tensor::from_bytes(DType::F32, {3}, {}), Error);
  EXPECT_THROW(Tensor::zeros(DType::F32, {INT64_MAX, 4}), Error);
}

}  // namespace
}  // namespace lapidary
