// Depthwise convolution: every channel by itself, so 16 channels run along the lanes and a tile is a run of output
// pixels of one row, each its own accumulator: acc[i] += x[i · stride + tap] · w[tap]. The weights of a row of taps are
// in registers, and each input vector is loaded once and goes to all the accumulators it is a tap of.
// Groups of 2, 4 or 8 channels are the same with one more loop: output channel o of a group of G reads the channels
// k = 0 … G - 1 of its group, so a vector of 16 outputs meets the input's own 16 channels, shuffled for each k.
//
//   G = 4, k = 1:   acc[i] += (x1 x1 x1 x1 x5 x5 x5 x5 x9 x9 x9 x9 x13 x13 x13 x13) · w[tap][1]
//
// Of bytes (groups of one channel), four neighbouring taps of a row are one dot: 64 bytes hold four pixels of 16
// channels, which a shuffle turns into four bytes for each channel. What lies beside the taps meets weights of 0. With
// 3×3 taps that is 3 dots, 3 shuffles and 1.5 loads for 16 outputs instead of 9 products of floats.
//
// Input as for direct convolution: channel blocks with a halo as wide as the pads.
#include <algorithm>
#include <map>

#include "ir/error.h"
#include "passes/lower/contraction_form.h"
#include "passes/lower/convolution.h"
#include "passes/lower/epilogue.h"
#include "passes/lower/register_tile.h"

namespace lapidary::lowering {

using namespace loops;

namespace {

constexpr int kMaxPixels = 12;

// For each input pixel, counted from the first output's first tap: the outputs i and taps kw with i · stride + kw ·
// dilation = pixel.
std::map<int64_t, std::vector<std::pair<int, int>>> readers_of_inputs(int count, int64_t stride, int64_t taps,
                                                                      int64_t dilation) {
  std::map<int64_t, std::vector<std::pair<int, int>>> readers;
  for (int i = 0; i < count; ++i)
    for (int kw = 0; kw < taps; ++kw) readers[i * stride + kw * dilation].emplace_back(i, kw);
  return readers;
}

constexpr int64_t kDepth = 4;  // bytes of a dot

// Weights of bytes: [C, 1, k…] → [C/16][kh][kw/4][16][4].
ConstantId packed_dots(ConstantTable& constants, ConstantId weight, int64_t rows, int64_t width) {
  const int64_t channels = constants[weight].shape[0], blocks = (channels + kPanel - 1) / kPanel,
                chunks = (width + kDepth - 1) / kDepth;
  using Kind = Transform::Kind;
  weight = constants.transformed(weight, {.kind = Kind::Reshape, .shape = {channels, rows, width}});
  weight = constants.transformed(weight, {.kind = Kind::Pad, .shape = {blocks * kPanel, rows, chunks * kDepth}});
  weight = constants.transformed(weight, {.kind = Kind::Reshape, .shape = {blocks, kPanel, rows, chunks, kDepth}});
  return constants.transformed(weight, {.kind = Kind::Transpose, .axes = {0, 2, 3, 1, 4}});
}

// One row of taps of bytes, for `count` outputs.
class ByteTaps {
 public:
  ByteTaps(Block& block, Buffer x, Expr row, int64_t stride, int64_t dilation, int64_t taps, int count)
      : block_(block),
        x_(std::move(x)),
        row_(std::move(row)),
        stride_(stride),
        dilation_(dilation),
        taps_(taps),
        pixels_((count - 1) * stride + (taps - 1) * dilation + 1) {}

  // Four taps of output i from tap `first` on, for `lanes` channels from `channel` on: [lanes][4].
  Expr operand(int i, int64_t first, int channel, int lanes) {
    const int64_t count = std::min(kDepth, taps_ - first), begin = i * stride_ + first * dilation_;
    Expr window;
    int64_t window_begin = begin;
    if (dilation_ == 1 && pixels_ >= kDepth) {
      window_begin = window_for(begin, count);
      window = windows_.at(window_begin);
    } else {
      std::vector<Expr> pixels;
      for (int64_t t = 0; t < kDepth; ++t)
        pixels.push_back(load(x_, at(begin + std::min(t, count - 1) * dilation_), kPanel));
      window = block_.let("xv", shuffle(pixels, identity(kDepth * kPanel)));
    }
    std::vector<int> from;
    for (int lane = 0; lane < lanes; ++lane)
      for (int64_t t = 0; t < kDepth; ++t) {
        const int64_t pixel = (t < count ? begin - window_begin : 0) + std::min(t, count - 1);
        from.push_back(static_cast<int>(pixel * kPanel) + channel + lane);
      }
    return block_.let("xt", shuffle({window}, from));
  }

 private:
  Expr at(int64_t pixel) const { return add(row_, integer(pixel * kPanel)); }

