// Convolutions and pools. All of them relate two spatial grids by one table: window position p and tap q meet at
// coordinate p · stride + q · dilation - lo of the larger grid. A convolution gathers through the table into a matrix
// of columns and multiplies; its transpose scatters.
#include <algorithm>
#include <array>
#include <limits>

#include "ir/interpreter_ops.h"

namespace lapidary {
namespace {

constexpr int64_t kInPadding = -1, kOutside = -2;

struct Window {
  Extents positions, kernel, strides, dilations, lo, hi;
  Extents grid;  // the extents that coordinates fall into
};

// table[q · positions + p]: the flat index in the grid; kInPadding in the padding, kOutside beyond even that.
std::vector<int64_t> meeting_points(const Window& w) {
  std::vector<int64_t> table(static_cast<size_t>(product_of(w.kernel) * product_of(w.positions)), 0);
  int64_t spatial = static_cast<int64_t>(w.grid.size()), positions = product_of(w.positions);
  Extents position_strides = dense_strides(w.positions), kernel_strides = dense_strides(w.kernel);
  Extents grid_strides = dense_strides(w.grid);
  for (int64_t i = 0; i < static_cast<int64_t>(table.size()); i++) {
    int64_t q = i / positions, p = i % positions;
    for (int64_t axis = 0; axis < spatial && table[i] != kOutside; axis++) {
      int64_t at = p / position_strides[axis] % w.positions[axis] * w.strides[axis] +
                   q / kernel_strides[axis] % w.kernel[axis] * w.dilations[axis] - w.lo[axis];
      if (at >= w.grid[axis] + w.hi[axis])
        table[i] = kOutside;
      else if (at < 0 || at >= w.grid[axis])
        table[i] = kInPadding;
      else if (table[i] >= 0)
        table[i] += at * grid_strides[axis];
    }
  }
  return table;
}

Window window_of(const Execution& x, Extents kernel) {
  Window w;
  size_t spatial = kernel.size();
  w.kernel = std::move(kernel);
  w.strides = x.params().integers("strides");
  w.dilations = x.params().integers("dilations");
  Extents pads = x.values(x.params().dims("pads"));
  w.lo.assign(pads.begin(), pads.begin() + spatial);
  w.hi.assign(pads.begin() + spatial, pads.end());
  return w;
}

Extents spatial_of(const Tensor& tensor) { return {tensor.shape.begin() + 2, tensor.shape.end()}; }

Extents joined(int64_t batch, int64_t channels, const Extents& spatial) {
  Extents shape = {batch, channels};
  shape.insert(shape.end(), spatial.begin(), spatial.end());
  return shape;
}

// A result of the given shape in which every element of channel c is bias[c].
Tensor with_bias(const Execution& x, const Extents& shape) {
  Tensor result = Tensor::zeros(x.params().has("to") ? x.params().dtype("to") : x.operand(0).dtype, shape);
  if (x.operands.size() < 3) return result;
  if (x.operand(2).shape != Extents{shape[1]})
    x.fail(fmt::format("a bias for {} output channels is expected", shape[1]));
  int64_t inner = product_of({shape.begin() + 2, shape.end()}), count = result.elements();
  for (int64_t i = 0; i < count; i++) result.set(i, x.operand(2).at(i / inner % shape[1]));
  return result;
}

template <typename T>
void convolve(const Tensor& x, const Tensor& w, Tensor& y, int64_t group, const std::vector<int64_t>& table, T fill) {
  constexpr int64_t kTile = 512;
  int64_t channels = w.shape[1], outputs = w.shape[0] / group, taps = product_of(spatial_of(w)),
          depth = channels * taps;
  int64_t grid = product_of(spatial_of(x)), positions = product_of(spatial_of(y));
  std::vector<T> columns(static_cast<size_t>(depth * std::min(kTile, positions)));
  for (int64_t part = 0; part < x.shape[0] * group; part++) {  // batch and group
    const T* image = data_of<T>(x) + part * channels * grid;
    const T* weights = data_of<T>(w) + part % group * outputs * depth;
    T* result = data_of<T>(y) + part * outputs * positions;
    for (int64_t begin = 0; begin < positions; begin += kTile) {
      int64_t width = std::min(kTile, positions - begin);
      for (int64_t row = 0; row < depth; row++) {
        const int64_t* from = table.data() + row % taps * positions + begin;
        const T* channel = image + row / taps * grid;
        for (int64_t p = 0; p < width; p++) columns[row * width + p] = from[p] < 0 ? fill : channel[from[p]];
      }
      multiply_add<T>(outputs, width, depth, {weights, depth}, {columns.data(), width}, {result + begin, positions});
    }
  }
}

template <typename T>
void convolve_transposed(const Tensor& x, const Tensor& w, Tensor& y, int64_t group,
                         const std::vector<int64_t>& table) {
  int64_t outputs = w.shape[1], channels = w.shape[0] / group, taps = product_of(spatial_of(w));
  int64_t positions = product_of(spatial_of(x)), grid = product_of(spatial_of(y));
  for (int64_t part = 0; part < x.shape[0] * group; part++) {
    for (int64_t c = 0; c < channels; c++) {
      const T* image = data_of<T>(x) + (part * channels + c) * positions;
      const T* weights = data_of<T>(w) + (part % group * channels + c) * outputs * taps;
      for (int64_t row = 0; row < outputs * taps; row++) {
        const int64_t* to = table.data() + row % taps * positions;
        T* channel = data_of<T>(y) + (part * outputs + row / taps) * grid;
        for (int64_t p = 0; p < positions; p++)
          if (to[p] >= 0) channel[to[p]] += weights[row] * image[p];
      }
    }
  }
}

template <typename T>
void differentiate_filter(const Tensor& x, const Tensor& dy, Tensor& dw, int64_t group,
                          const std::vector<int64_t>& table) {
  int64_t outputs = dw.shape[0] / group, channels = dw.shape[1], taps = product_of(spatial_of(dw));
  int64_t positions = product_of(spatial_of(dy)), grid = product_of(spatial_of(x));
  for (int64_t part = 0; part < x.shape[0] * group; part++) {
    for (int64_t row = 0; row < outputs * channels; row++) {
      const T* image = data_of<T>(x) + (part * channels + row % channels) * grid;
      const T* gradient = data_of<T>(dy) + (part * outputs + row / channels) * positions;
      T* weights = data_of<T>(dw) + (part % group * outputs * channels + row) * taps;
      for (int64_t tap = 0; tap < taps; tap++) {
        const int64_t* from = table.data() + tap * positions;
        for (int64_t p = 0; p < positions; p++)
          if (from[p] >= 0) weights[tap] += gradient[p] * image[from[p]];
      }
    }
  }
}

}  // namespace

Tensor run_conv(const Execution& x) {
  const Tensor &image = x.operand(0), &weights = x.operand(1);
  int64_t group = x.params().integer("group");
  if (image.shape[1] != weights.shape[1] * group || weights.shape[0] % group != 0)
    x.fail(fmt::format("{} input channels in {} groups for a weight of shape [{}]", image.shape[1], group,
                       fmt::join(weights.shape, ", ")));
  Window w = window_of(x, spatial_of(weights));
  w.grid = spatial_of(image);
  for (size_t i = 0; i < w.grid.size(); i++) {
    int64_t room = w.grid[i] + w.lo[i] + w.hi[i] - (w.kernel[i] - 1) * w.dilations[i] - 1;
    if (room < 0) x.fail(fmt::format("spatial axis {}: the window does not fit", i));
    w.positions.push_back(room / w.strides[i] + 1);
  }
  Tensor result = with_bias(x, joined(image.shape[0], weights.shape[0], w.positions));
  const int64_t fill = x.params().has("fill") ? x.params().integer("fill") : 0;
  with_element_type(image, [&](auto element) {
    using T = decltype(element);
    convolve<T>(image, weights, result, group, meeting_points(w), static_cast<T>(fill));
  });
  round_elements(result, x.round);
  return result;
}

Tensor run_conv_transpose(const Execution& x) {
  const Tensor &image = x.operand(0), &weights = x.operand(1);
  int64_t group = x.params().integer("group");
  if (image.shape[1] != weights.shape[0] || weights.shape[0] % group != 0)
    x.fail(fmt::format("{} input channels in {} groups for a weight of shape [{}]", image.shape[1], group,
                       fmt::join(weights.shape, ", ")));
  const Extents& widen = x.params().integers("output_padding");
  Window w = window_of(x, spatial_of(weights));
  w.positions = spatial_of(image);
  for (size_t i = 0; i < w.positions.size(); i++) {
    int64_t window = (w.kernel[i] - 1) * w.dilations[i] + 1;
    w.grid.push_back((w.positions[i] - 1) * w.strides[i] + window + widen[i] - w.lo[i] - w.hi[i]);
  }
  Tensor result = with_bias(x, joined(image.shape[0], weights.shape[1] * group, w.grid));
  with_element_type(image, [&](auto element) {
    convolve_transposed<decltype(element)>(image, weights, result, group, meeting_points(w));
  });
  round_elements(result, x.round);
  return result;
}

Tensor run_conv_filter_gradient(const Execution& x) {
  const Tensor &image = x.operand(0), &gradient = x.operand(1);
  int64_t group = x.params().integer("group");
  Window w = window_of(x, x.values(x.params().dims("kernel")));
  w.grid = spatial_of(image);
  w.positions = spatial_of(gradient);
  Tensor result = Tensor::zeros(image.dtype, joined(gradient.shape[1], image.shape[1] / group, w.kernel));
  with_element_type(image, [&](auto element) {
    differentiate_filter<decltype(element)>(image, gradient, result, group, meeting_points(w));
  });
  round_elements(result, x.round);
  return result;
}

namespace {

Scalar pooled_max(const Tensor& x, int64_t image, const std::vector<int64_t>& table, int64_t p, int64_t positions) {
  Scalar best = convert(Scalar::of_float(DType::F64, -std::numeric_limits<double>::infinity()), x.dtype);
  for (size_t i = p; i < table.size(); i += positions)
    if (table[i] >= 0) best = evaluate(ScalarOp::Max, std::array{best, x.at(image + table[i])});
  return best;
}

Scalar pooled_mean(const Tensor& x, int64_t image, const std::vector<int64_t>& table, int64_t p, int64_t positions,
                   bool include_pad) {
  Scalar sum{x.dtype, 0, 0};
  int64_t count = 0;
  for (size_t i = p; i < table.size(); i += positions) {
    count += table[i] >= 0 || (include_pad && table[i] == kInPadding);
    if (table[i] >= 0) sum = evaluate(ScalarOp::Add, std::array{sum, x.at(image + table[i])}, /*round=*/false);
  }
  Scalar divisor = convert(Scalar::of_integer(DType::I64, count), x.dtype, /*round=*/false);
  return evaluate(ScalarOp::Div, std::array{sum, divisor}, /*round=*/false);
}

}  // namespace

Tensor run_pool(const Execution& x) {
  const Tensor& image = x.operand(0);
  Window w = window_of(x, x.params().integers("kernel"));
  w.grid = spatial_of(image);
  w.positions = x.values(x.params().dims("sizes"));
  Tensor result = Tensor::zeros(image.dtype, joined(image.shape[0], image.shape[1], w.positions));
  std::vector<int64_t> table = meeting_points(w);
  bool is_max = x.op.is(OpKind::MaxPool);
  bool include_pad = !is_max && x.params().integer("include_pad") != 0;
  int64_t grid = product_of(w.grid), positions = product_of(w.positions), count = result.elements();
  for (int64_t i = 0; i < count; i++) {
    int64_t start = i / positions * grid, p = i % positions;
    result.set(i, is_max ? pooled_max(image, start, table, p, positions)
                         : pooled_mean(image, start, table, p, positions, include_pad));
  }
  round_elements(result, x.round);
  return result;
}

namespace {

// The tap of the greatest element at position p: the first one, but of NaNs the last.
int64_t greatest_tap(const Tensor& x, int64_t image, const std::vector<int64_t>& table, int64_t p, int64_t positions) {
  int64_t best = -1;
  for (int64_t i = p; i < static_cast<int64_t>(table.size()); i += positions) {
    if (table[i] < 0) continue;
    if (best >= 0) {
      Scalar value = x.at(image + table[i]), most = x.at(image + table[best]);
      bool is_nan = evaluate(ScalarOp::Equal, std::array{value, value}).integer == 0;
      if (!is_nan && evaluate(ScalarOp::Less, std::array{most, value}).integer == 0) continue;
    }
    best = i;
  }
  return best < 0 ? 0 : best / positions;
}

}  // namespace

Tensor run_max_pool_tap(const Execution& x) {
  const Tensor& image = x.operand(0);
  Window w = window_of(x, x.params().integers("kernel"));
  w.grid = spatial_of(image);
  w.positions = x.values(x.params().dims("sizes"));
  Tensor result = Tensor::zeros(x.op.type().dtype, joined(image.shape[0], image.shape[1], w.positions));
  std::vector<int64_t> table = meeting_points(w);
  int64_t grid = product_of(w.grid), positions = product_of(w.positions), count = result.elements();
  for (int64_t i = 0; i < count; i++) {
    int64_t tap = greatest_tap(image, i / positions * grid, table, i % positions, positions);
    result.set(i, convert(Scalar::of_integer(DType::I64, tap), result.dtype));
  }
  return result;
}

Tensor run_max_pool_gradient(const Execution& x) {
  const Tensor &gradient = x.operand(0), &taps = x.operand(1);
  Window w = window_of(x, x.params().integers("kernel"));
  w.grid = x.values(x.params().dims("sizes"));
  w.positions = spatial_of(gradient);
  Tensor result = Tensor::zeros(gradient.dtype, joined(gradient.shape[0], gradient.shape[1], w.grid));
  std::vector<int64_t> table = meeting_points(w);
  int64_t grid = product_of(w.grid), positions = product_of(w.positions), count = gradient.elements();
  for (int64_t i = 0; i < count; i++) {
    int64_t tap = taps.at(i).integer;
    if (tap < 0 || tap >= product_of(w.kernel)) continue;
    int64_t to = table[static_cast<size_t>(tap * positions + i % positions)];
    if (to < 0) continue;
    to += i / positions * grid;
    result.set(to, evaluate(ScalarOp::Add, std::array{result.at(to), gradient.at(i)}, /*round=*/false));
  }
  round_elements(result, x.round);
  return result;
}

}  // namespace lapidary
