// Direct convolution as register-tiled products, without im2col: a tile is a run of output pixels of one row times 32
// output channels; the reduction walks input channels and kernel taps; A's element for pixel i lies i · stride pixels
// further, a constant; the weights of a strip lie in the order they are read, [O/16][I/16][kh][kw][16][16].
//
// The input comes in blocks of 16 channels with a halo at least as wide as the pads, filled by its producer, so no
// border case is left; or, for a first layer's few channels, dense with a halo, one channel a tap. Rows of the output
// are cut into tiles of nearly equal width (56 = 12 + 11 + 11 + 11 + 11). The whole reduction stays in registers.
//
// conv_transpose is the same in phases: outputs oh ≡ p (mod stride) see the taps kh · dilation ≡ p + pad (mod stride),
// and each phase is a convolution of stride 1 whose results land `stride` apart.
//
// Groups: a strip of output channels reads only the channel blocks that hold its own groups' channels, as many for
// every strip; its weights are zeros for what else lies in those blocks. AlexNet's and ShuffleNet's groups of whole
// blocks cost nothing more, groups of 24 channels twice the products; groups of 2, 4 or 8 are depthwise.cpp's.
//
// Kernel identity: of the sizes only the distance of two pixels, the widths of the tiles and what a last block or strip
// lacks are literals; windows of one tap have no loops over taps. densenet121 has 18 kernels of convolutions instead of
// 66, whose tiles are the same instructions; a channel block costs three more scalar ones (mobilenet_v3_large: +1 %).
//
// Tasks: strips of channels times blocks of rows; whichever of weights and input is larger is walked in the outer
// place so that the other stays in the second cache.
#include <algorithm>
#include <utility>

#include "ir/error.h"
#include "passes/lower/contraction_form.h"
#include "passes/lower/convolution.h"
#include "passes/lower/epilogue.h"
#include "passes/lower/family.h"
#include "passes/lower/register_tile.h"
#include "passes/lower/transpose_tile.h"

