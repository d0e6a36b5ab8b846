// Winograd's transforms add and subtract before they multiply, so how exact they are depends on the weights. Before a
// layer takes it, a few tiles are worked out with its own weights as the kernel does, in float32, and compared with the
// direct convolution in float64. The inputs are normal numbers, the same at every compile. A layer of
// seeded normal weights is off by 6e-7 to 9e-7 (relative L2); one that is off by more than kMostL2 stays direct.
// Test: test/passes/winograd_check_test.cpp.
#include <cmath>
#include <memory>

#include "ir/winograd.h"
#include "passes/lower/convolution.h"

namespace lapidary::lowering {

namespace {

constexpr int kOutputs = 4, kInputs = kOutputs + 2, kTaps = 3, kTiles = 2;
constexpr int64_t kChannels = 4;  // output channels looked at
constexpr double kMostL2 = 5e-6, kMostOfRange = 2e-5;

std::vector<std::byte> normal_inputs(uint64_t seed, int64_t count) {
  ConstantTable table;
  return table.bytes_of(table.add({DType::F32, {count}, DType::F32, {count}, Seeded{seed, 0, 1}, {}}));
}

// left · x · leftᵀ, rounded to T after each product.
template <typename T, int rows, int inner>
void sandwich(const Matrix& left, const T (&x)[inner][inner], T (&out)[rows][rows]) {
  T half[rows][inner] = {};
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < inner; ++j)
      for (int k = 0; k < inner; ++k) half[i][j] = std::fma(static_cast<T>(left[i][k]), x[k][j], half[i][j]);
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < rows; ++j) {
      out[i][j] = 0;
      for (int k = 0; k < inner; ++k) out[i][j] = std::fma(static_cast<T>(left[j][k]), half[i][k], out[i][j]);
    }
}

// How far results are off: of what is compared, squares and maxima of errors and values.
struct Comparison {
  double error2 = 0, result2 = 0, most_error = 0, most = 0;

  void add(double result, double expected) {
    const double error = std::abs(result - expected);
    error2 += error * error;
    result2 += expected * expected;
    most_error = std::max(most_error, error);
    most = std::max(most, std::abs(expected));
  }
  // False, too, when anything is not finite.
  bool close() const { return error2 <= kMostL2 * kMostL2 * result2 && most_error <= kMostOfRange * most; }
};

// One tile of one output channel: weights [channels][3][3], inputs [channels][6][6].
void compare_square(const float* weights, const float* inputs, int64_t channels, Comparison& comparison) {
  const WinogradMatrices& matrices = winograd_matrices(kOutputs, kTaps);
  double direct[kOutputs][kOutputs] = {};
  float sums[kInputs][kInputs] = {};
  for (int64_t c = 0; c < channels; ++c) {
    double d[kInputs][kInputs], g[kTaps][kTaps], u[kInputs][kInputs];
    float rounded[kInputs][kInputs], v[kInputs][kInputs];
    for (int i = 0; i < kInputs; ++i)
      for (int j = 0; j < kInputs; ++j) d[i][j] = rounded[i][j] = inputs[(c * kInputs + i) * kInputs + j];
    for (int i = 0; i < kTaps; ++i)
      for (int j = 0; j < kTaps; ++j) g[i][j] = weights[(c * kTaps + i) * kTaps + j];
    for (int y = 0; y < kOutputs; ++y)
      for (int x = 0; x < kOutputs; ++x)
        for (int i = 0; i < kTaps; ++i)
          for (int j = 0; j < kTaps; ++j) direct[y][x] += d[y + i][x + j] * g[i][j];
    sandwich(matrices.g, g, u);
    sandwich(matrices.bt, rounded, v);
    for (int i = 0; i < kInputs; ++i)
      for (int j = 0; j < kInputs; ++j) sums[i][j] = std::fma(v[i][j], static_cast<float>(u[i][j]), sums[i][j]);
  }
  float result[kOutputs][kOutputs];
  sandwich(matrices.at, sums, result);
  for (int y = 0; y < kOutputs; ++y)
    for (int x = 0; x < kOutputs; ++x) comparison.add(result[y][x], direct[y][x]);
}

// A filter of one output channel as rows along one axis, of all channels and places of the other axis; a tile's inputs
// are [rows][inputs()].
struct AxisRows {
  int64_t rows, taps, row_step, tap_step, inner;  // row r starts at r / inner · row_step + r % inner
  int group_taps;
  int64_t groups() const { return (taps + group_taps - 1) / group_taps; }
  int64_t inputs() const { return kOutputs + groups() * group_taps - 1; }
};

