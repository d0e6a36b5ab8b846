// Winograd's transforms add and subtract before they multiply, so how exact F(4, 3) is depends on the weights. Before a
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

// One tile of one output channel: adds to the error's and the result's squares and maxima.
struct Comparison {
  double error2 = 0, result2 = 0, most_error = 0, most = 0;

  void add(const float* weights, const float* inputs, int64_t channels) {
    const WinogradMatrices& matrices = winograd_matrices(kOutputs);
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
      for (int x = 0; x < kOutputs; ++x) {
        const double error = std::abs(result[y][x] - direct[y][x]);
        error2 += error * error;
        result2 += direct[y][x] * direct[y][x];
        most_error = std::max(most_error, error);
        most = std::max(most, std::abs(direct[y][x]));
      }
  }

  // False, too, when anything is not finite.
  bool close() const { return error2 <= kMostL2 * kMostL2 * result2 && most_error <= kMostOfRange * most; }
};

}  // namespace

bool winograd_is_exact(Module& module, const ConvForm& form) {
  const ConstantTable& constants = module.constants;
  const Constant& weight = constants[*form.weight];
  const int64_t outputs = weight.shape[0], channels = weight.shape[1], taps = channels * kTaps * kTaps;
  // The whole weight's size, of which only the rows asked for are produced.
  auto bytes = std::make_unique_for_overwrite<std::byte[]>(static_cast<size_t>(weight.bytes()));
  const auto* values = reinterpret_cast<const float*>(bytes.get());
  const std::vector<std::byte> input_bytes = normal_inputs(1, kTiles * channels * kInputs * kInputs);
  const auto* inputs = reinterpret_cast<const float*>(input_bytes.data());
  for (int64_t i = 0; i < kChannels; ++i) {
    const int64_t channel = i * (outputs - 1) / (kChannels - 1);
    constants.materialize(*form.weight, {bytes.get(), static_cast<size_t>(weight.bytes())}, static_cast<int>(channel),
                          static_cast<int>(outputs));
    Comparison comparison;
    for (int tile = 0; tile < kTiles; ++tile)
      comparison.add(values + channel * taps, inputs + tile * channels * kInputs * kInputs, channels);
    if (!comparison.close()) return false;
  }
  return true;
}

}  // namespace lapidary::lowering
