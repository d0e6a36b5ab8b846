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
#include "passes/lower/convolution_pack.h"
#include "passes/lower/epilogue.h"
#include "passes/lower/family.h"
#include "passes/lower/register_tile.h"

namespace lapidary::lowering {

using namespace loops;

namespace {

constexpr int kUnroll = 8;  // k steps in a row

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
  WeightForm weights() const {
    return {.form = form, .inner = inner(), .channels = channels, .strip_panels = strip_panels, .atom = atom};
  }
  bool reversed() const { return weights().reversed(); }
  int64_t left_bytes() const { return bit_width(atom.left) / 8; }
};

// One variant of the tile body: phases are fixed, rows and panels given.
class Body {
 public:
  Body(Lowering& l, KernelBuilder& builder, GroupEmitter& emit, const ConvPhase& row_phase,
       const ConvPhase& pixel_phase)
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
    const int64_t inner = l.inner(), taps = l.weights().taps(), block = taps * inner * kPanel,
                  width = l.form.kernel.back();
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
    Expr first = add(add(mul(batch, batch_stride_),
                         mul(first_block(builder_, block, l_.form, strip, l_.strip_panels), channel_stride_)),
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
  // A size that no instruction of a tile depends on. A first layer's loops are short, and one kernel a model: literals.
  // So are a transposed one's: each phase is a kernel of its own, and unet's spilled 22 vectors each with arguments.
  Expr size(Dim dim) { return l_.blocked && !l_.form.transposed ? builder_.argument(dim) : builder_.literal(dim); }
  Expr size(int64_t value) { return size(l_.dims().constant(value)); }

  // The loop over a phase's taps: how many, and how far apart in the input and in the weights.
  struct Taps {
    Expr count, x_step, w_step;
  };
  Taps taps_of(const ConvPhase& phase, Dim x_stride, int64_t w_stride) {
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
  const ConvPhase& rows_;
  const ConvPhase& pixels_;
  ImageStrides strides_;
  Expr batch_stride_, channel_stride_, row_step_, origin_, whole_blocks_, panel_size_, block_size_, first_tap_;
  Taps row_taps_, pixel_taps_;
  Buffer x_, w_, epilogue_;
};

LoweredStep lower_phase(Lowering& l, const ConvPhase& rows, const ConvPhase& pixels) {
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
    l.weight = packed_weight(context.module, l.weights());
  } else {
    result.steps.push_back(pack_live_weight(context, group, l.weights()));
    result.scratch.push_back(context.module.dims.constant(l.weights().elements() * 4));
  }

  DimPool& dims = context.module.dims;
  const Shape& out = conv.type().shape;
  bool first = true;
  for (const ConvPhase& rows : row_phases(dims, form, out)) {
    for (const ConvPhase& pixels : pixel_phases(dims, form, out)) {
      result.steps.push_back(lower_phase(l, rows, pixels));
      if (!std::exchange(first, false)) result.steps.back().barrier_before = false;  // phases write apart
    }
  }
  return result;
}

}  // namespace lapidary::lowering