void compare_axis(const float* weights, const float* inputs, const AxisRows& form, Comparison& comparison) {
  const WinogradMatrices& matrices = winograd_matrices(kOutputs, form.group_taps);
  double direct[kOutputs] = {};
  std::vector<float> sums(static_cast<size_t>(matrices.inputs));
  for (int64_t row = 0; row < form.rows; ++row) {
    const float* w = weights + row / form.inner * form.row_step + row % form.inner;
    const float* d = inputs + row * form.inputs();
    auto tap = [&](int64_t k) { return k < form.taps ? w[k * form.tap_step] : 0.0f; };
    for (int y = 0; y < kOutputs; ++y)
      for (int64_t k = 0; k < form.taps; ++k) direct[y] += static_cast<double>(d[y + k]) * tap(k);
    for (int64_t first = 0; first < form.taps; first += form.group_taps)
      for (size_t point = 0; point < sums.size(); ++point) {
        double u = 0;
        float v = 0;
        for (int k = 0; k < form.group_taps; ++k) u += matrices.g[point][static_cast<size_t>(k)] * tap(first + k);
        for (size_t i = 0; i < sums.size(); ++i)
          v = std::fma(static_cast<float>(matrices.bt[point][i]), d[first + static_cast<int64_t>(i)], v);
        sums[point] = std::fma(v, static_cast<float>(u), sums[point]);
      }
  }
  for (int y = 0; y < kOutputs; ++y) {
    float result = 0;
    for (size_t point = 0; point < sums.size(); ++point)
      result = std::fma(static_cast<float>(matrices.at[static_cast<size_t>(y)][point]), sums[point], result);
    comparison.add(result, direct[y]);
  }
}

// Calls compare(weights of an output channel, comparison) for a few channels, each compared by itself.
template <typename Compare>
bool channels_are_close(const ConstantTable& constants, ConstantId id, const Compare& compare) {
  const Constant& weight = constants[id];
  const int64_t outputs = weight.shape[0], size = weight.elements() / outputs;
  // The whole weight's size, of which only the rows asked for are produced.
  auto bytes = std::make_unique_for_overwrite<std::byte[]>(static_cast<size_t>(weight.bytes()));
  const auto* values = reinterpret_cast<const float*>(bytes.get());
  for (int64_t i = 0; i < kChannels; ++i) {
    const int64_t channel = i * (outputs - 1) / (kChannels - 1);
    constants.materialize(id, {bytes.get(), static_cast<size_t>(weight.bytes())}, static_cast<int>(channel),
                          static_cast<int>(outputs));
    Comparison comparison;
    compare(values + channel * size, comparison);
    if (!comparison.close()) return false;
  }
  return true;
}

}  // namespace

bool winograd_is_exact(Module& module, const ConvForm& form) {
  const int64_t channels = module.constants[*form.weight].shape[1], size = channels * kInputs * kInputs;
  const std::vector<std::byte> input_bytes = normal_inputs(1, kTiles * size);
  const auto* inputs = reinterpret_cast<const float*>(input_bytes.data());
  return channels_are_close(module.constants, *form.weight, [&](const float* weights, Comparison& comparison) {
    for (int tile = 0; tile < kTiles; ++tile) compare_square(weights, inputs + tile * size, channels, comparison);
  });
}

bool winograd_is_exact(Module& module, const ConvForm& form, WinogradAxis choice) {
  const std::vector<int64_t>& shape = module.constants[*form.weight].shape;  // [O, I, k…]
  const auto axis = static_cast<size_t>(2 + choice.axis);
  int64_t rows = 1, inner = 1;
  for (size_t i = 1; i < shape.size(); ++i)
    if (i != axis) rows *= shape[i];
  for (size_t i = axis + 1; i < shape.size(); ++i) inner *= shape[i];
  const AxisRows filter{rows, shape[axis], shape[axis] * inner, inner, inner, choice.taps};
  const int64_t size = rows * filter.inputs();
  const std::vector<std::byte> input_bytes = normal_inputs(1, kTiles * size);
  const auto* inputs = reinterpret_cast<const float*>(input_bytes.data());
  return channels_are_close(module.constants, *form.weight, [&](const float* weights, Comparison& comparison) {
    for (int tile = 0; tile < kTiles; ++tile) compare_axis(weights, inputs + tile * size, filter, comparison);
  });
}

}  // namespace lapidary::lowering
