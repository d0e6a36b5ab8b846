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
// Input as for direct convolution: channel blocks with a halo as wide as the pads; and so are transposed ones, the
// gradients by the input: a kernel for each phase.
#include <algorithm>
#include <map>
#include <utility>

#include "ir/error.h"
#include "passes/lower/contraction_form.h"
#include "passes/lower/convolution.h"
#include "passes/lower/convolution_pack.h"
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

struct Lowering {
  Context& context;
  const Op& group;
  const ConvForm& form;
  const Value* input;
  bool bytes;
  std::optional<ConstantId> weight = {};  // packed; else a step packs it into scratch 0
  int lanes() const { return context.target().f32_lanes(); }
  int vectors() const { return kPanel / lanes(); }
  int64_t width() const { return form.group_channels(); }
  int64_t blocks() const { return (*lapidary::value_of(form.channels) + kPanel - 1) / kPanel; }
  int64_t kernel_width() const { return form.kernel.back(); }
  int64_t chunks() const { return (kernel_width() + kDepth - 1) / kDepth; }  // of a row of taps of bytes
  int64_t row_weights() const { return bytes ? chunks() * kDepth * kPanel : kernel_width() * width() * kPanel; }
  WeightForm weights() const { return {.form = form, .inner = width(), .channels = width(), .own_only = true}; }
  // Pixels of a tile that sees `taps` of a row. Accumulators, a row's weights, the input, and one to spare; of groups
  // of several channels one weight, and of each pixel the input's vector, which every channel of the group shuffles.
  int most(int64_t taps) const {
    const int registers = context.target().vector_registers;
    const bool shuffled = !bytes && width() > 1;
    const auto held = static_cast<int>(bytes ? chunks() : taps);
    const int pixels = shuffled ? (registers - 3) / (vectors() + 1) : (registers - 3 - held) / vectors();
    return std::clamp(pixels, 1, kMaxPixels);
  }
};

// The kernel of one phase of rows and of pixels.
class Body {
 public:
  Body(const Lowering& l, const ConvPhase& rows, const ConvPhase& pixels)
      : l_(l),
        rows_(rows),
        pixels_(pixels),
        lanes_(l.lanes()),
        most_(l.most(pixels.taps)),
        builder_(l.context.module, l.context.target(), "conv",
                 l.width() == 1 ? fmt::format("depthwise tile={}", most_)
                                : fmt::format("grouped lanes={} tile={}", l.width(), most_)),
        emit_(builder_, l.group),
        strides_(image_strides(dims(), l.input->type)),
        x_(builder_.operand(l.input)),
        w_(l.weight ? builder_.weight(*l.weight) : builder_.scratch(0, DType::F32, false)),
        row_stride_(builder_.literal(strides_.row)),
        pixel_stride_(builder_.literal(strides_.pixel)),
        epilogue_(epilogue_stage(builder_, l.group, *l.form.conv, int64_t{most_} * kPanel)) {}

  LoweredStep lower() {
    const Dim batch = l_.form.conv->type().shape[0], blocks = dims().constant(l_.blocks());
    const std::vector<Expr> axes = builder_.split_task({batch, blocks, rows_.count});
    batch_ = axes[0];
    channel_block_ = axes[1];
    row_ = axes[2];
    Expr plane =
        add(mul(batch_, builder_.parameter(strides_.batch)), mul(channel_block_, builder_.parameter(strides_.channel)));
    Expr row = add(mul(row_, integer(rows_.stride)), integer(strides_.halo_row + rows_.offset));
    Expr pixel = mul(integer(strides_.halo_pixel + pixels_.offset), pixel_stride_);
    Expr origin = builder_.body.let("x", add(plane, add(mul(row, row_stride_), pixel)));
    const int64_t kernel_rows = l_.form.spatial == 2 ? l_.form.kernel[0] : 1;
    w_base_ = builder_.body.let(
        "w", mul(channel_block_, builder_.parameter(dims().constant(kernel_rows * l_.row_weights()))));
    const RowSplit split = split_rows(dims(), pixels_.count, most_);
    Expr tiles = builder_.parameter(split.tiles), height = builder_.literal(split.height),
         longer = builder_.parameter(split.longer);
    serial(builder_.body, "tile", integer(0), tiles, 1, [&](Block& loop, Expr tile) {
      Expr wide = loop.let("width", add(height, select(less(tile, longer), integer(1), integer(0))));
      Expr first = loop.let("pixel", add(mul(tile, height), min(tile, longer)));
      for_height(loop, split, wide, first,
                 [&](Block& block, int count, Expr from) { this->tile(block, origin, count, from); });
    });
    LoweredStep step = single_step(builder_.finish(dims().product(std::vector<Dim>{batch, blocks, rows_.count})));
    const Dim products = dims().mul(l_.form.channels, dims().constant(2 * l_.width() * rows_.taps * pixels_.taps));
    step.flops = dims().product(std::vector<Dim>{products, batch, rows_.count, pixels_.count});
    return step;
  }

