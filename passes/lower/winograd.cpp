// Winograd convolution F(4, 3): 3×3 filters of stride 1 with 36 multiplications for 4×4 outputs instead of 144.
//
// A task owns a block of tiles of one image and a group of output channels: it transforms the tiles' inputs into
// V[36][tile][channel], then for each strip of 32 output channels runs 36 small products against the transformed
// weights U[36][O/16][I][16] into M[36][tile][32], and transforms those back, straight into the epilogue. The block is
// as large as lets V stay in the second cache, and at least a register tile high, so that U is streamed seldom.
//
// It pays when there are enough tiles to amortise U (four times the weights). Its error is some four times a direct
// convolution's (see ir/winograd.cpp). Tiles that overhang the image repeat its last input row or column and drop the
// outputs.
#include "ir/winograd.h"

#include <algorithm>

#include "ir/error.h"
#include "ir/layout.h"
#include "passes/lower/contraction_form.h"
#include "passes/lower/convolution.h"
#include "passes/lower/register_tile.h"
#include "passes/lower/winograd_transform.h"

namespace lapidary::lowering {

using namespace loops;

namespace {

constexpr int kOutputs = 4, kInputs = kOutputs + 2, kPoints = kInputs * kInputs;
constexpr int kUnroll = 8;
constexpr int kStripPanels = 2;
constexpr int kLeastTiles = 16, kLeastChannels = 32;

class WinogradLowering {
 public:
  WinogradLowering(Context& context, const Op& group, const ConvForm& form)
      : module_(context.module),
        dims_(module_.dims),
        target_(context.target()),
        group_(group),
        form_(form),
        conv_(*form.conv),
        builder_(module_, target_, "conv", "winograd F(4,3)"),
        emit_(builder_, group),
        lanes_(target_.f32_lanes()),
        matrices_(winograd_matrices(kOutputs, 3)) {
    input_ = group.operand(conv_.operand(0)->index);
    const Shape& out = conv_.type().shape;
    height_ = *lapidary::value_of(out[2]);
    width_ = *lapidary::value_of(out[3]);
    tile_columns_ = (width_ + kOutputs - 1) / kOutputs;
    tiles_ = tile_columns_ * ((height_ + kOutputs - 1) / kOutputs);
    channels_ = (*lapidary::value_of(form.channels) + kPanel - 1) / kPanel * kPanel;
    outputs_ = *lapidary::value_of(form.outputs);
    panels_ = (outputs_ + kPanel - 1) / kPanel;
    row_stride_ = channels_ + kPanel;  // of V: no power of two
  }

  LoweredGroup lower() {
    int most_rows = max_rows(target_, strip_panels());
    int64_t fitting = target_.l2_bytes * 3 / 5 / (kPoints * row_stride_ * 4) / most_rows * most_rows;
    int64_t block_tiles = std::clamp<int64_t>(fitting, most_rows, 4 * most_rows);
    RowSplit blocks = split_rows(dims_, dims_.constant(tiles_), static_cast<int>(block_tiles));
    int64_t block_count = *lapidary::value_of(blocks.tiles), largest = (tiles_ + block_count - 1) / block_count;
    int64_t strips = (panels_ + strip_panels() - 1) / strip_panels();
    int64_t groups = std::min(strips, std::max<int64_t>(1, (8 + block_count - 1) / block_count));
    int64_t group_strips = (strips + groups - 1) / groups;
    groups = (strips + group_strips - 1) / group_strips;

    v_ = builder_.stage("v", DType::F32, dims_.constant(kPoints * largest * row_stride_));
    m_ = builder_.stage("m", DType::F32, dims_.constant(kPoints * largest * kStripPanels * kPanel));
    t_ = builder_.stage("t", DType::F32, dims_.constant(kPoints * kPanel));
    x_ = builder_.operand(input_);
    u_ = builder_.weight(module_.constants.transformed(
        *form_.weight, {.kind = Transform::Kind::Winograd, .shape = {kOutputs, kPanel}, .block = kPanel}));
    block_tiles_ = largest;

    Dim batch_extent = conv_.type().shape[0];
    std::vector<Expr> axes = builder_.split_task({batch_extent, dims_.constant(block_count), dims_.constant(groups)});
    batch_ = axes[0];
    Block& body = builder_.body;
    Expr height = builder_.literal(blocks.height), longer = builder_.literal(blocks.longer);
    first_ = body.let("first", add(mul(axes[1], height), min(axes[1], longer)));
    count_ = body.let("count", add(height, select(less(axes[1], longer), integer(1), integer(0))));
    inputs(body);
    Expr first_strip = body.let("first_strip", mul(axes[2], integer(group_strips)));
    Expr last_strip = body.let("last_strip", min(add(first_strip, integer(group_strips)), integer(strips)));
    serial(body, "strip", first_strip, last_strip, 1, [&](Block& block, Expr strip) {
      int rest = static_cast<int>(panels_ % strip_panels());
      if (!rest) return this->strip(block, strip, strip_panels());
      Block whole, last;
      this->strip(whole, strip, strip_panels());
      this->strip(last, strip, rest);
      block.add(if_then(less(strip, integer(strips - 1)), whole.take(), last.take()));
    });
    LoweredStep step = single_step(
        builder_.finish(dims_.product(std::vector<Dim>{batch_extent, dims_.constant(block_count * groups)})));
    step.flops = dims_.mul(batch_extent,
                           dims_.constant(2 * 9 * height_ * width_ * *lapidary::value_of(form_.channels) * outputs_));
    LoweredGroup result;
    result.steps.push_back(std::move(step));
    return result;
  }

