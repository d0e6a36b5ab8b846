// Depthwise convolution: every channel by itself, so 16 channels run along the lanes and a tile is a run of output
// pixels of one row, each its own accumulator: acc[i] += x[i · stride + tap] · w[tap]. The weights of a row of taps are
// in registers, and each input vector is loaded once and goes to all the accumulators it is a tap of.
// Groups of 2, 4 or 8 channels are the same with one more loop: output channel o of a group of G reads the channels
// k = 0 … G - 1 of its group, so a vector of 16 outputs meets the input's own 16 channels, shuffled for each k.
//
//   G = 4, k = 1:   acc[i] += (x1 x1 x1 x1 x5 x5 x5 x5 x9 x9 x9 x9 x13 x13 x13 x13) · w[tap][1]
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
  // Accumulators, a row's weights, the input, and one to spare.
  const int64_t weights_held = width == 1 ? kernel_width : 1;
  int most = std::clamp<int>((target.vector_registers - 3 - static_cast<int>(weights_held)) / vectors, 1, kMaxPixels);
  ConstantId weight = module.constants.transformed(
      *form.weight, {.kind = Transform::Kind::PackConv, .shape = {width}, .block = kPanel});

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
  Expr w_base = builder.body.let("w", mul(channel_block, builder.parameter(dims.constant(taps * width * kPanel))));
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
  serial(builder.body, "tile", integer(0), tiles, 1, [&](Block& loop, Expr tile) {
    Expr wide = loop.let("width", add(height, select(less(tile, longer), integer(1), integer(0))));
    Expr first = loop.let("pixel", add(mul(tile, height), min(tile, longer)));
    for_height(loop, split, wide, first, [&](Block& block, int count, Expr pixel) {
      RegisterTile acc(block, {.rows = count, .panels = 1, .lanes = lanes});
      Expr from = block.let("from", add(origin, mul(mul(pixel, integer(stride)), pixel_stride)));
      auto tap_row = [&](Block& taps_block, Expr kh) {
        Expr x_row = taps_block.let("xr", add(from, mul(mul(kh, integer(row_dilation)), row_stride)));
        Expr w_row = taps_block.let("wr", add(w_base, mul(kh, integer(kernel_width * width * kPanel))));
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
