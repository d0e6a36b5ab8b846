// What ONNX's node tests do not say of operators that read and write at positions.
#include "test/frontend/imported.h"

namespace lapidary::frontend {
namespace {

Tensor counted(std::vector<int64_t> shape) {
  Tensor tensor = Tensor::zeros(DType::F32, std::move(shape));
  for (int64_t i = 0; i < tensor.elements(); ++i) tensor.numbers[i] = static_cast<double>(i * i % 17);
  return tensor;
}

void expect_near(const Tensor& actual, const Tensor& expected, double tolerance) {
  ASSERT_EQ(actual.shape, expected.shape);
  for (int64_t i = 0; i < expected.elements(); ++i) EXPECT_NEAR(actual.at(i).number, expected.at(i).number, tolerance);
}

// Bins of more than one and at most two elements have two samples along each axis, however that is said.
TEST(RoiAlign, SamplesByTheSizeOfABinAreTheSamplesOfThatRatio) {
  const auto model = [](int ratio, int images) {
    return model_text(
        fmt::format("g (float[{},2,6,7] x, float[R,4] r) => (float[a,b,c,d] y) <int64[5] b = {{0,0,0,{},0}}> "
                    "{{ y = RoiAlign<output_height=3,output_width=2,sampling_ratio={}>(x, r, b) }}",
                    images, images - 1, ratio));
  };
  const Tensor regions = floats({5, 4}, {0, 0, 3.5, 5, 1, 1, 4, 6, -1.5, -2, 2, 3, 4, 2, 8, 7.5, 5, 4, 9, 9});
  for (int images : {1, 2}) {
    const Tensor x = counted({images, 2, 6, 7});
    expect_near(values(model(0, images), {x, regions})[0], values(model(2, images), {x, regions})[0], 1e-5);
  }
}

// 0.7 is meant as 7/10: element 3 comes from 4.5, halfway, and goes down.
TEST(Resize, ScalesAreTheFractionsTheyAreMeantToBe) {
  const std::string text =
      model_text("g (float[N] x) => (float[a] y) <float[1] s = {0.7}> { y = Resize<mode=\"nearest\">(x, , s) }");
  EXPECT_EQ(values(text, {floats({10}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9})})[0].numbers,
            (std::vector<double>{0, 2, 3, 4, 6, 7, 9}));
}

// A whole factor of nearest neighbours, as a broadcast, is what its table of indices says.
TEST(Resize, RepeatsWhereTheTableWould) {
  const auto model = [](const char* mode, const char* nearest) {
    return model_text(
        fmt::format("g (float[N,C,H,W] x) => (float[a,b,c,d] y) <float[4] s = {{1,1,3,2}}> "
                    "{{ y = Resize<mode=\"nearest\",coordinate_transformation_mode=\"{}\","
                    "nearest_mode=\"{}\">(x, , s) }}",
                    mode, nearest));
  };
  const Tensor x = counted({1, 2, 4, 5});
  const Tensor repeated = values(model("asymmetric", "floor"), {x})[0];
  EXPECT_EQ(repeated.numbers, values(model("half_pixel", "round_prefer_ceil"), {x})[0].numbers);
  for (int64_t h = 0; h < 12; ++h)
    for (int64_t w = 0; w < 10; ++w) EXPECT_EQ(repeated.numbers[h * 10 + w], x.numbers[h / 3 * 5 + w / 2]);
}

TEST(Resize, TakesScalesComputedOfShapes) {
  const std::string text = model_text(
      "g (float[1,1,H,W] x, float[1,1,A,B] t) => (float[a,b,c,d] y) <int64[2] i = {2, 3}, float[2] one = {1, 1}> {"
      " s = Shape(x) u = Shape(t) p = Gather(s, i) q = Gather(u, i) f = Cast<to=1>(p) g = Cast<to=1>(q) h = Div(g, f)"
      " z = Concat<axis=0>(one, h) y = Resize<mode=\"linear\">(x, , z) }");
  EXPECT_EQ(values(text, {counted({1, 1, 4, 6}), counted({1, 1, 8, 3})})[0].shape, (std::vector<int64_t>{1, 1, 8, 3}));
}

// MaxUnpool puts back what MaxPool took, by the places it gave.
TEST(MaxPool, ItsIndicesAreWhereTheMaximaAre) {
  const std::string text = model_text(
      "g (float[N,C,H,W] x) => (float[a,b,c,d] p, int64[a,b,c,d] i) { p, i = MaxPool<kernel_shape=[3,2],strides=[2,2],"
      "pads=[1,0,1,1]>(x) }");
  const Tensor x = counted({2, 3, 5, 7});
  const std::vector<Tensor> results = values(text, {x});
  ASSERT_EQ(results[0].shape, results[1].shape);
  for (int64_t i = 0; i < results[0].elements(); ++i)
    EXPECT_EQ(results[0].numbers[i], x.numbers[results[1].integers[i]]);
}

// Whole, split into factors, or by way of a chirp, it is one transform: of an impulse at 1, e^(-2πik/n).
TEST(DFT, EveryLengthIsTheSameTransform) {
  for (int64_t n : {480, 600, 1024, 2053}) {
    const std::string text =
        model_text(fmt::format("g (float[1,{0},1] x) => (float[a,b,c] y) {{ y = DFT<axis=1>(x) }}", n));
    Tensor x = Tensor::zeros(DType::F32, {1, n, 1});
    x.numbers[1] = 1;
    const Tensor y = values(text, {x})[0];
    ASSERT_EQ(y.shape, (std::vector<int64_t>{1, n, 2}));
    for (int64_t k = 0; k < n; ++k) {
      const double angle = -2 * M_PI * static_cast<double>(k) / static_cast<double>(n);
      EXPECT_NEAR(y.numbers[2 * k], std::cos(angle), 1e-6);
      EXPECT_NEAR(y.numbers[2 * k + 1], std::sin(angle), 1e-6);
    }
  }
}

// Half a spectrum is enough to get real numbers back.
TEST(DFT, TheInverseOfOneSideGivesTheSignal) {
  for (int64_t n : {10, 11, 600}) {
    const Tensor x = counted({1, n, 1});
    const std::string text = model_text(
        fmt::format("g (float[1,{0},1] x) => (float[a,b,c] y) <int64 n = {{{0}}}> {{ s = DFT<axis=1,onesided=1>(x) "
                    "y = DFT<axis=1,onesided=1,inverse=1>(s, n) }}",
                    n));
    expect_near(values(text, {x})[0], x, 1e-4);
  }
}

}  // namespace
}  // namespace lapidary::frontend