 private:
  DimPool& dims() const { return l_.context.module.dims; }

  void tile(Block& block, const Expr& origin, int count, const Expr& pixel) {
    RegisterTile acc(block, {.rows = count, .panels = 1, .lanes = lanes_, .atom = l_.bytes ? kBytes : kFloats});
    Expr from = block.let("from", add(origin, mul(mul(pixel, integer(pixels_.stride)), pixel_stride_)));
    const auto tap_row = [&](Block& taps, Expr t) {
      Expr x_row = taps.let("xr", add(from, mul(mul(t, integer(rows_.offset_step)), row_stride_)));
      Expr kh = add(integer(rows_.index), mul(t, integer(rows_.index_step)));
      Expr w_row = taps.let("wr", add(w_base_, mul(kh, integer(l_.row_weights()))));
      if (l_.bytes) return byte_taps(taps, x_row, w_row, count, acc);
      if (l_.width() > 1) return grouped_taps(taps, x_row, w_row, count, acc);
      single_taps(taps, x_row, w_row, count, acc);
    };
    if (rows_.taps == 1)
      tap_row(block, integer(0));
    else if (rows_.taps > 1)
      serial(block, "kh", integer(0), integer(rows_.taps), 1, tap_row);
    acc.for_each(
        block, [&](Block& inner, Expr i, Expr v, Expr value) { store(inner, add(pixel, i), v, value); }, epilogue_);
  }

  Expr tap_of(const Expr& t) const { return add(integer(pixels_.index), mul(t, integer(pixels_.index_step))); }

  void single_taps(Block& block, const Expr& x_row, const Expr& w_row, int count, const RegisterTile& acc) {
    unrolled(block, "v", l_.vectors(), [&](Block& part, Expr v) {
      Expr lane = mul(v, integer(lanes_));
      std::vector<Expr> weights;
      for (int64_t t = 0; t < pixels_.taps; ++t)
        weights.push_back(
            part.let("wv", load(w_, add(w_row, add(mul(tap_of(integer(t)), integer(kPanel)), lane)), lanes_)));
      for (const auto& [offset, readers] :
           readers_of_inputs(count, pixels_.stride, pixels_.taps, pixels_.offset_step)) {
        Expr input_vector =
            part.let("xv", load(x_, add(add(x_row, mul(integer(offset), pixel_stride_)), lane), lanes_));
        for (const auto& [i, t] : readers) acc.add_product(part, integer(i), v, input_vector, weights[t]);
      }
    });
  }

  // One row of taps of groups of several channels.
  void grouped_taps(Block& row_block, const Expr& x_row, const Expr& w_row, int count, const RegisterTile& acc) {
    const int64_t width = l_.width();
    serial(row_block, "kw", integer(0), integer(pixels_.taps), 1, [&](Block& block, Expr t) {
      Expr x_tap = block.let("xt", add(x_row, mul(mul(t, integer(pixels_.offset_step)), pixel_stride_)));
      Expr w_tap = block.let("wt", add(w_row, mul(tap_of(t), integer(width * kPanel))));
      unrolled(block, "v", l_.vectors(), [&](Block& part, Expr v) {
        Expr lane = mul(v, integer(lanes_));
        for (int64_t k = 0; k < width; ++k) {
          std::vector<int> lane_of_group;
          for (int at = 0; at < lanes_; ++at) lane_of_group.push_back(static_cast<int>(at / width * width + k));
          Expr weights = part.let("wv", load(w_, add(add(w_tap, integer(k * kPanel)), lane), lanes_));
          unrolled(part, "i", count, [&](Block& inner, Expr i) {
            Expr at = add(add(x_tap, mul(mul(i, integer(pixels_.stride)), pixel_stride_)), lane);
            acc.add_product(inner, i, v, shuffle({load(x_, at, lanes_)}, lane_of_group), weights);
          });
        }
      });
    });
  }

