// The bodies of the composites, run by the interpreter, against their formulas written out.
#include "ir/composites.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "ir/interpreter.h"
#include "ir/verifier.h"

namespace lapidary {
namespace {

using Shape64 = std::vector<int64_t>;

struct CompositesTest : testing::Test {
  Module module;
  Function& run = module.add_function("run");
  GraphBuilder b{module, *run.body};
  std::vector<Tensor> inputs;
  std::mt19937 random{7};

  // An argument of float64 with random numbers in [-2, 2).
  Value* input(const Shape64& shape) {
    Tensor tensor = Tensor::zeros(DType::F64, shape);
    std::uniform_real_distribution<double> numbers(-2, 2);
    for (double& number : tensor.numbers) number = numbers(random);
    return input(std::move(tensor));
  }
  Value* input(Tensor tensor) {
    Shape shape;
    for (int64_t extent : tensor.shape) shape.push_back(b.dim(extent));
    run.argument_names.push_back(std::to_string(inputs.size()));
    inputs.push_back(std::move(tensor));
    return add_argument(module, *run.body, Type::tensor(inputs.back().dtype, shape));
  }
  std::vector<Tensor> outputs(const std::vector<Value*>& results) {
    for (size_t i = 0; i < results.size(); i++) run.result_names.push_back(std::to_string(i));
    b.yield(results);
    for (const std::string& violation : verify(module)) ADD_FAILURE() << violation;
    return interpret(module, run, inputs);
  }
  const std::vector<double>& in(size_t index) const { return inputs[index].numbers; }

  static void expect_near(const Tensor& found, const std::vector<double>& expected) {
    ASSERT_EQ(found.numbers.size(), expected.size());
    for (size_t i = 0; i < expected.size(); i++) EXPECT_NEAR(found.numbers[i], expected[i], 1e-12) << "element " << i;
  }
};

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

TEST_F(CompositesTest, SoftmaxAlongAnInnerAxis) {
  Tensor y = outputs({composites::softmax(b, input({2, 5, 3}), 1)})[0];
  std::vector<double> expected(30);
  for (int i = 0; i < 2; i++) {
    for (int k = 0; k < 3; k++) {
      double sum = 0;
      for (int j = 0; j < 5; j++) sum += std::exp(in(0)[(i * 5 + j) * 3 + k]);
      for (int j = 0; j < 5; j++) expected[(i * 5 + j) * 3 + k] = std::exp(in(0)[(i * 5 + j) * 3 + k]) / sum;
    }
  }
  expect_near(y, expected);
}

TEST_F(CompositesTest, LayerNormWithItsStatistics) {
  Value *x = input({3, 2, 4}), *scale = input({2, 4}), *bias = input({2, 4});
  auto results = outputs(composites::layer_norm(b, x, scale, bias, 1, 1e-5));
  std::vector<double> y(24), means(3), inverses(3);
  for (int i = 0; i < 3; i++) {
    double variance = 0;
    for (int j = 0; j < 8; j++) means[i] += in(0)[i * 8 + j] / 8;
    for (int j = 0; j < 8; j++) variance += std::pow(in(0)[i * 8 + j] - means[i], 2) / 8;
    inverses[i] = 1 / std::sqrt(variance + 1e-5);
    for (int j = 0; j < 8; j++) y[i * 8 + j] = (in(0)[i * 8 + j] - means[i]) * inverses[i] * in(1)[j] + in(2)[j];
  }
  expect_near(results[0], y);
  expect_near(results[1], means);
  expect_near(results[2], inverses);
  EXPECT_EQ(results[1].shape, (Shape64{3, 1, 1}));
}

TEST_F(CompositesTest, RmsNorm) {
  Value *x = input({3, 4}), *scale = input({4});
  Tensor y = outputs({composites::rms_norm(b, x, scale, 1, 1e-6)})[0];
  std::vector<double> expected(12);
  for (int i = 0; i < 3; i++) {
    double square = 0;
    for (int j = 0; j < 4; j++) square += std::pow(in(0)[i * 4 + j], 2) / 4;
    for (int j = 0; j < 4; j++) expected[i * 4 + j] = in(0)[i * 4 + j] / std::sqrt(square + 1e-6) * in(1)[j];
  }
  expect_near(y, expected);
}

TEST_F(CompositesTest, GeluExactAndByTanh) {
  Value* x = input({20});
  auto results = outputs({composites::gelu(b, x, false), composites::gelu(b, x, true)});
  std::vector<double> exact, curve;
  for (double v : in(0)) {
    exact.push_back(v / 2 * (1 + std::erf(v / std::sqrt(2))));
    curve.push_back(v / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v))));
  }
  expect_near(results[0], exact);
  expect_near(results[1], curve);
}