namespace lapidary::lowering {

using namespace loops;

namespace {

constexpr int kUnroll = 8;  // k steps in a row

// Output pixels oh = q · step + start see the input pixels q · stride + offset + t · offset_step through the kernel's
// taps index + t · index_step, for t < taps.
struct Phase {
  int64_t start = 0, step = 1, stride = 1;
  int64_t taps = 1, index = 0, index_step = 1, offset = 0, offset_step = 1;
  Dim count = nullptr;  // of q
};

// The phases of one spatial axis.
std::vector<Phase> phases_of(DimPool& dims, const ConvForm& form, int axis, Dim out_extent) {
  int64_t stride = form.strides[axis], dilation = form.dilations[axis], pad = *lapidary::value_of(form.pads[axis]);
  std::vector<Phase> phases;
  if (!form.transposed) {
    return {Phase{
        .stride = stride, .taps = form.kernel[axis], .offset = -pad, .offset_step = dilation, .count = out_extent}};
  }
  for (int64_t start = 0; start < stride; ++start) {  // oh + pad = ih · stride + k · dilation
    Phase phase{.start = start,
                .step = stride,
                .taps = 0,
                .count = dims.floordiv(dims.sub(dims.add(out_extent, dims.constant(stride - 1)), dims.constant(start)),
                                       dims.constant(stride))};
    for (int64_t k = form.kernel[axis] - 1; k >= 0; --k) {  // in the order of the input's pixels
      int64_t position = start + pad - k * dilation;
      if (position % stride != 0) continue;
      if (phase.taps++ == 0) {
        phase.index = k;
        phase.offset = position / stride;
      } else if (phase.taps == 2) {
        phase.index_step = k - phase.index;
        phase.offset_step = position / stride - phase.offset;
      }
    }
    phases.push_back(phase);
  }
  return phases;
}

struct Lowering {
  Context& context;
  const Op& group;
  ConvForm form;
  const Value* input;                     // the group's operand that holds x
  std::optional<ConstantId> weight = {};  // packed; else a step packs it into scratch 0
  bool blocked;                           // input in channel blocks
  Atom atom = kFloats;
  int64_t channels;  // that an output reads: with groups, those of the blocks that hold a strip's groups
  int64_t outputs;
  int panels, strip_panels;
  DimPool& dims() const { return context.module.dims; }
  int64_t inner() const { return blocked ? input->type.layout.block : 1; }  // channels of a block
  // Live weights are packed in the order they are read: of a transposed one from the last tap to the first.
  bool reversed() const { return form.transposed && !weight; }
  int64_t left_bytes() const { return bit_width(atom.left) / 8; }
};

// The channel blocks that strips of a grouped convolution read: `count` from the block of the strip's first group on,
// or fewer before the last block.
struct GroupedBlocks {
  int64_t count = 0, last_start = 0;
  std::vector<int64_t> first_channels;  // of each strip
};

GroupedBlocks grouped_blocks(const ConvForm& form, int strip_panels) {
  const int64_t outputs = *lapidary::value_of(form.outputs), channels = *lapidary::value_of(form.channels);
  const int64_t strip = int64_t{strip_panels} * kPanel, all = (channels + kPanel - 1) / kPanel;
  GroupedBlocks blocks;
  for (int64_t first = 0; first < outputs; first += strip) {
    const int64_t begin = first / form.group_outputs() * form.group_channels() / kPanel;
    const int64_t last_group = (std::min(first + strip, outputs) - 1) / form.group_outputs();
    const int64_t end = ((last_group + 1) * form.group_channels() + kPanel - 1) / kPanel;
    blocks.count = std::max(blocks.count, end - begin);
    blocks.first_channels.push_back(begin * kPanel);
  }
  blocks.last_start = all - blocks.count;
  for (int64_t& channel : blocks.first_channels) channel = std::min(channel, blocks.last_start * kPanel);
  return blocks;
}

// One variant of the tile body: phases are fixed, rows and panels given.
class Body {
 public:
  Body(Lowering& l, KernelBuilder& builder, GroupEmitter& emit, const Phase& row_phase, const Phase& pixel_phase)
      : l_(l),
        builder_(builder),
        emit_(emit),
        rows_(row_phase),
        pixels_(pixel_phase),
        strides_(image_strides(l.dims(), l.input->type)),
        x_(builder.operand(l.input)),
        w_(l.weight ? builder.weight(*l.weight) : builder.scratch(0, DType::F32, false)),
        epilogue_(
            epilogue_stage(builder, l.group, *l.form.conv,
                           int64_t{max_rows(l.context.target(), l.strip_panels, l.atom)} * l.strip_panels * kPanel)) {
    DimPool& dims = l.dims();
    const int64_t inner = l.inner(), taps = tap_count(), block = taps * inner * kPanel, width = l.form.kernel.back();
    batch_stride_ = size(strides_.batch);
    channel_stride_ = size(strides_.channel);
    row_step_ = size(dims.mul(dims.constant(rows_.stride), strides_.row));
    origin_ = size(dims.add(dims.mul(dims.constant(strides_.halo_row + rows_.offset), strides_.row),
                            dims.mul(dims.constant(strides_.halo_pixel + pixels_.offset), strides_.pixel)));
    // Bytes are zeros past the last channel, in the weights if not in the input: floats there may be anything times 0.
    const bool whole = l.atom.depth > 1;
    whole_blocks_ = size(whole ? (l.channels + inner - 1) / inner : l.channels / inner);
    // A second pointer for the second panel costs tiles of 12 and 13 rows one spilled vector (resnet50's 56 wide
    // layers).
    const RowSplit widths = split_rows(dims, pixel_phase.count, max_rows(l.context.target(), l.strip_panels, l.atom));
    const bool wide = std::ranges::any_of(widths.heights, [](int rows) { return rows > 11; });
    const int64_t panel_size = (l.channels + inner - 1) / inner * block;
    panel_size_ = wide ? integer(panel_size) : size(panel_size);
    block_size_ = taps == 1 ? integer(block) : size(block);
    const int64_t first_tap = rows_.index * width + pixels_.index;
    first_tap_ =
        l.form.transposed ? size((l.reversed() ? taps - 1 - first_tap : first_tap) * inner * kPanel) : integer(0);
    row_taps_ = taps_of(rows_, strides_.row, width * inner * kPanel);
    pixel_taps_ = taps_of(pixels_, strides_.pixel, inner * kPanel);
  }

