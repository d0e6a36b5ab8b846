// Direct convolution as register-tiled products, without im2col: a tile is a run of output pixels of one row times 32
// output channels; the reduction walks input channels and kernel taps; A's element for pixel i lies i · stride pixels
// further, a constant; the weights of a strip lie in the order they are read, [O/16][I/16][kh][kw][16][16].
//
// The input comes in blocks of 16 channels with a halo at least as wide as the pads, filled by its producer, so no
// border case is left; or, for a first layer's few channels, dense with a halo, one channel a tap. Rows of the output
// are cut into tiles of nearly equal width (56 = 12 + 11 + 11 + 11 + 11). The whole reduction stays in registers.
//
// conv_transpose is the same in phases: outputs oh ≡ p (mod stride) see the fixed taps kh ≡ p + pad (mod stride), and
// each phase is a convolution of stride 1 whose results land `stride` apart.
//
// Tasks: strips of channels times blocks of rows; whichever of weights and input is larger is walked in the outer
// place so that the other stays in the second cache.
#include <algorithm>

#include "ir/error.h"
#include "passes/lower/contraction_form.h"
#include "passes/lower/convolution.h"
#include "passes/lower/epilogue.h"
#include "passes/lower/family.h"
#include "passes/lower/register_tile.h"

namespace lapidary::lowering {

using namespace loops;

namespace {

constexpr int kUnroll = 8;   // k steps in a row

// Output pixels oh = q · step + start see the input rows q · stride + offset(tap).
struct Tap { int64_t index, offset; };           // which of the kernel, in input pixels relative to q · stride
struct Phase {
  int64_t start = 0, step = 1, stride = 1;
  std::vector<Tap> taps;
  Dim count = nullptr;                           // of q
};

// The phases of one spatial axis.
std::vector<Phase> phases_of(DimPool& dims, const ConvForm& form, int axis, Dim out_extent) {
  int64_t stride = form.strides[axis], dilation = form.dilations[axis], pad = *lapidary::value_of(form.pads[axis]);
  std::vector<Phase> phases;
  if (!form.transposed) {
    Phase phase{.stride = stride, .taps = {}, .count = out_extent};
    for (int64_t k = 0; k < form.kernel[axis]; ++k) phase.taps.push_back({k, k * dilation - pad});
    return {phase};
  }
  for (int64_t start = 0; start < stride; ++start) {   // oh + pad = ih · stride + k · dilation
    Phase phase{.start = start, .step = stride, .taps = {},
                .count = dims.floordiv(dims.sub(dims.add(out_extent, dims.constant(stride - 1)), dims.constant(start)), dims.constant(stride))};
    for (int64_t k = 0; k < form.kernel[axis]; ++k) {
      int64_t position = start + pad - k * dilation;
      if (position % stride == 0) phase.taps.push_back({k, position / stride});
    }
    phases.push_back(std::move(phase));
  }
  return phases;
}

struct Lowering {
  Context& context;
  const Op& group;
  ConvForm form;
  const Value* input;          // the group's operand that holds x
  ConstantId weight{};         // packed
  bool blocked;                // input in channel blocks
  int64_t channels, outputs;
  int panels, strip_panels;
  DimPool& dims() const { return context.module.dims; }
};

// One variant of the tile body: phases are fixed, rows and panels given.
class Body {
 public:
  Body(Lowering& l, KernelBuilder& builder, GroupEmitter& emit, const Phase& row_phase, const Phase& pixel_phase)
      : l_(l), builder_(builder), emit_(emit), rows_(row_phase), pixels_(pixel_phase),
        strides_(image_strides(l.dims(), l.input->type)),
        x_(builder.operand(l.input)), w_(builder.weight(l.weight)),
        epilogue_(epilogue_stage(builder, l.group, *l.form.conv, int64_t{max_rows(l.context.target(), l.strip_panels)} * l.strip_panels * kPanel)) {}