// One row of attention: a query against the keys and values of its head; `visible` keys, a term for each score.
std::vector<double> attend(const double* query, const double* keys, const double* values, int visible, int depth,
                           int width, double scale, const double* terms) {
  std::vector<double> weights(visible), row(width);
  double sum = 0;
  for (int t = 0; t < visible; t++) {
    double score = 0;
    for (int d = 0; d < depth; d++) score += query[d] * keys[t * depth + d];
    sum += weights[t] = std::exp(score * scale + (terms ? terms[t] : 0));
  }
  for (int t = 0; t < visible; t++) {
    for (int e = 0; e < width; e++) row[e] += weights[t] / sum * values[t * width + e];
  }
  return row;
}

struct AttentionTest : CompositesTest, testing::WithParamInterface<std::tuple<bool, bool, int>> {};

TEST_P(AttentionTest, IsItsFormula) {
  auto [causal, masked, groups] = GetParam();
  constexpr int B = 2, H = 4, S = 3, T = 5, D = 6, E = 7;
  Value *q = input({B, H, S, D}), *k = input({B, groups, T, D}), *v = input({B, groups, T, E});
  Value* mask = masked ? input({B, 1, S, T}) : nullptr;
  Tensor y = outputs({composites::attention(b, q, k, v, mask, 0.4, causal)})[0];
  std::vector<double> expected;
  for (int n = 0; n < B; n++) {
    for (int h = 0; h < H; h++) {
      int head = n * groups + h / (H / groups);
      for (int s = 0; s < S; s++) {
        int visible = causal ? s + T - S + 1 : T;
        const double* terms = masked ? &in(3)[(n * S + s) * T] : nullptr;
        auto row = attend(&in(0)[((n * H + h) * S + s) * D], &in(1)[head * T * D], &in(2)[head * T * E], visible, D, E,
                          0.4, terms);
        expected.insert(expected.end(), row.begin(), row.end());
      }
    }
  }
  EXPECT_EQ(y.shape, (Shape64{B, H, S, E}));
  expect_near(y, expected);
}

INSTANTIATE_TEST_SUITE_P(Forms, AttentionTest,
                         testing::Combine(testing::Bool(), testing::Bool(), testing::Values(1, 2, 4)));

// One layer of a cell against the formulas of ONNX, element by element.
struct RecurrentTest : CompositesTest, testing::WithParamInterface<std::tuple<std::string, int, bool>> {
  static constexpr int S = 4, B = 2, I = 3, H = 5;
  std::string cell = std::get<0>(GetParam());
  int gates = composites::gates_of(cell);
  std::vector<double> w, r, bias, r_bias;  // of one direction
  std::vector<double> h, c;                // [H], of one batch row

  double dot(const std::vector<double>& rows, int row, const double* x, int depth) const {
    double sum = 0;
    for (int i = 0; i < depth; i++) sum += rows[row * depth + i] * x[i];
    return sum;
  }

  void step(const double* x) {
    std::vector<double> before = h, kept(H);
    auto in = [&](int gate, int u) { return bias[gate * H + u] + dot(w, gate * H + u, x, I); };
    auto sum = [&](int gate, int u) { return in(gate, u) + dot(r, gate * H + u, before.data(), H); };
    if (cell == "gru")
      for (int u = 0; u < H; u++) kept[u] = sigmoid(sum(1, u)) * before[u];
    for (int u = 0; u < H; u++) {
      if (cell == "rnn") h[u] = std::tanh(sum(0, u));
      if (cell == "rnn_relu") h[u] = std::max(sum(0, u), 0.0);
      if (cell == "lstm") {
        c[u] = sigmoid(sum(2, u)) * c[u] + sigmoid(sum(0, u)) * std::tanh(sum(3, u));
        h[u] = sigmoid(sum(1, u)) * std::tanh(c[u]);
      }
      if (cell != "gru" && cell != "gru_linear") continue;
      double under = cell == "gru" ? dot(r, 2 * H + u, kept.data(), H)
                                   : sigmoid(sum(1, u)) * (dot(r, 2 * H + u, before.data(), H) + r_bias[u]);
      double z = sigmoid(sum(0, u));
      h[u] = (1 - z) * std::tanh(in(2, u) + under) + z * before[u];
    }
  }
};

std::vector<double> part(const std::vector<double>& all, int index, int parts) {
  size_t size = all.size() / static_cast<size_t>(parts);
  return {all.begin() + static_cast<ptrdiff_t>(size) * index, all.begin() + static_cast<ptrdiff_t>(size) * (index + 1)};
}