  // The tile of `count` pixels from `pixel` of output row `row` (both in units of the phase's q).
  void emit(Block& block, Expr batch, Expr strip, int panels, Expr row, int count, Expr pixel) {
    int lanes = l_.context.target().f32_lanes();
    TileShape shape{.rows = count, .panels = panels, .lanes = lanes, .atom = l_.atom};
    shape.phases = phases_of(l_.context.target(), shape);
    RegisterTile tile(block, shape);
    const int64_t inner = l_.inner(), tail = l_.atom.depth > 1 ? 0 : l_.channels % inner;
    Expr pixel_stride = builder_.literal(strides_.pixel);
    Expr first = add(add(mul(batch, batch_stride_), mul(first_block(block, strip), channel_stride_)),
                     add(add(mul(row, row_step_), origin_), mul(mul(pixel, integer(pixels_.stride)), pixel_stride)));
    Expr x_base = block.let("x", first);
    Expr w_base = block.let("w", add(mul(mul(strip, integer(l_.strip_panels)), panel_size_), first_tap_));
    // The products of one channel block and one tap, in `depth` steps.
    auto products = [&](Block& body, Expr x_tap, Expr w_tap, int64_t depth) {
      RegisterTile::Operands operands{
          x_, w_,
          [=, this](Expr i, Expr k) {
            return add(add(x_tap, mul(mul(i, integer(pixels_.stride)), pixel_stride)), mul(k, integer(l_.atom.depth)));
          },
          [=, this](Expr j, Expr k) { return add(w_tap, panel_element(j, k, lanes, panel_size_, l_.atom)); }};
      int unroll = depth % kUnroll == 0 ? kUnroll : depth % 4 == 0 ? 4 : depth % 2 == 0 ? 2 : 1;
      if (depth == 1) return tile.step(body, operands, integer(0));
      unroll = steps_in_a_row(l_.context.target(), l_.atom, std::max(unroll, shape.phases));
      tile.multiply(body, operands, integer(depth), unroll);
    };
    auto channel = [&](Block& body, Expr channel_block, int64_t depth) {
      Expr x_block = body.let("xc", add(x_base, mul(channel_block, channel_stride_)));
      Expr w_block = body.let("wc", add(w_base, mul(channel_block, block_size_)));
      for_taps(body, x_block, w_block, [&](Block& inner_body, Expr x_tap, Expr w_tap) {
        products(inner_body, x_tap, w_tap, depth / l_.atom.depth);
      });
    };
    if (l_.channels >= inner || l_.atom.depth > 1)
      serial(block, "c", integer(0), whole_blocks_, 1, [&](Block& body, Expr c) { channel(body, c, inner); });
    if (tail) channel(block, whole_blocks_, tail);
    tile.join_phases(block);
    store(block, tile, batch, strip, row, pixel);
  }

 private:
  int64_t tap_count() const {
    int64_t taps = 1;
    for (int64_t extent : l_.form.kernel) taps *= extent;
    return taps;
  }

  // A size that no instruction of a tile depends on. A first layer's loops are short, and one kernel a model: literals.
  // So are a transposed one's: each phase is a kernel of its own, and unet's spilled 22 vectors each with arguments.
  Expr size(Dim dim) { return l_.blocked && !l_.form.transposed ? builder_.argument(dim) : builder_.literal(dim); }
  Expr size(int64_t value) { return size(l_.dims().constant(value)); }

  // The first channel block a strip reads.
  Expr first_block(Block& block, Expr strip) {
    const ConvForm& form = l_.form;
    if (form.group == 1) return integer(0);
    const GroupedBlocks blocks = grouped_blocks(form, l_.strip_panels);
    Expr group = floordiv(mul(strip, integer(int64_t{l_.strip_panels} * kPanel)),
                          builder_.literal(l_.dims().constant(form.group_outputs())));
    return block.let(
        "first_block",
        min(floordiv(mul(group, builder_.parameter(l_.dims().constant(form.group_channels()))), integer(kPanel)),
            builder_.parameter(l_.dims().constant(blocks.last_start))));
  }

  // The loop over a phase's taps: how many, and how far apart in the input and in the weights.
  struct Taps {
    Expr count, x_step, w_step;
  };
  Taps taps_of(const Phase& phase, Dim x_stride, int64_t w_stride) {
    if (phase.taps < 2) return {integer(phase.taps), integer(0), integer(0)};
    return {size(phase.taps), size(l_.dims().mul(l_.dims().constant(phase.offset_step), x_stride)),
            size((l_.reversed() ? -phase.index_step : phase.index_step) * w_stride)};
  }