  void byte_taps(Block& block, const Expr& x_row, const Expr& w_row, int count, const RegisterTile& acc) {
    ByteTaps row_taps(block, x_, x_row, pixels_.stride, pixels_.offset_step, l_.kernel_width(), count);
    for (int64_t chunk = 0; chunk < l_.chunks(); ++chunk)
      for (int v = 0; v < l_.vectors(); ++v) {
        Expr at = add(w_row, integer((chunk * kPanel + v * lanes_) * kDepth));
        Expr weights = block.let("wv", load(w_, at, static_cast<int>(lanes_ * kDepth)));
        for (int i = 0; i < count; ++i)
          acc.add_product(block, integer(i), integer(v), row_taps.operand(i, chunk * kDepth, v * lanes_, lanes_),
                          weights);
      }
  }

  void store(Block& block, const Expr& pixel, const Expr& v, Expr value) {
    const Op& conv = *l_.form.conv;
    const int64_t channels = *lapidary::value_of(l_.form.channels);
    GroupEmitter::Scope scope(emit_, block);
    Expr channel = add(mul(channel_block_, integer(kPanel)), mul(v, integer(lanes_)));
    Expr mask = channels % kPanel != 0 ? first_lanes(sub(integer(channels), channel), lanes_) : nullptr;
    if (conv.operands.size() > 2) value = add(value, emit_.value(conv.operand(2), {{along(channel)}, lanes_, mask}));
    Coords coords{{at(batch_), along(channel)}, lanes_, mask};
    if (l_.form.spatial == 2) coords.axes.push_back(at(add(mul(row_, integer(rows_.step)), integer(rows_.start))));
    coords.axes.push_back(at(add(mul(pixel, integer(pixels_.step)), integer(pixels_.start))));
    emit_.store_results(conv.result(), coords, value);
  }

  const Lowering& l_;
  const ConvPhase &rows_, &pixels_;
  const int lanes_, most_;
  KernelBuilder builder_;
  GroupEmitter emit_;
  const ImageStrides strides_;
  Buffer x_, w_;
  Expr row_stride_, pixel_stride_;
  Buffer epilogue_;
  Expr batch_, channel_block_, row_, w_base_;
};

}  // namespace

LoweredGroup lower_depthwise(Context& context, const Op& group, const ConvForm& form) {
  DimPool& dims = context.module.dims;
  const Op& conv = *form.conv;
  Lowering l{.context = context,
             .group = group,
             .form = form,
             .input = group.operand(conv.operand(0)->index),
             .bytes = conv.params.has("to")};
  LoweredGroup result;
  if (l.bytes) {
    const int64_t rows = form.spatial == 2 ? form.kernel[0] : 1;
    l.weight = packed_dots(context.module.constants, *form.weight, rows, l.kernel_width());
  } else if (form.weight) {
    l.weight = packed_weight(context.module, l.weights());
  } else {
    result.steps.push_back(pack_live_weight(context, group, l.weights()));
    result.scratch.push_back(dims.constant(l.weights().elements() * 4));
  }
  bool first = true;
  for (const ConvPhase& rows : row_phases(dims, form, conv.type().shape)) {
    for (const ConvPhase& pixels : pixel_phases(dims, form, conv.type().shape)) {
      result.steps.push_back(Body(l, rows, pixels).lower());
      if (!std::exchange(first, false)) result.steps.back().barrier_before = false;  // phases write apart
    }
  }
  return result;
}

}  // namespace lapidary::lowering