 private:
  int strip_panels() const { return lanes_ < kPanel ? 1 : static_cast<int>(std::min<int64_t>(kStripPanels, panels_)); }
  // The m buffer's row: a strip's columns.
  int64_t strip_columns() const { return int64_t{strip_panels()} * kPanel; }

  struct TilePlace {
    Expr row, column;
  };  // in output pixels
  TilePlace place(Block& block, Expr tile) {
    Expr index = block.let("index", add(first_, tile));
    return {block.let("oh", mul(floordiv(index, integer(tile_columns_)), integer(kOutputs))),
            block.let("ow", mul(mod(index, integer(tile_columns_)), integer(kOutputs)))};
  }

  // V = Bᵀ d B of every tile and channel of the block.
  void inputs(Block& body) {
    std::vector<PhysicalAxis> axes = physical_axes(dims_, input_->type);
    Dim strides[4] = {};
    int64_t halo[4] = {}, extents[4] = {};
    for (const PhysicalAxis& axis : axes) {
      if (axis.inner) continue;
      strides[axis.axis] = axis.stride;
      halo[axis.axis] = axis.halo_lo;
      extents[axis.axis] = lapidary::value_of(axis.extent).value_or(0);
    }
    int64_t pad_row = *lapidary::value_of(form_.pads[0]), pad_column = *lapidary::value_of(form_.pads[1]);
    serial(body, "tile", integer(0), count_, 1, [&](Block& tile_block, Expr tile) {
      TilePlace where = place(tile_block, tile);
      std::vector<Expr> rows, columns;
      for (int i = 0; i < kInputs; ++i) {
        Expr row = min(add(where.row, integer(i + halo[2] - pad_row)), integer(extents[2] - 1));
        Expr column = min(add(where.column, integer(i + halo[3] - pad_column)), integer(extents[3] - 1));
        rows.push_back(tile_block.let("r", mul(row, builder_.literal(strides[2]))));
        columns.push_back(tile_block.let("q", mul(column, builder_.literal(strides[3]))));
      }
      Buffer column_offsets = tile_block.local("columns", {}, kInputs);
      for (int i = 0; i < kInputs; ++i) tile_block.add(loops::store(column_offsets, integer(i), columns[i]));
      serial(tile_block, "c", integer(0), integer(channels_), lanes_, [&](Block& block, Expr c) {
        Expr base = block.let(
            "x", add(mul(batch_, builder_.parameter(strides[0])),
                     add(mul(floordiv(c, integer(kPanel)), builder_.parameter(strides[1])), mod(c, integer(kPanel)))));
        serial(block, "j", integer(0), integer(kInputs), 1, [&](Block& inner, Expr j) {
          Expr at_column = inner.let("xc", add(base, load(column_offsets, j)));
          std::vector<Expr> d;
          for (int i = 0; i < kInputs; ++i) d.push_back(inner.let("d", load(x_, add(at_column, rows[i]), lanes_)));
          std::vector<Expr> turned = winograd_inputs(inner, matrices_.bt, d);
          for (int i = 0; i < kInputs; ++i) {
            inner.add(
                loops::store(t_, add(integer(int64_t{i} * kInputs * kPanel), mul(j, integer(kPanel))), turned[i]));
          }
        });
        serial(block, "i", integer(0), integer(kInputs), 1, [&](Block& inner, Expr i) {
          std::vector<Expr> d;
          for (int j = 0; j < kInputs; ++j)
            d.push_back(inner.let("d", load(t_, add(mul(i, integer(kInputs * kPanel)), integer(j * kPanel)), lanes_)));
          std::vector<Expr> turned = winograd_inputs(inner, matrices_.bt, d);
          for (int j = 0; j < kInputs; ++j) {
            Expr point = add(mul(i, integer(kInputs)), integer(j));
            Expr at = add(mul(add(mul(point, integer(block_tiles_)), tile), integer(row_stride_)), c);
            inner.add(loops::store(v_, at, turned[j]));
          }
        });
      });
    });
  }