  // All taps, from the addresses of the first.
  void for_taps(Block& block, Expr x_first, Expr w_first, const std::function<void(Block&, Expr, Expr)>& body) {
    auto loop = [](Block& outer, const char* name, const Taps& taps, Expr x, Expr w, auto&& inside) {
      if (loops::value_of(taps.count) == 0) return;
      if (loops::value_of(taps.count) == 1) return inside(outer, x, w);
      serial(outer, name, integer(0), taps.count, 1, [&](Block& inner, Expr t) {
        inside(inner, inner.let("xt", add(x, mul(t, taps.x_step))), inner.let("wt", add(w, mul(t, taps.w_step))));
      });
    };
    loop(block, "kh", row_taps_, x_first, w_first,
         [&](Block& row, Expr x, Expr w) { loop(row, "kw", pixel_taps_, x, w, body); });
  }

  void store(Block& block, const RegisterTile& tile, Expr batch, Expr strip, Expr row, Expr pixel) {
    int lanes = tile.shape.lanes;
    const Op& conv = *l_.form.conv;
    bool ragged = l_.outputs % kPanel != 0;
    tile.for_each(
        block,
        [&](Block& inner, Expr i, Expr j, Expr value) {
          GroupEmitter::Scope scope(emit_, inner);
          Expr channel = add(mul(strip, integer(l_.strip_panels * kPanel)), mul(j, integer(lanes)));
          Expr mask = ragged ? first_lanes(sub(builder_.parameter(l_.form.outputs), channel), lanes) : nullptr;
          if (conv.operands.size() > 2) {
            value = add(value, emit_.value(conv.operand(2), {{along(channel)}, lanes, mask}));
          }
          Coords coords{{at(batch), along(channel)}, lanes, mask};
          if (l_.form.spatial == 2) coords.axes.push_back(at(add(mul(row, integer(rows_.step)), integer(rows_.start))));
          coords.axes.push_back(at(add(mul(add(pixel, i), integer(pixels_.step)), integer(pixels_.start))));
          emit_.store_results(conv.result(), coords, value);
        },
        epilogue_);
  }