TEST_P(RecurrentTest, IsItsRecurrence) {
  auto [name, direction, with_lengths] = GetParam();
  const int directions = direction == composites::kBothDirections ? 2 : 1;
  std::vector<int> lengths = with_lengths ? std::vector<int>{4, 2} : std::vector<int>{S, S};
  Value *x = input({S, B, I}), *all_w = input({directions, gates * H, I}), *b_all = input({directions, gates * H});
  composites::Recurrence of{
      .cell = cell, .direction = direction, .r = input({directions, gates * H, H}), .h0 = input({directions, B, H})};
  if (cell == "lstm") of.c0 = input({directions, B, H});
  if (cell == "gru_linear") of.r_bias = input({directions, H});
  if (with_lengths) {
    std::vector<Scalar> numbers;
    for (int length : lengths) numbers.push_back(Scalar::of_integer(DType::I32, length));
    of.lengths = b.constant(module.constants.add_scalars(DType::I32, {B}, numbers));
  }
  auto results = outputs(composites::recurrent_layer(b, x, all_w, b_all, of));
  std::vector<double> y(S * directions * B * H), last_h(directions * B * H), last_c(cell == "lstm" ? last_h.size() : 0);
  for (int d = 0; d < directions; d++) {
    w = part(in(1), d, directions), bias = part(in(2), d, directions), r = part(in(3), d, directions);
    if (cell == "gru_linear") r_bias = part(in(5), d, directions);
    for (int n = 0; n < B; n++) {
      h = part(in(4), d * B + n, directions * B);
      if (cell == "lstm") c = part(in(5), d * B + n, directions * B);
      for (int i = 0; i < lengths[n]; i++) {
        int t = direction == composites::kReverse || d == 1 ? lengths[n] - 1 - i : i;
        step(&in(0)[(t * B + n) * I]);
        std::copy(h.begin(), h.end(), y.begin() + ((t * directions + d) * B + n) * H);
      }
      std::copy(h.begin(), h.end(), last_h.begin() + (d * B + n) * H);
      if (cell == "lstm") std::copy(c.begin(), c.end(), last_c.begin() + (d * B + n) * H);
    }
  }
  expect_near(results[0], y);
  expect_near(results[1], last_h);
  if (cell == "lstm") expect_near(results[2], last_c);
}

INSTANTIATE_TEST_SUITE_P(Cells, RecurrentTest,
                         testing::Combine(testing::Values("lstm", "gru", "gru_linear", "rnn", "rnn_relu"),
                                          testing::Values(0, 1, 2), testing::Bool()));

// Two trees over two features: x0 ≤ 1 ? (x1 ≤ 0 ? leaf 0 : leaf 1) : leaf 2, NaN of x0 to the left; and leaf 3 alone.
// Leaf 1 speaks of both targets, leaf 3 of target 1, the others of target 0.
struct TreeTest : CompositesTest {
  Value* integers(DType dtype, Shape64 shape, const std::vector<int64_t>& values) {
    std::vector<Scalar> scalars;
    for (int64_t value : values) scalars.push_back(Scalar::of_integer(dtype, value));
    return b.constant(module.constants.add_scalars(dtype, std::move(shape), scalars));
  }
  Value* numbers(Shape64 shape, const std::vector<double>& values) {
    std::vector<Scalar> scalars;
    for (double value : values) scalars.push_back(Scalar::of_float(DType::F64, value));
    return b.constant(module.constants.add_scalars(DType::F64, std::move(shape), scalars));
  }
  Tensor scores(OpKind reduce) {
    const double nan = NAN;
    composites::TreeEnsemble of;
    of.x = input(Tensor{DType::F64, {5, 2}, {1, 0, 1, 0.5, 1.5, 0, nan, -1, 0, nan}, {}});
    of.feature = integers(DType::I32, {2}, {0, 1}), of.threshold = numbers({2}, {1, 0});
    of.left = integers(DType::I32, {2}, {1, 2}), of.right = integers(DType::I32, {2}, {4, 3});
    of.roots = integers(DType::I32, {2}, {0, 5});
    of.target = integers(DType::I32, {4, 2}, {0, -1, 0, 1, 0, -1, 1, -1});
    of.weight = numbers({4, 2}, {10, 0, 20, 30, 40, 0, 5, 0});
    of.missing_left = integers(DType::Bool, {2}, {1, 0});
    of.targets = 2, of.depth = 2, of.reduce = reduce;
    return outputs({composites::tree_ensemble(b, of)})[0];
  }
};

TEST_F(TreeTest, SumsWhatTheLeavesReachedSay) {
  expect_near(scores(OpKind::ReduceSum), {10, 5, 20, 35, 40, 5, 10, 5, 20, 35});
}

TEST_F(TreeTest, TakesTheLeast) { expect_near(scores(OpKind::ReduceMin), {10, 5, 20, 5, 40, 5, 10, 5, 20, 5}); }

}  // namespace
}  // namespace lapidary