  static std::vector<int> identity(int64_t count) {
    std::vector<int> lanes;
    for (int lane = 0; lane < count; ++lane) lanes.push_back(lane);
    return lanes;
  }

  // Where the four pixels begin that hold those from `begin` on: loaded already, or as many new ones as the row has.
  int64_t window_for(int64_t begin, int64_t count) {
    for (int64_t from = std::max<int64_t>(0, begin + count - kDepth); from <= begin; ++from)
      if (windows_.contains(from)) return from;
    const int64_t from = std::min(begin, pixels_ - kDepth);
    windows_[from] = block_.let("xv", load(x_, at(from), kDepth * kPanel));
    return from;
  }

  Block& block_;
  Buffer x_;
  Expr row_;
  int64_t stride_, dilation_, taps_, pixels_;
  std::map<int64_t, Expr> windows_;
};

}  // namespace

LoweredGroup lower_depthwise(Context& context, const Op& group, const ConvForm& form) {
  Module& module = context.module;
  DimPool& dims = module.dims;
  const Target& target = context.target();
  const Op& conv = *form.conv;
  const Value* input = group.operand(conv.operand(0)->index);
  int lanes = target.f32_lanes(), vectors = kPanel / lanes;
  const int64_t width = form.group_channels();
  int64_t channels = *lapidary::value_of(form.channels), blocks = (channels + kPanel - 1) / kPanel;
  int64_t kernel_rows = form.spatial == 2 ? form.kernel[0] : 1, kernel_width = form.kernel.back();
  int64_t taps = kernel_rows * kernel_width;
  const bool bytes = conv.params.has("to");
  const Atom atom = bytes ? kBytes : kFloats;
  const int64_t chunks = (kernel_width + kDepth - 1) / kDepth;
  // Accumulators, a row's weights, the input, and one to spare.
  const int64_t weights_held = bytes ? chunks : width == 1 ? kernel_width : 1;
  int most = std::clamp<int>((target.vector_registers - 3 - static_cast<int>(weights_held)) / vectors, 1, kMaxPixels);
  ConstantId weight = bytes ? packed_dots(module.constants, *form.weight, kernel_rows, kernel_width)
                            : module.constants.transformed(
                                  *form.weight, {.kind = Transform::Kind::PackConv, .shape = {width}, .block = kPanel});
  const int64_t row_weights = bytes ? chunks * kDepth * kPanel : kernel_width * width * kPanel;

  KernelBuilder builder(
      module, target, "conv",
      width == 1 ? fmt::format("depthwise tile={}", most) : fmt::format("grouped lanes={} tile={}", width, most));
  GroupEmitter emit(builder, group);
  const Shape& out = conv.type().shape;
  Dim rows = form.spatial == 2 ? out[2] : dims.constant(1);
  std::vector<Expr> axes = builder.split_task({out[0], dims.constant(blocks), rows});
  Expr batch = axes[0], channel_block = axes[1], row = axes[2];
  ImageStrides geometry = image_strides(dims, input->type);
  Buffer x = builder.operand(input), w = builder.weight(weight);
  Expr row_stride = builder.literal(geometry.row), pixel_stride = builder.literal(geometry.pixel);
  int64_t stride = form.strides.back(), dilation = form.dilations.back();
  int64_t row_step = form.spatial == 2 ? form.strides[0] : 1, row_dilation = form.spatial == 2 ? form.dilations[0] : 1;
  int64_t pad_row = form.spatial == 2 ? *lapidary::value_of(form.pads[0]) : 0,
          pad = *lapidary::value_of(form.pads[form.spatial - 1]);
  Expr origin = builder.body.let(
      "x",
      add(add(mul(batch, builder.parameter(geometry.batch)), mul(channel_block, builder.parameter(geometry.channel))),
          add(mul(add(mul(row, integer(row_step)), integer(geometry.halo_row - pad_row)), row_stride),
              mul(integer(geometry.halo_pixel - pad), pixel_stride))));
  Expr w_base = builder.body.let("w", mul(channel_block, builder.parameter(dims.constant(kernel_rows * row_weights))));
  bool ragged = channels % kPanel != 0;

  Buffer epilogue = epilogue_stage(builder, group, conv, int64_t{most} * kPanel);
  RowSplit split = split_rows(dims, out.back(), most);
  Expr tiles = builder.parameter(split.tiles), height = builder.literal(split.height),
       longer = builder.parameter(split.longer);
  // One row of taps of groups of `width` channels.
  auto grouped_taps = [&](Block& row_block, Expr x_row, Expr w_row, int count, RegisterTile& acc) {
    serial(row_block, "kw", integer(0), integer(kernel_width), 1, [&](Block& block, Expr kw) {
      Expr x_tap = block.let("xt", add(x_row, mul(mul(kw, integer(dilation)), pixel_stride)));
      Expr w_tap = block.let("wt", add(w_row, mul(kw, integer(width * kPanel))));
      for (int64_t k = 0; k < width; ++k) {
        std::vector<int> lane_of_group;
        for (int lane = 0; lane < lanes; ++lane) lane_of_group.push_back(static_cast<int>(lane / width * width + k));
        unrolled(block, "v", vectors, [&](Block& part, Expr v) {
          Expr lane = mul(v, integer(lanes));
          Expr weights = part.let("wv", load(w, add(add(w_tap, integer(k * kPanel)), lane), lanes));
          unrolled(part, "i", count, [&](Block& inner, Expr i) {
            Expr input_vector = load(x, add(add(x_tap, mul(mul(i, integer(stride)), pixel_stride)), lane), lanes);
            acc.add_product(inner, i, v, shuffle({input_vector}, lane_of_group), weights);
          });
        });
      }
    });
  };
  auto byte_taps = [&](Block& row_block, Expr x_row, Expr w_row, int count, RegisterTile& acc) {
    ByteTaps row_taps(row_block, x, x_row, stride, dilation, kernel_width, count);
    for (int64_t chunk = 0; chunk < chunks; ++chunk)
      for (int v = 0; v < vectors; ++v) {
        Expr at = add(w_row, integer((chunk * kPanel + v * lanes) * kDepth));
        Expr weights = row_block.let("wv", load(w, at, static_cast<int>(lanes * kDepth)));
        for (int i = 0; i < count; ++i)
          acc.add_product(row_block, integer(i), integer(v), row_taps.operand(i, chunk * kDepth, v * lanes, lanes),
                          weights);
      }
  };
  serial(builder.body, "tile", integer(0), tiles, 1, [&](Block& loop, Expr tile) {
    Expr wide = loop.let("width", add(height, select(less(tile, longer), integer(1), integer(0))));
    Expr first = loop.let("pixel", add(mul(tile, height), min(tile, longer)));
    for_height(loop, split, wide, first, [&](Block& block, int count, Expr pixel) {
      RegisterTile acc(block, {.rows = count, .panels = 1, .lanes = lanes, .atom = atom});
      Expr from = block.let("from", add(origin, mul(mul(pixel, integer(stride)), pixel_stride)));
      auto tap_row = [&](Block& taps_block, Expr kh) {
        Expr x_row = taps_block.let("xr", add(from, mul(mul(kh, integer(row_dilation)), row_stride)));
        Expr w_row = taps_block.let("wr", add(w_base, mul(kh, integer(row_weights))));
        if (bytes) return byte_taps(taps_block, x_row, w_row, count, acc);
        if (width > 1) return grouped_taps(taps_block, x_row, w_row, count, acc);
        unrolled(taps_block, "v", vectors, [&](Block& part, Expr v) {
          Expr lane = mul(v, integer(lanes));
          std::vector<Expr> weights;
          for (int64_t kw = 0; kw < kernel_width; ++kw)
            weights.push_back(part.let("wv", load(w, add(w_row, add(integer(kw * kPanel), lane)), lanes)));
          for (const auto& [offset, readers] : readers_of_inputs(count, stride, kernel_width, dilation)) {
            Expr input_vector =
                part.let("xv", load(x, add(add(x_row, mul(integer(offset), pixel_stride)), lane), lanes));
            for (const auto& [i, kw] : readers) acc.add_product(part, integer(i), v, input_vector, weights[kw]);
          }
        });
      };
      if (kernel_rows == 1)
        tap_row(block, integer(0));
      else
        serial(block, "kh", integer(0), integer(kernel_rows), 1, tap_row);
      acc.for_each(
          block,
          [&](Block& inner, Expr i, Expr v, Expr value) {
            GroupEmitter::Scope scope(emit, inner);
            Expr channel = add(mul(channel_block, integer(kPanel)), mul(v, integer(lanes)));
            Expr mask = ragged ? first_lanes(sub(integer(channels), channel), lanes) : nullptr;
            if (conv.operands.size() > 2)
              value = add(value, emit.value(conv.operand(2), {{along(channel)}, lanes, mask}));
            Coords coords{{at(batch), along(channel)}, lanes, mask};
            if (form.spatial == 2) coords.axes.push_back(at(row));
            coords.axes.push_back(at(add(pixel, i)));
            emit.store_results(conv.result(), coords, value);
          },
          epilogue);
    });
  });
  LoweredStep step = single_step(builder.finish(dims.product(std::vector<Dim>{out[0], dims.constant(blocks), rows})));
  step.flops = dims.product(std::vector<Dim>{dims.constant(2 * taps * width * channels), out[0], rows, out.back()});
  LoweredGroup result;
  result.steps.push_back(std::move(step));
  return result;
}

}  // namespace lapidary::lowering