  Lowering& l_;
  KernelBuilder& builder_;
  GroupEmitter& emit_;
  const Phase& rows_;
  const Phase& pixels_;
  ImageStrides strides_;
  Expr batch_stride_, channel_stride_, row_step_, origin_, whole_blocks_, panel_size_, block_size_, first_tap_;
  Taps row_taps_, pixel_taps_;
  Buffer x_, w_, epilogue_;
};

LoweredStep lower_phase(Lowering& l, const Phase& rows, const Phase& pixels) {
  Module& module = l.context.module;
  DimPool& dims = module.dims;
  const Target& target = l.context.target();
  int tile_rows = max_rows(target, l.strip_panels, l.atom);
  KernelBuilder builder(module, target, "conv", fmt::format("direct tile={}x{}", tile_rows, l.strip_panels * kPanel));
  GroupEmitter emit(builder, l.group);

  int64_t strips = (l.panels + l.strip_panels - 1) / l.strip_panels;
  int64_t weight_bytes = l.channels * l.panels * kPanel * l.left_bytes() * rows.taps * pixels.taps;
  int64_t row_bytes =
      lapidary::value_of(pixels.count).value_or(128) * pixels.stride * rows.stride * l.channels * l.left_bytes();
  int64_t block_rows = std::max<int64_t>(1, target.l2_bytes / 4 / std::max<int64_t>(row_bytes, 1));
  if (auto known = lapidary::value_of(rows.count); known && *known > 0) {
    int64_t blocks = (*known + block_rows - 1) / block_rows;
    blocks = std::max(blocks, std::min<int64_t>(*known, (8 + strips - 1) / strips));  // enough tasks for a few threads
    block_rows = (*known + blocks - 1) / blocks;
  }
  Dim row_blocks = dims.ceildiv(rows.count, dims.constant(block_rows));
  bool weights_outer = weight_bytes > target.l2_bytes / 2;
  Dim batch_extent = l.form.conv->type().shape[0], strip_extent = dims.constant(strips);
  std::vector<Expr> axes = weights_outer ? builder.split_task({batch_extent, strip_extent, row_blocks})
                                         : builder.split_task({batch_extent, row_blocks, strip_extent});
  Expr batch = axes[0], strip = axes[weights_outer ? 1 : 2], row_block = axes[weights_outer ? 2 : 1];

  Block& body = builder.body;
  Expr rows_of_block = builder.argument(dims.constant(block_rows));
  Expr first = body.let("first", mul(row_block, rows_of_block));
  Expr last = body.let("last", min(add(first, rows_of_block), builder.argument(rows.count)));
  RowSplit split = split_rows(dims, pixels.count, tile_rows);
  Expr tiles = builder.argument(split.tiles), height = builder.literal(split.height),
       longer = builder.argument(split.longer);
  Body tile_body(l, builder, emit, rows, pixels);
  auto all_rows = [&](Block& into, int panels) {
    serial(into, "row", first, last, 1, [&](Block& row_loop, Expr row) {
      serial(row_loop, "tile", integer(0), tiles, 1, [&](Block& loop, Expr tile) {
        Expr width = loop.let("width", add(height, select(less(tile, longer), integer(1), integer(0))));
        Expr pixel = loop.let("pixel", add(mul(tile, height), min(tile, longer)));
        for_height(loop, split, width, pixel, [&](Block& block, int count, Expr from) {
          tile_body.emit(block, batch, strip, panels, row, count, from);
        });
      });
    });
  };
  int rest = l.panels % l.strip_panels;
  if (!rest) {
    all_rows(body, l.strip_panels);
  } else if (l.panels < l.strip_panels) {
    all_rows(body, rest);
  } else {
    Block whole, last_strip;
    all_rows(whole, l.strip_panels);
    all_rows(last_strip, rest);
    body.add(if_then(less(strip, builder.argument(dims.constant(strips - 1))), whole.take(), last_strip.take()));
  }
  LoweredStep step =
      single_step(builder.finish(dims.product(std::vector<Dim>{batch_extent, strip_extent, row_blocks})));
  step.flops =
      dims.product(std::vector<Dim>{dims.constant(2 * l.form.group_channels() * l.outputs * rows.taps * pixels.taps),
                                    batch_extent, rows.count, pixels.count});
  return step;
}

// [O, I, k…] (or [I, O, k…] of conv_transpose) as [O/16][I/iblock][k…][iblock][16].
ConstantId packed_weight(Module& module, const ConvForm& form, int64_t inner, int strip_panels, const Atom& atom) {
  ConstantTable& constants = module.constants;
  ConstantId weight = *form.weight;
  if (form.transposed) {
    std::vector<int64_t> order = {1, 0};
    for (int axis = 0; axis < form.spatial; ++axis) order.push_back(2 + axis);
    weight = constants.transformed(weight, {.kind = Transform::Kind::Transpose, .axes = order});
  }
  if (form.group > 1) {
    const GroupedBlocks blocks = grouped_blocks(form, strip_panels);
    weight = constants.transformed(weight, {.kind = Transform::Kind::SpreadGroups,
                                            .axes = blocks.first_channels,
                                            .shape = {form.group_outputs(), blocks.count * kPanel},
                                            .block = int64_t{strip_panels} * kPanel});
  }
  const auto kind = atom.depth == 1 ? Transform::Kind::PackConv : Transform::Kind::PackConvDots;
  return constants.transformed(weight, {.kind = kind, .shape = {inner}, .block = kPanel});
}

int64_t packed_elements(const Lowering& l) {
  int64_t elements = int64_t{l.panels} * kPanel * ((l.channels + l.inner() - 1) / l.inner()) * l.inner();
  for (int64_t extent : l.form.kernel) elements *= extent;
  return elements;
}

// A live weight in the same form: one task a panel and channel block.
class WeightPacking {
 public:
  explicit WeightPacking(const Lowering& l)
      : l_(l),
        lanes_(l.context.target().f32_lanes()),
        blocks_((l.channels + l.inner() - 1) / l.inner()),
        builder_(l.context.module, l.context.target(), "conv", "pack weights"),
        emit_(builder_, l.group) {
    for (int64_t extent : l.form.kernel) taps_ *= extent;
  }