  // The tile of `count` pixels from `pixel` of output row `row` (both in units of the phase's q).
  void emit(Block& block, Expr batch, Expr strip, int panels, Expr row, int count, Expr pixel) {
    int lanes = l_.context.target().f32_lanes();
    TileShape shape{.rows = count, .panels = panels, .lanes = lanes};
    if (count * shape.vectors() < 8) shape.phases = 2;
    RegisterTile tile(block, shape);
    int64_t inner = l_.blocked ? kPanel : 1;               // channels a block
    Expr pixel_stride = builder_.literal(strides_.pixel), row_stride = builder_.literal(strides_.row);
    Expr channel_stride = builder_.literal(strides_.channel);
    Expr first = add(mul(batch, builder_.parameter(strides_.batch)),
                     add(mul(mul(row, integer(rows_.stride)), row_stride), mul(mul(pixel, integer(pixels_.stride)), pixel_stride)));
    Expr x_base = block.let("x", first);
    int64_t taps = tap_count();
    int64_t blocks = (l_.channels + inner - 1) / inner, tail = l_.channels % inner;
    Expr panel_size = integer(blocks * taps * inner * kPanel);
    Expr w_base = block.let("w", mul(mul(strip, integer(l_.strip_panels)), panel_size));
    // The products of one channel block and one tap: `depth` channels.
    auto products = [&](Block& body, Expr channel_block, Expr x_offset, Expr tap, int64_t depth) {
      Expr x_tap = body.let("xt", add(add(x_base, mul(channel_block, channel_stride)), x_offset));
      Expr w_tap = body.let("wt", add(w_base, mul(add(mul(channel_block, integer(taps)), tap), integer(inner * kPanel))));
      RegisterTile::Operands operands{x_, w_,
          [=, this](Expr i, Expr k) { return add(add(x_tap, mul(mul(i, integer(pixels_.stride)), pixel_stride)), k); },
          [=](Expr j, Expr k) { return add(w_tap, panel_element(j, k, lanes, panel_size)); }};
      int unroll = depth % kUnroll == 0 ? kUnroll : depth % 4 == 0 ? 4 : depth % 2 == 0 ? 2 : 1;
      if (depth == 1) return tile.step(body, operands, integer(0));
      tile.multiply(body, operands, integer(depth), std::max(unroll, shape.phases));
    };
    auto channel = [&](Block& body, Expr channel_block, int64_t depth) {
      for_taps(body, row_stride, pixel_stride, [&](Block& inner_body, Expr offset, Expr tap) {
        products(inner_body, channel_block, offset, tap, depth);
      });
    };
    int64_t whole = l_.blocked ? l_.channels / kPanel : l_.channels;
    if (whole > 0) serial(block, "c", integer(0), integer(whole), 1, [&](Block& body, Expr c) { channel(body, c, inner); });
    if (tail) channel(block, integer(whole), tail);
    tile.join_phases(block);
    store(block, tile, batch, strip, row, pixel);
  }

 private:
  int64_t tap_count() const {
    int64_t taps = 1;
    for (int64_t extent : l_.form.kernel) taps *= extent;
    return taps;
  }

  // All taps of the phase; a convolution's are evenly spaced and become loops.
  void for_taps(Block& block, Expr row_stride, Expr pixel_stride, const std::function<void(Block&, Expr, Expr)>& body) {
    int64_t width = l_.form.kernel.back();
    Expr halo = add(mul(integer(strides_.halo_row), row_stride), mul(integer(strides_.halo_pixel), pixel_stride));
    auto offset = [&](Expr dy, Expr dx) { return add(halo, add(mul(dy, row_stride), mul(dx, pixel_stride))); };
    if (l_.form.transposed) {
      for (const Tap& dy : rows_.taps) {
        for (const Tap& dx : pixels_.taps) {
          body(block, offset(integer(dy.offset), integer(dx.offset)), integer(dy.index * width + dx.index));
        }
      }
      return;
    }
    auto step = [](const Phase& phase) { return phase.taps.size() > 1 ? phase.taps[1].offset - phase.taps[0].offset : 1; };
    auto pixel_taps = [&](Block& row, Expr kh) {
      auto one = [&](Block& inner, Expr kw) {
        Expr dy = add(integer(rows_.taps[0].offset), mul(kh, integer(step(rows_))));
        Expr dx = add(integer(pixels_.taps[0].offset), mul(kw, integer(step(pixels_))));
        body(inner, offset(dy, dx), add(mul(kh, integer(width)), kw));
      };
      if (width == 1) return one(row, integer(0));
      serial(row, "kw", integer(0), integer(width), 1, one);
    };
    int64_t height = static_cast<int64_t>(rows_.taps.size());
    if (height == 1) return pixel_taps(block, integer(0));
    serial(block, "kh", integer(0), integer(height), 1, pixel_taps);
  }

  void store(Block& block, const RegisterTile& tile, Expr batch, Expr strip, Expr row, Expr pixel) {
    int lanes = tile.shape.lanes;
    const Op& conv = *l_.form.conv;
    bool ragged = l_.outputs % kPanel != 0;
    tile.for_each(block, [&](Block& inner, Expr i, Expr j, Expr value) {
      GroupEmitter::Scope scope(emit_, inner);
      Expr channel = add(mul(strip, integer(l_.strip_panels * kPanel)), mul(j, integer(lanes)));
      Expr mask = ragged ? first_lanes(sub(integer(l_.outputs), channel), lanes) : nullptr;
      if (conv.operands.size() > 2) {
        value = add(value, emit_.value(conv.operand(2), {{along(channel)}, lanes, mask}));
      }
      Coords coords{{at(batch), along(channel)}, lanes, mask};
      if (l_.form.spatial == 2) coords.axes.push_back(at(add(mul(row, integer(rows_.step)), integer(rows_.start))));
      coords.axes.push_back(at(add(mul(add(pixel, i), integer(pixels_.step)), integer(pixels_.start))));
      emit_.store_results(conv.result(), coords, value);
    }, epilogue_);
  }