  void strip(Block& block, Expr strip, int panels) {
    products(block, strip, panels);
    outputs(block, strip, panels);
  }

  // M[point] = V[point] · U[point] for the strip's columns.
  void products(Block& block, Expr strip, int panels) {
    int most = max_rows(target_, strip_panels());
    Expr row_tiles = block.let("row_tiles", floordiv(add(count_, integer(most - 1)), integer(most)));
    Expr height = block.let("height", floordiv(count_, row_tiles)),
         longer = block.let("longer", mod(count_, row_tiles));
    RowSplit split;
    for (int64_t count : {tiles_ / ((tiles_ + block_tiles_ - 1) / block_tiles_), block_tiles_}) {
      int64_t pieces = (count + most - 1) / most;
      for (int64_t rows : {count / pieces, (count + pieces - 1) / pieces})
        split.heights.push_back(static_cast<int>(rows));
    }
    std::sort(split.heights.begin(), split.heights.end(), std::greater<>());
    split.heights.erase(std::unique(split.heights.begin(), split.heights.end()), split.heights.end());
    serial(block, "point", integer(0), integer(kPoints), 1, [&](Block& point_block, Expr point) {
      Expr panel_size = integer(channels_ * kPanel);
      Expr u_base =
          point_block.let("u", mul(add(mul(point, integer(panels_)), mul(strip, integer(strip_panels()))), panel_size));
      serial(point_block, "tile", integer(0), row_tiles, 1, [&](Block& loop, Expr tile) {
        Expr rows = loop.let("rows", add(height, select(less(tile, longer), integer(1), integer(0))));
        Expr first = loop.let("row", add(mul(tile, height), min(tile, longer)));
        for_height(loop, split, rows, first, [&](Block& inner, int count, Expr row) {
          Expr tile_row = inner.let("tile_row", add(mul(point, integer(block_tiles_)), row));
          TileShape shape{.rows = count, .panels = panels, .lanes = lanes_};
          if (count * shape.vectors() < 8) shape.phases = 2;
          RegisterTile registers(inner, shape);
          Expr v_base = inner.let("v", mul(tile_row, integer(row_stride_)));
          RegisterTile::Operands operands{
              v_, u_, [=, this](Expr i, Expr k) { return add(v_base, add(mul(i, integer(row_stride_)), k)); },
              [=, this](Expr j, Expr k) { return add(u_base, panel_element(j, k, lanes_, panel_size)); }};
          registers.multiply(inner, operands, integer(channels_), kUnroll);
          registers.join_phases(inner);
          registers.for_each(inner, [&](Block& store_block, Expr i, Expr j, Expr value) {
            Expr at = add(mul(add(tile_row, i), integer(strip_columns())), mul(j, integer(lanes_)));
            store_block.add(loops::store(m_, at, value));
          });
        });
      });
    });
  }