  LoweredStep step() {
    DimPool& dims = l_.dims();
    const int64_t inner = l_.inner();
    const std::vector<Expr> axes = builder_.split_task({dims.constant(l_.panels), dims.constant(blocks_)});
    panel_ = axes[0];
    block_ = axes[1];
    packed_ = builder_.scratch(0, DType::F32, true);
    base_ = builder_.body.let("base", mul(add(mul(panel_, builder_.parameter(dims.constant(blocks_))), block_),
                                          builder_.parameter(dims.constant(taps_ * inner * kPanel))));
    const Value* weight = l_.form.conv->operand(1);
    const bool apart = !l_.form.transposed || taps_ > 1;  // outputs, which else are vectors already
    if (apart && !weight->producer && l_.group.operand(weight->index)->type.layout.dense())
      turned(l_.group.operand(weight->index));
    else
      picked();
    LoweredStep step = single_step(builder_.finish(dims.constant(l_.panels * blocks_)));
    step.flops = dims.constant(0);
    step.bytes = dims.constant(packed_elements(l_) * 2 * 4);
    return step;
  }

 private:
  // A dense weight, turned 16 by 16 in registers: [outputs][channels · taps], or [outputs][taps] of each channel of a
  // transposed one.
  void turned(const Value* weight) {
    DimPool& dims = l_.dims();
    const int64_t inner = l_.inner(), line = l_.channels * taps_;
    Buffer source = builder_.operand(weight);
    if (!l_.form.transposed) {
      Expr length = builder_.parameter(dims.constant(line));
      Expr first = builder_.body.let("first", mul(block_, builder_.parameter(dims.constant(inner * taps_))));
      return turn(builder_.body, {source, first, length, sub(length, first), inner * taps_, nullptr});
    }
    Expr channels = builder_.parameter(dims.constant(l_.channels));
    serial(builder_.body, "k", integer(0), integer(inner), 1, [&](Block& block, Expr k) {
      Expr channel = block.let("channel", add(mul(block_, integer(inner)), k));
      Expr first = block.let("first", mul(channel, builder_.parameter(dims.constant(l_.outputs * taps_))));
      Expr valid = block.let("valid", select(less(channel, channels), integer(taps_), integer(0)));
      turn(block, {source, first, integer(taps_), valid, taps_, k});
    });
  }

  // Runs of `length` numbers, one for each output, `apart` from each other, of which `valid` are there: of channels and
  // their taps, or of the taps of one.
  struct Runs {
    Buffer source;
    Expr first, apart, valid;
    int64_t length;
    Expr channel;
  };
  void turn(Block& into, const Runs& runs) {
    Expr outputs = builder_.parameter(l_.dims().constant(l_.outputs));
    serial(into, "v", integer(0), integer(kPanel / lanes_), 1, [&](Block& vector, Expr v) {
      Expr output = vector.let("output", add(mul(panel_, integer(kPanel)), mul(v, integer(lanes_))));
      serial(vector, "r", integer(0), integer(runs.length), lanes_, [&](Block& inner, Expr r) {
        Expr left = inner.let("left", max(integer(0), sub(runs.valid, r)));
        std::vector<Expr> loaded;
        for (int lane = 0; lane < lanes_; ++lane) {
          Expr o = inner.let("o", add(output, integer(lane)));
          Expr mask = first_lanes(select(less(o, outputs), left, integer(0)), lanes_);
          loaded.push_back(
              inner.let("x", load(runs.source, add(add(mul(o, runs.apart), runs.first), r), lanes_, mask)));
        }
        const std::vector<Expr> columns = transposed(inner, std::move(loaded));
        for (int lane = 0; lane < lanes_; ++lane) {
          Expr row = inner.let("row", add(r, integer(lane))), channel = runs.channel, tap = row;
          if (!channel) channel = floordiv(row, integer(taps_)), tap = mod(row, integer(taps_));
          Block one;
          one.add(loops::store(packed_, index_of(tap, channel, mul(v, integer(lanes_))), columns[lane]));
          if (runs.length % lanes_ == 0)
            for (Stmt& statement : one.take()) inner.add(std::move(statement));
          else
            inner.add(if_then(less(row, integer(runs.length)), one.take()));
        }
      });
    });
  }

  // One vector of outputs at a time.
  void picked() {
    serial(
        builder_.body, "tap", integer(0), builder_.parameter(l_.dims().constant(taps_)), 1, [&](Block& row, Expr tap) {
          serial(row, "k", integer(0), integer(l_.inner()), 1, [&](Block& block, Expr k) { vectors(block, tap, k); });
        });
  }