  Lowering& l_;
  KernelBuilder& builder_;
  GroupEmitter& emit_;
  const Phase& rows_;
  const Phase& pixels_;
  ImageStrides strides_;
  Buffer x_, w_, epilogue_;
};

LoweredStep lower_phase(Lowering& l, const Phase& rows, const Phase& pixels) {
  Module& module = l.context.module;
  DimPool& dims = module.dims;
  const Target& target = l.context.target();
  int tile_rows = max_rows(target, l.strip_panels);
  KernelBuilder builder(module, target, "conv", fmt::format("direct tile={}x{}", tile_rows, l.strip_panels * kPanel));
  GroupEmitter emit(builder, l.group);

  int64_t strips = (l.panels + l.strip_panels - 1) / l.strip_panels;
  int64_t weight_bytes = l.channels * l.panels * kPanel * 4 * static_cast<int64_t>(rows.taps.size() * pixels.taps.size());
  int64_t row_bytes = lapidary::value_of(pixels.count).value_or(128) * pixels.stride * rows.stride * l.channels * 4;
  int64_t block_rows = std::max<int64_t>(1, target.l2_bytes / 4 / std::max<int64_t>(row_bytes, 1));
  if (auto known = lapidary::value_of(rows.count); known && *known > 0) {
    int64_t blocks = (*known + block_rows - 1) / block_rows;
    blocks = std::max(blocks, std::min<int64_t>(*known, (8 + strips - 1) / strips));   // enough tasks for a few threads
    block_rows = (*known + blocks - 1) / blocks;
  }
  Dim row_blocks = dims.ceildiv(rows.count, dims.constant(block_rows));
  bool weights_outer = weight_bytes > target.l2_bytes / 2;
  Dim batch_extent = l.form.conv->type().shape[0], strip_extent = dims.constant(strips);
  std::vector<Expr> axes = weights_outer ? builder.split_task({batch_extent, strip_extent, row_blocks})
                                         : builder.split_task({batch_extent, row_blocks, strip_extent});
  Expr batch = axes[0], strip = axes[weights_outer ? 1 : 2], row_block = axes[weights_outer ? 2 : 1];

  Block& body = builder.body;
  Expr first = body.let("first", mul(row_block, integer(block_rows)));
  Expr last = body.let("last", min(add(first, integer(block_rows)), builder.parameter(rows.count)));
  RowSplit split = split_rows(dims, pixels.count, tile_rows);
  Expr tiles = builder.parameter(split.tiles), height = builder.literal(split.height), longer = builder.parameter(split.longer);
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
    body.add(if_then(less(strip, integer(strips - 1)), whole.take(), last_strip.take()));
  }
  LoweredStep step = single_step(builder.finish(dims.product(std::vector<Dim>{batch_extent, strip_extent, row_blocks})));
  step.flops = dims.product(std::vector<Dim>{
      dims.constant(2 * l.channels * l.outputs * static_cast<int64_t>(rows.taps.size() * pixels.taps.size())), batch_extent,
      rows.count, pixels.count});
  return step;
}

// [O, I, k…] (or [I, O, k…] of conv_transpose) as [O/16][I/iblock][k…][iblock][16].
ConstantId packed_weight(Module& module, const ConvForm& form, bool blocked) {
  ConstantTable& constants = module.constants;
  ConstantId weight = *form.weight;
  if (form.transposed) {
    std::vector<int64_t> order = {1, 0};
    for (int axis = 0; axis < form.spatial; ++axis) order.push_back(2 + axis);
    weight = constants.transformed(weight, {.kind = Transform::Kind::Transpose, .axes = order});
  }
  return constants.transformed(weight, {.kind = Transform::Kind::PackConv, .shape = {blocked ? kPanel : 1}, .block = kPanel});
}

}  // namespace

LoweredGroup lower_direct_convolution(Context& context, const Op& group, const ConvForm& form) {
  const Op& conv = *form.conv;
  const Value* source = conv.operand(0);
  LPD_CHECK(!source->producer, "a convolution's input is computed inside its group");
  const Value* input = group.operand(source->index);
  Lowering l{context, group, form, input, {}, input->type.layout.blocked_axis == 1, *lapidary::value_of(form.channels),
             *lapidary::value_of(form.outputs), 0, 0};
  l.panels = static_cast<int>((l.outputs + kPanel - 1) / kPanel);
  l.strip_panels = context.target().f32_lanes() < kPanel ? 1 : std::min(2, l.panels);
  l.weight = packed_weight(context.module, form, l.blocked);

  DimPool& dims = context.module.dims;
  const Shape& out = conv.type().shape;
  std::vector<Phase> pixel_phases = phases_of(dims, form, form.spatial - 1, out.back());
  std::vector<Phase> row_phases = {Phase{.taps = {{0, 0}}, .count = dims.constant(1)}};
  if (form.spatial == 2) row_phases = phases_of(dims, form, 0, out[2]);
  LoweredGroup result;
  for (const Phase& rows : row_phases) {
    for (const Phase& pixels : pixel_phases) result.steps.push_back(lower_phase(l, rows, pixels));
  }
  for (size_t i = 1; i < result.steps.size(); ++i) result.steps[i].barrier_before = false;   // phases write apart
  return result;
}

}  // namespace lapidary::lowering