  // y = Aᵀ M A of every tile, 16 channels at a time, into the epilogue.
  void outputs(Block& block, Expr strip, int panels) {
    bool ragged = outputs_ % kPanel != 0;
    serial(block, "tile", integer(0), count_, 1, [&](Block& tile_block, Expr tile) {
      TilePlace where = place(tile_block, tile);
      serial(tile_block, "o", integer(0), integer(int64_t{panels} * kPanel), lanes_, [&](Block& inner, Expr o) {
        Expr base = inner.let("m", add(mul(tile, integer(strip_columns())), o));
        serial(inner, "j", integer(0), integer(kInputs), 1, [&](Block& column, Expr j) {
          std::vector<Expr> m;
          for (int i = 0; i < kInputs; ++i) {
            Expr point = add(integer(int64_t{i} * kInputs), j);
            m.push_back(
                column.let("m", load(m_, add(base, mul(point, integer(block_tiles_ * strip_columns()))), lanes_)));
          }
          std::vector<Expr> turned = winograd_outputs(column, matrices_.at, m);
          for (int i = 0; i < kOutputs; ++i) {
            column.add(
                loops::store(t_, add(integer(int64_t{i} * kInputs * kPanel), mul(j, integer(kPanel))), turned[i]));
          }
        });
        Expr channel = inner.let("channel", add(mul(strip, integer(strip_columns())), o));
        Expr mask = ragged ? inner.let("mask", first_lanes(sub(integer(outputs_), channel), lanes_)) : nullptr;
        auto row_of_outputs = [&](Block& row, Expr i) {
          std::vector<Expr> m;
          for (int j = 0; j < kInputs; ++j)
            m.push_back(row.let("m", load(t_, add(mul(i, integer(kInputs * kPanel)), integer(j * kPanel)), lanes_)));
          std::vector<Expr> turned = winograd_outputs(row, matrices_.at, m);
          for (int j = 0; j < kOutputs; ++j) {
            Block kept;
            store(kept, channel, mask, add(where.row, i), add(where.column, integer(j)), turned[j]);
            if (width_ % kOutputs == 0) {
              for (Stmt& statement : kept.take()) row.add(std::move(statement));
            } else {
              row.add(if_then(less(add(where.column, integer(j)), integer(width_)), kept.take()));
            }
          }
        };
        Expr rows = height_ % kOutputs == 0
                        ? integer(kOutputs)
                        : inner.let("rows", min(integer(kOutputs), sub(integer(height_), where.row)));
        serial(inner, "i", integer(0), rows, 1, row_of_outputs);
      });
    });
  }

  void store(Block& block, Expr channel, Expr mask, Expr row, Expr column, Expr value) {
    GroupEmitter::Scope scope(emit_, block);
    if (conv_.operands.size() > 2) value = add(value, emit_.value(conv_.operand(2), {{along(channel)}, lanes_, mask}));
    emit_.store_results(conv_.result(), {{at(batch_), along(channel), at(row), at(column)}, lanes_, mask}, value);
  }

  Module& module_;
  DimPool& dims_;
  const Target& target_;
  const Op& group_;
  const ConvForm& form_;
  const Op& conv_;
  KernelBuilder builder_;
  GroupEmitter emit_;
  int lanes_;
  const WinogradMatrices& matrices_;
  const Value* input_;
  int64_t height_, width_, tile_columns_, tiles_, channels_, outputs_, panels_, row_stride_, block_tiles_ = 0;
  Buffer v_, m_, t_, x_, u_;
  Expr batch_, first_, count_;
};

}  // namespace

bool winograd_pays(const ConvForm& form) {
  const Shape& out = form.conv->type().shape;
  auto all = [](const std::vector<int64_t>& values, int64_t value) {
    return std::all_of(values.begin(), values.end(), [&](int64_t v) { return v == value; });
  };
  if (form.transposed || form.group != 1 || form.spatial != 2 || !all(form.kernel, 3) || !all(form.strides, 1) ||
      !all(form.dilations, 1))
    return false;
  std::optional<int64_t> height = lapidary::value_of(out[2]), width = lapidary::value_of(out[3]);
  if (!height || !width) return false;
  int64_t tiles = ((*height + kOutputs - 1) / kOutputs) * ((*width + kOutputs - 1) / kOutputs);
  return tiles >= kLeastTiles && *lapidary::value_of(form.channels) >= kLeastChannels &&
         *lapidary::value_of(form.outputs) >= kLeastChannels;
}

LoweredGroup lower_winograd(Context& context, const Op& group, const ConvForm& form) {
  return WinogradLowering(context, group, form).lower();
}

}  // namespace lapidary::lowering