  void vectors(Block& row, Expr tap, Expr k) {
    const Op& conv = *l_.form.conv;
    std::vector<Coord> window = {at(tap)};
    if (l_.form.spatial == 2) {
      Expr by = builder_.divisor(l_.dims().constant(l_.form.kernel.back()));
      window = {at(row.let("kh", floordiv(tap, by))), at(row.let("kw", mod(tap, by)))};
    }
    unrolled(row, "j", kPanel / lanes_, [&](Block& block, Expr j) {
      Expr output = block.let("output", add(mul(panel_, integer(kPanel)), mul(j, integer(lanes_))));
      Expr channel = block.let("channel", add(mul(block_, integer(l_.inner())), k));
      Expr left = block.let("left", sub(builder_.parameter(l_.dims().constant(l_.outputs)), output));
      Expr index = index_of(tap, k, mul(j, integer(lanes_)));
      Block some, none;
      {
        GroupEmitter::Scope scope(emit_, some);
        Coords coords{{along(output), at(channel)}, lanes_, first_lanes(left, lanes_)};
        if (l_.form.transposed) std::swap(coords.axes[0], coords.axes[1]);
        coords.axes.insert(coords.axes.end(), window.begin(), window.end());
        some.add(loops::store(packed_, index, emit_.value(conv.operand(1), coords)));
      }
      none.add(loops::store(packed_, index, real(0, lanes_)));
      Expr inside = both(less(integer(0), left), less(channel, builder_.parameter(l_.dims().constant(l_.channels))));
      block.add(if_then(inside, some.take(), none.take()));
    });
  }

  Expr index_of(Expr tap, const Expr& channel, const Expr& output) const {
    if (l_.reversed()) tap = sub(integer(taps_ - 1), tap);
    return add(add(base_, mul(add(mul(tap, integer(l_.inner())), channel), integer(kPanel))), output);
  }

  const Lowering& l_;
  const int lanes_;
  const int64_t blocks_;
  int64_t taps_ = 1;
  KernelBuilder builder_;
  GroupEmitter emit_;
  Buffer packed_;
  Expr panel_, block_, base_;
};

}  // namespace

LoweredGroup lower_direct_convolution(Context& context, const Op& group, const ConvForm& form) {
  const Op& conv = *form.conv;
  const Value* source = conv.operand(0);
  LPD_CHECK(!source->producer, "a convolution's input is computed inside its group");
  const Value* input = group.operand(source->index);
  Lowering l{.context = context,
             .group = group,
             .form = form,
             .input = input,
             .blocked = input->type.layout.blocked_axis == 1,
             .atom = conv.params.has("to") ? kBytes : kFloats,
             .channels = *lapidary::value_of(form.channels),
             .outputs = *lapidary::value_of(form.outputs)};
  l.panels = static_cast<int>((l.outputs + kPanel - 1) / kPanel);
  l.strip_panels = context.target().f32_lanes() < kPanel ? 1 : std::min(2, l.panels);
  if (form.group > 1) {
    if (grouped_blocks(form, l.strip_panels).count > grouped_blocks(form, 1).count) l.strip_panels = 1;
    l.channels = grouped_blocks(form, l.strip_panels).count * kPanel;
  }
  LoweredGroup result;
  if (form.weight) {
    l.weight = packed_weight(context.module, form, l.inner(), l.strip_panels, l.atom);
  } else {
    result.steps.push_back(WeightPacking(l).step());
    result.scratch.push_back(context.module.dims.constant(packed_elements(l) * 4));
  }

  DimPool& dims = context.module.dims;
  const Shape& out = conv.type().shape;
  std::vector<Phase> pixel_phases = phases_of(dims, form, form.spatial - 1, out.back());
  std::vector<Phase> row_phases = {Phase{.count = dims.constant(1)}};
  if (form.spatial == 2) row_phases = phases_of(dims, form, 0, out[2]);
  bool first = true;
  for (const Phase& rows : row_phases) {
    for (const Phase& pixels : pixel_phases) {
      result.steps.push_back(lower_phase(l, rows, pixels));
      if (!std::exchange(first, false)) result.steps.back().barrier_before = false;  // phases write apart
    }
  }
  return result;
}

}  // namespace lapidary::lowering
