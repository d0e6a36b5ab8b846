// The gradient of a convolution by its weight as register-tiled products whose depth is the pixels of all images:
//
//   dw[o][c][tap] = Σ over images n and output pixels p of   x[n][c][p · stride + tap · dilation - pad] · dy[n][o][p]
//
// Rows of a tile are input channels of one tap, broadcast; columns are two blocks of 16 output channels. A step of the
// depth is an output pixel: with x and dy in channel blocks, as the forward and the backward convolution read them, its
// channels lie side by side, and the next pixel's a constant further. So nothing is moved before. A first layer's few
// channels lie apart (x dense with a halo): there the rows are the taps of one channel, a row or all of them.
//
// A task owns all taps of one strip of outputs and one block of channels (four where there is one tap). It walks the
// pixels in bands whose x and dy stay in the first cache while every tap meets them, and adds each band's tiles to its
// sums, [panel][channel · taps + tap][16]; at the end they are turned to the order of the weight, 16 by 16 in
// registers.
//
// Groups that share blocks are computed together, products between them too, and each output takes its own group's.
//
// Where there are few such tasks the pixels are cut into parts, of which another step adds the sums up, first to last.
// Into how many depends on shapes alone: threads never change bits. Depthwise ones: filter_gradient_depthwise.cpp.
#include <fmt/format.h>

#include <algorithm>

#include "ir/layout.h"
#include "passes/lower/convolution.h"
#include "passes/lower/coords.h"
#include "passes/lower/register_tile.h"
#include "passes/lower/transpose_tile.h"
#include "passes/lower/work.h"

namespace lapidary::lowering {

using namespace loops;

namespace {

constexpr int64_t kEnoughTasks = 16;   // below these, pixels are cut into parts, so many tasks as twice that
constexpr int64_t kLeastPixels = 128;  // of a band: what adding a tile to its sums is worth
constexpr int64_t kBlocksOfOneTap = 4;

struct Lowering {
  Context& context;
  const Op& group;
  ConvForm form;  // whose groups are those of tiles: whole blocks, of one or more of the convolution's
  int64_t own_channels, own_outputs;  // of a group of the convolution
  const Value *x, *dy;                // the group's operands
  bool blocked;                       // x
  int strip_panels = 1;
  int64_t strips = 1, taps = 1;
  int64_t blocks = 1;       // of a group's channels; of a first layer 1
  int64_t task_blocks = 1;  // of a task
  Dim rows = nullptr;       // of all images
  Dim parts = nullptr;

  DimPool& dims() const { return context.module.dims; }
  int lanes() const { return context.target().f32_lanes(); }
  int64_t channels() const { return form.group_channels(); }
  int64_t outputs() const { return *lapidary::value_of(form.outputs); }
  int64_t panels() const { return ceil_div(outputs(), kPanel); }
  int64_t block_groups() const { return ceil_div(blocks, task_blocks); }
  // Rows of the sums of a task, in whole vectors of rows.
  int64_t sum_rows() const {
    return ceil_div(blocked ? task_blocks * kPanel * taps : channels() * taps, kPanel) * kPanel;
  }
  int64_t sums() const { return sum_rows() * strip_panels * kPanel; }
  bool is_merged() const { return own_outputs != form.group_outputs(); }
  bool in_parts() const { return lapidary::value_of(parts) != 1; }
  int64_t kernel_rows() const { return form.spatial == 2 ? form.kernel[0] : 1; }
  Dim out_rows() const { return form.spatial == 2 ? dy->type.shape[2] : dims().constant(1); }
  Dim out_pixels() const { return dy->type.shape.back(); }
};

// Stores `values`, neighbouring sums of one output from number `at` of its line on. Of groups that were computed
// together the output takes those of its own.
void store_line(const Lowering& l, KernelBuilder& builder, Block& block, Expr output, Expr at, Expr values) {
  const int lanes = l.lanes();
  Expr line = builder.parameter(builder.dim(l.own_channels * l.taps)), place = std::move(at), in_front;
  if (l.is_merged()) {
    Expr group = floordiv(output, builder.divisor(builder.dim(l.own_outputs)));
    Expr of_tile = mod(group, builder.divisor(builder.dim(l.form.group_outputs() / l.own_outputs)));
    place = block.let("place", sub(place, mul(of_tile, line)));
    in_front = first_lanes(sub(integer(0), place), lanes);
  }
  Expr left = block.let("left", sub(line, place)), mask = first_lanes(left, lanes), stored = less(integer(0), left);
  if (in_front) {
    mask = both(mask, apply(ScalarOp::Not, {in_front}));
    stored = both(stored, less(integer(-lanes), place));
  }
  if (l.outputs() % kPanel != 0) stored = both(stored, less(output, builder.parameter(l.form.outputs)));
  Block inside;
  inside.add(loops::store(builder.result(l.group.result()), add(mul(output, line), place), std::move(values), mask));
  block.add(if_then(stored, inside.take()));
}

// Stores `rows`, sums of `lanes` neighbouring rows from `row` on, as vectors of outputs from `output` on.
void store_turned(const Lowering& l, KernelBuilder& builder, Block& block, std::vector<Expr> rows, Expr output,
                  Expr first_channel, Expr row) {
  const std::vector<Expr> turned = transposed(block, std::move(rows));
  Expr at = block.let("at", add(mul(first_channel, builder.parameter(builder.dim(l.taps))), row));
  for (int lane = 0; lane < l.lanes(); ++lane)
    store_line(l, builder, block, block.let("o", add(output, integer(lane))), at, turned[static_cast<size_t>(lane)]);
}

class Body {
 public:
  Body(Lowering& l, KernelBuilder& builder)
      : l_(l),
        builder_(builder),
        lanes_(l.lanes()),
        x_strides_(image_strides(l.dims(), l.x->type)),
        dy_strides_(image_strides(l.dims(), l.dy->type)),
        x_(builder.operand(l.x)),
        dy_(builder.operand(l.dy)),
        x_row_(builder.parameter(x_strides_.row)),
        pixel_(l.blocked ? kPanel : 1) {}

  void emit() {
    DimPool& dims = l_.dims();
    const std::vector<Expr> axes =
        builder_.split_task({l_.parts, dims.constant(l_.strips), dims.constant(l_.block_groups())});
    part_ = axes[0];
    strip_ = axes[1];
    block_group_ = axes[2];
    Block& body = builder_.body;
    Expr rows = builder_.parameter(l_.rows), parts = builder_.divisor(l_.parts);
    first_ = body.let("first", floordiv(mul(part_, rows), parts));
    last_ = body.let("last", floordiv(mul(add(part_, integer(1)), rows), parts));
    if (l_.in_parts()) {
      sums_ = builder_.scratch(0, DType::F32, true, true);
      Expr task = add(mul(add(mul(part_, builder_.parameter(dims.constant(l_.strips))), strip_),
                          builder_.parameter(dims.constant(l_.block_groups()))),
                      block_group_);
      sums_base_ = body.let("sums", mul(task, builder_.parameter(dims.constant(l_.sums()))));
    } else {
      sums_ = builder_.stage("sums", DType::F32, dims.constant(l_.sums()));
      sums_base_ = integer(0);
    }
    serial(body, "i", integer(0), builder_.parameter(dims.constant(l_.sums())), lanes_,
           [&](Block& inner, Expr i) { inner.add(loops::store(sums_, add(sums_base_, i), real(0, lanes_))); });
    const int rest = static_cast<int>(l_.panels() % l_.strip_panels);
    if (!rest) return strip_of(body, l_.strip_panels);
    Block whole, last_strip;
    strip_of(whole, l_.strip_panels);
    strip_of(last_strip, rest);
    body.add(if_then(less(strip_, builder_.parameter(dims.constant(l_.strips - 1))), whole.take(), last_strip.take()));
  }

 private:
  void strip_of(Block& block, int panels) {
    Expr band = builder_.parameter(l_.dims().constant(band_rows()));
    Expr bands = block.let("bands", floordiv(add(sub(last_, first_), sub(band, integer(1))), band));
    serial(block, "band", integer(0), bands, 1, [&](Block& inner, Expr number) {
      Band rows;
      rows.first = inner.let("row", add(first_, mul(number, band)));
      rows.last = inner.let("end", min(add(rows.first, band), last_));
      Expr of_image = builder_.divisor(l_.out_rows());
      rows.first_image = inner.let("n0", floordiv(rows.first, of_image));
      rows.last_image = inner.let("n1", floordiv(add(rows.last, sub(of_image, integer(1))), of_image));
      if (l_.blocked)
        channel_blocks(inner, rows, panels);
      else
        single_channels(inner, rows, panels);
    });
    if (!l_.in_parts()) store_sums(block, panels);
  }

  // Output rows of all images, one after the other, and the images they are of.
  struct Band {
    Expr first, last, first_image, last_image;
  };

  int64_t band_rows() const {
    const auto guess = [](Dim dim) { return lapidary::value_of(dim).value_or(64); };
    const int64_t pixels = std::max<int64_t>(1, guess(l_.out_pixels())),
                  stride = l_.form.spatial == 2 ? l_.form.strides[0] : 1;
    const int64_t x_width = std::max<int64_t>(1, guess(l_.x->type.shape.back()));
    const int64_t x_bytes = stride * x_width * 4 * (l_.blocked ? kPanel * l_.task_blocks : l_.channels());
    const int64_t row_bytes = pixels * l_.strip_panels * kPanel * 4 + x_bytes;
    const int64_t fit = l_.context.target().l1_bytes * 3 / 4 / row_bytes;
    return std::max<int64_t>({1, fit, ceil_div(kLeastPixels, pixels)});
  }

  // The rows of a tile: the displacement of row i in x, its row of the sums, from those of the first.
  struct Rows {
    int count;
    std::function<Expr(Expr)> x;
    Expr x_first, sum_first;
    int64_t sum_step;
  };

  Expr pixel_of(int axis) const { return axis == l_.form.spatial - 1 ? integer(pixel_) : x_row_; }
  int64_t pad(int axis) const { return *lapidary::value_of(l_.form.pads[static_cast<size_t>(axis)]); }
  Expr origin() const {
    Expr pixel = integer((x_strides_.halo_pixel - pad(l_.form.spatial - 1)) * pixel_);
    if (l_.form.spatial == 1) return pixel;
    return add(mul(integer(x_strides_.halo_row - pad(0)), x_row_), pixel);
  }

  // body(x of the tap, number of the tap)
  void for_taps(Block& block, const std::function<void(Block&, Expr, Expr)>& body) {
    const int64_t width = l_.form.kernel.back();
    serial(block, "kh", integer(0), integer(l_.kernel_rows()), 1, [&](Block& row, Expr kh) {
      Expr x_row =
          l_.form.spatial == 2 ? row.let("xh", mul(mul(kh, integer(l_.form.dilations[0])), x_row_)) : integer(0);
      serial(row, "kw", integer(0), integer(width), 1, [&](Block& inner, Expr kw) {
        body(inner, inner.let("xt", add(x_row, mul(kw, integer(l_.form.dilations.back() * pixel_)))),
             inner.let("tap", add(mul(kh, integer(width)), kw)));
      });
    });
  }

  void channel_blocks(Block& block, const Band& band, int panels) {
    const RowSplit split = split_rows(l_.dims(), l_.dims().constant(kPanel), max_rows(l_.context.target(), panels));
    const int64_t tiles = *lapidary::value_of(split.tiles), height = *lapidary::value_of(split.height),
                  longer = *lapidary::value_of(split.longer);
    Expr first_block = block.let("block", mul(block_group_, integer(l_.task_blocks)));
    Expr end = block.let(
        "end", min(integer(l_.task_blocks), sub(builder_.parameter(l_.dims().constant(l_.blocks)), first_block)));
    if (l_.form.group > 1) {
      const int64_t strips = l_.strips / l_.form.group;
      Expr of_group = floordiv(strip_, builder_.divisor(l_.dims().constant(strips)));
      first_block =
          block.let("block", add(first_block, mul(of_group, builder_.parameter(l_.dims().constant(l_.blocks)))));
    }
    serial(block, "cb", integer(0), end, 1, [&](Block& channel, Expr c) {
      Expr x_block = channel.let("xc", add(origin(), mul(add(first_block, c), builder_.parameter(x_strides_.channel))));
      for_taps(channel, [&](Block& inner, Expr x_tap, Expr tap) {
        serial(inner, "tile", integer(0), integer(tiles), 1, [&](Block& loop, Expr tile) {
          Expr count =
              loop.let("count", add(integer(height), select(less(tile, integer(longer)), integer(1), integer(0))));
          Expr from = loop.let("from", add(mul(tile, integer(height)), min(tile, integer(longer))));
          for_height(loop, split, count, from, [&](Block& body, int rows, Expr first) {
            Expr sum = add(mul(add(mul(c, integer(kPanel)), first), integer(l_.taps)), tap);
            Rows of_tile{rows, [](Expr i) { return i; }, body.let("xf", add(add(x_block, x_tap), first)),
                         body.let("sf", sum), l_.taps};
            products(body, band, of_tile, panels);
          });
        });
      });
    });
  }

  // Taps of one channel at a time, whole rows of them.
  void single_channels(Block& block, const Band& band, int panels) {
    const int most = max_rows(l_.context.target(), panels);
    const int64_t width = l_.form.kernel.back(), taps_high = l_.kernel_rows();
    const int64_t high = std::clamp<int64_t>(most / width, 1, taps_high);  // rows of taps at once
    serial(block, "c", integer(0), builder_.parameter(l_.dims().constant(l_.channels())), 1,
           [&](Block& channel, Expr c) {
             Expr x_channel = channel.let("xc", add(origin(), mul(c, builder_.parameter(x_strides_.channel))));
             for (int64_t kh = 0; kh < taps_high; kh += high) {
               for (int64_t kw = 0; kw < width; kw += most) {
                 const int64_t wide = std::min<int64_t>(most, width - kw), count = std::min(high, taps_high - kh);
                 tap_rows(channel, band, panels, x_channel, c, {kh, kw, count, wide});
               }
             }
           });
  }

  struct TapRange {
    int64_t kh, kw, high, wide;
  };
  void tap_rows(Block& block, const Band& band, int panels, Expr x_channel, Expr c, const TapRange& taps) {
    Expr x_row = builder_.literal(x_strides_.row);
    const int64_t down = l_.form.spatial == 2 ? l_.form.dilations[0] : 1, right = l_.form.dilations.back();
    Expr first = add(mul(integer(taps.kh * down), x_row), integer(taps.kw * right));
    Expr sum = add(mul(c, integer(l_.taps)), integer(taps.kh * l_.form.kernel.back() + taps.kw));
    Rows rows{static_cast<int>(taps.high * taps.wide),
              [=](Expr i) {
                Expr kh = floordiv(i, integer(taps.wide)), kw = mod(i, integer(taps.wide));
                return add(mul(mul(kh, integer(down)), x_row), mul(kw, integer(right)));
              },
              block.let("xf", add(x_channel, first)), block.let("sf", sum), 1};
    products(block, band, rows, panels);
  }

  int unroll(int phases) const {
    const auto width = lapidary::value_of(l_.out_pixels());
    if (!width) return 4;
    for (int steps = 8; steps > 0; --steps)
      if (*width % steps == 0 && steps % phases == 0 && (steps >= 4 || steps == *width)) return steps;
    return 4;
  }

  // One tile over the band, added to its sums.
  void products(Block& block, const Band& band, const Rows& rows, int panels) {
    TileShape shape{.rows = rows.count, .panels = panels, .lanes = lanes_};
    shape.phases = phases_of(l_.context.target(), shape);
    RegisterTile tile(block, shape);
    Expr dy_strip = mul(mul(strip_, integer(l_.strip_panels)), builder_.parameter(dy_strides_.channel));
    Expr dy_origin = add(mul(integer(dy_strides_.halo_row), builder_.parameter(dy_strides_.row)),
                         integer(dy_strides_.halo_pixel * kPanel));
    Expr dy_first = block.let("dyf", add(dy_strip, dy_origin));
    Expr of_image = builder_.parameter(l_.out_rows());
    Expr panel_stride = builder_.parameter(dy_strides_.channel);
    const int64_t row_stride = l_.form.spatial == 2 ? l_.form.strides[0] : 1;
    const int64_t step = l_.form.strides.back() * pixel_;
    serial(block, "n", band.first_image, band.last_image, 1, [&](Block& image, Expr n) {
      Expr before = image.let("before", mul(n, of_image));
      Expr first = image.let("r0", max(sub(band.first, before), integer(0)));
      Expr last = image.let("r1", min(sub(band.last, before), of_image));
      Expr x_image = image.let("xn", add(rows.x_first, mul(n, builder_.parameter(x_strides_.batch))));
      Expr dy_image = image.let("dyn", add(dy_first, mul(n, builder_.parameter(dy_strides_.batch))));
      serial(image, "r", first, last, 1, [&](Block& body, Expr r) {
        Expr x_at = body.let("xr", add(x_image, mul(mul(r, integer(row_stride)), x_row_)));
        Expr dy_at = body.let("dyr", add(dy_image, mul(r, builder_.parameter(dy_strides_.row))));
        RegisterTile::Operands operands{
            x_, dy_, [=](Expr i, Expr k) { return add(add(x_at, rows.x(i)), mul(k, integer(step))); },
            [=, this](Expr j, Expr k) { return add(dy_at, panel_element(j, k, lanes_, panel_stride)); }};
        tile.multiply(body, operands, builder_.literal(l_.out_pixels()), unroll(shape.phases));
      });
    });
    tile.join_phases(block);
    Expr base = block.let("s", add(sums_base_, mul(rows.sum_first, integer(kPanel))));
    tile.for_each(block, [&](Block& inner, Expr i, Expr j, Expr value) {
      Expr at = add(base, add(panel_element(j, integer(0), lanes_, integer(l_.sum_rows() * kPanel)),
                              mul(i, integer(rows.sum_step * kPanel))));
      inner.add(loops::store(sums_, at, add(load(sums_, at, lanes_), value)));
    });
  }

  void store_sums(Block& block, int panels) {
    serial(block, "v", integer(0), integer(int64_t{panels} * kPanel / lanes_), 1, [&](Block& vector, Expr v) {
      serial(vector, "r", integer(0), integer(l_.sum_rows()), lanes_, [&](Block& inner, Expr r) {
        std::vector<Expr> rows;
        Expr from = inner.let("from", add(panel_element(v, integer(0), lanes_, integer(l_.sum_rows() * kPanel)),
                                          mul(r, integer(kPanel))));
        for (int i = 0; i < lanes_; ++i)
          rows.push_back(inner.let("s", load(sums_, add(from, integer(i * kPanel)), lanes_)));
        Expr output =
            inner.let("o", add(mul(strip_, integer(int64_t{l_.strip_panels} * kPanel)), mul(v, integer(lanes_))));
        store_turned(l_, builder_, inner, std::move(rows), output, mul(block_group_, integer(l_.task_blocks * kPanel)),
                     r);
      });
    });
  }

  Lowering& l_;
  KernelBuilder& builder_;
  const int lanes_;
  const ImageStrides x_strides_, dy_strides_;
  Buffer x_, dy_, sums_;
  Expr x_row_, part_, strip_, block_group_, first_, last_, sums_base_;
  const int64_t pixel_;  // from a pixel of x to the next
};

// Adds up the parts of 16 rows of sums and turns them.
LoweredStep join_parts(Lowering& l) {
  DimPool& dims = l.dims();
  const int lanes = l.lanes();
  KernelBuilder builder(l.context.module, l.context.target(), "filter_gradient", "sum of parts");
  const Dim strips = dims.constant(l.strips), groups = dims.constant(l.block_groups()),
            chunks = dims.constant(l.sum_rows() / kPanel);
  const std::vector<Expr> axes = builder.split_task({strips, groups, chunks});
  Buffer sums = builder.scratch(0, DType::F32, false);
  Block& body = builder.body;
  Expr each = builder.parameter(dims.constant(l.sums()));
  Expr first = body.let("first", add(mul(add(mul(axes[0], builder.parameter(groups)), axes[1]), each),
                                     mul(axes[2], integer(kPanel * kPanel))));
  Expr part_stride = mul(mul(builder.parameter(strips), builder.parameter(groups)), each);
  Expr vectors = integer(int64_t{l.strip_panels} * kPanel / lanes);
  if (l.panels() % l.strip_panels)  // which leaves the last strip one panel
    vectors = body.let("vectors", select(less(axes[0], builder.parameter(dims.constant(l.strips - 1))), vectors,
                                         integer(kPanel / lanes)));
  serial(body, "v", integer(0), vectors, 1, [&](Block& vector, Expr v) {
    serial(vector, "r", integer(0), integer(kPanel), lanes, [&](Block& inner, Expr r) {
      Expr panel = panel_element(v, integer(0), lanes, builder.parameter(dims.constant(l.sum_rows() * kPanel)));
      Expr from = inner.let("from", add(first, add(panel, mul(r, integer(kPanel)))));
      Buffer rows = inner.local("rows", {DType::F32, static_cast<uint16_t>(lanes)}, lanes);
      unrolled(inner, "i", lanes, [&](Block& row, Expr i) { row.add(loops::store(rows, i, real(0, lanes))); });
      serial(inner, "part", integer(0), builder.parameter(l.parts), 1, [&](Block& part, Expr p) {
        Expr at = part.let("at", add(from, mul(p, part_stride)));
        unrolled(part, "i", lanes, [&](Block& row, Expr i) {
          Expr more = load(sums, add(at, mul(i, integer(kPanel))), lanes);
          row.add(loops::store(rows, i, add(load(rows, i, lanes), more)));
        });
      });
      std::vector<Expr> loaded;
      for (int i = 0; i < lanes; ++i) loaded.push_back(inner.let("s", load(rows, integer(i), lanes)));
      Expr output =
          inner.let("o", add(mul(axes[0], integer(int64_t{l.strip_panels} * kPanel)), mul(v, integer(lanes))));
      store_turned(l, builder, inner, std::move(loaded), output, mul(axes[1], integer(l.task_blocks * kPanel)),
                   inner.let("row", add(mul(axes[2], integer(kPanel)), r)));
    });
  });
  LoweredStep step = single_step(builder.finish(dims.product(std::vector<Dim>{strips, groups, chunks})));
  step.flops = dims.constant(0);
  step.bytes = dims.mul(l.parts, dims.constant(l.strips * l.block_groups() * l.sums() * 4));
  return step;
}

ConvForm form_of(const Op& op) {
  ConvForm form;
  form.conv = &op;
  form.group = op.params.integer("group");
  form.spatial = op.operand(0)->type.rank() - 2;
  for (Dim extent : op.params.dims("kernel")) form.kernel.push_back(lapidary::value_of(extent).value_or(-1));
  form.strides = op.params.integers("strides");
  form.dilations = op.params.integers("dilations");
  form.pads = op.params.dims("pads");
  form.channels = op.operand(0)->type.shape[1];
  form.outputs = op.operand(1)->type.shape[1];
  return form;
}

constexpr int64_t kMostMerged = 32;  // of whose products one in as many is of use: still faster than plain loops

// How many groups make whole blocks of channels and of outputs, which tiles are of; 0: too many.
int64_t merged_groups(const ConvForm& form) {
  for (int64_t count = 1; count < form.group && count <= kMostMerged; ++count)
    if (form.group % count == 0 && count * form.group_channels() % kPanel == 0 &&
        count * form.group_outputs() % kPanel == 0)
      return count;
  return form.group <= kMostMerged ? form.group : 0;
}

bool is_depthwise(const ConvForm& form) {
  return form.group > 1 && form.group_channels() == 1 && form.group_outputs() == 1;
}

// Operands of the group in layouts the kernel reads.
bool takes(const Op& group, const ConvForm& form) {
  const Op& op = *form.conv;
  if (op.type().dtype != DType::F32 || form.spatial > 2 || op.operand(0)->producer || op.operand(1)->producer)
    return false;
  const auto halo = halo_read_by(op);
  if (!halo || !lapidary::value_of(form.channels) || !lapidary::value_of(form.outputs)) return false;
  if (group.results.size() != 1 || !group.result()->type.layout.dense() ||
      group.result()->type.shape != op.type().shape)
    return false;
  const Type &x = group.operand(op.operand(0)->index)->type, &dy = group.operand(op.operand(1)->index)->type;
  const auto in_blocks = [](const Type& type) {
    return type.layout.blocked_axis == 1 && type.layout.block == kPanel && !type.layout.last;
  };
  const bool single = x.layout.blocked_axis < 0 && form.group == 1;
  if (!in_blocks(dy) || !(in_blocks(x) || single)) return false;
  for (int axis = 2; axis < x.rank(); ++axis) {
    const Halo have = x.layout.halo_of(axis), want = (*halo)[static_cast<size_t>(axis)];
    if (have.lo < want.lo || have.hi < want.hi) return false;
    if (want != Halo{} && x.layout.fill != 0) return false;
  }
  return is_depthwise(form) || merged_groups(form) > 0;
}

Lowering plan(Context& context, const Op& group, ConvForm form) {
  const Op& op = *form.conv;
  Lowering l{.context = context,
             .group = group,
             .form = form,
             .own_channels = form.group_channels(),
             .own_outputs = form.group_outputs(),
             .x = group.operand(op.operand(0)->index),
             .dy = group.operand(op.operand(1)->index),
             .blocked = group.operand(op.operand(0)->index)->type.layout.blocked_axis == 1};
  DimPool& dims = l.dims();
  form.group /= merged_groups(form);
  l.form.group = form.group;
  for (int64_t extent : form.kernel) l.taps *= extent;
  const int64_t group_panels = ceil_div(form.group_outputs(), kPanel);
  if (l.lanes() == kPanel && group_panels > 1 && (form.group == 1 || group_panels % 2 == 0)) l.strip_panels = 2;
  l.strips = form.group == 1 ? ceil_div(l.panels(), l.strip_panels) : form.group * group_panels / l.strip_panels;
  if (l.blocked) l.blocks = ceil_div(l.channels(), kPanel);
  l.rows = dims.mul(op.operand(0)->type.shape[0], l.out_rows());
  if (l.blocked && l.taps == 1) {
    l.task_blocks = std::min(l.blocks, kBlocksOfOneTap);
    while (l.task_blocks > 1 && l.strips * l.block_groups() < kEnoughTasks) l.task_blocks /= 2;
  }
  const int64_t tasks = l.strips * l.block_groups();
  l.parts = dims.constant(1);
  if (tasks < kEnoughTasks) {
    const Dim most = dims.constant(ceil_div(2 * kEnoughTasks, tasks));
    const Dim worth = dims.floordiv(dims.mul(l.rows, l.out_pixels()), dims.constant(4 * kLeastPixels));
    l.parts = dims.max(dims.min(most, dims.min(worth, l.rows)), dims.constant(1));
  }
  return l;
}

}  // namespace

LoweredGroup lower_filter_gradient(Context& context, const Op& group) {
  const ConvForm form = form_of(anchor_of(group));
  if (!takes(group, form)) return lower_plain(context, group);
  if (is_depthwise(form)) return lower_depthwise_filter_gradient(context, group, form);
  Lowering l = plan(context, group, form);
  DimPool& dims = l.dims();
  const Dim tasks = dims.mul(l.parts, dims.constant(l.strips * l.block_groups()));
  KernelBuilder builder(context.module, context.target(), "filter_gradient",
                        fmt::format("tile={}x{}{}", l.blocked ? max_rows(context.target(), l.strip_panels) : l.taps,
                                    l.strip_panels * kPanel, l.blocked ? "" : " taps"));
  Body(l, builder).emit();
  LoweredGroup result;
  result.steps.push_back(single_step(builder.finish(tasks)));
  result.steps.back().flops = flops_of(context.module, *form.conv);
  if (l.in_parts()) {
    result.scratch.push_back(dims.mul(tasks, dims.constant(l.sums() * 4)));
    result.steps.push_back(join_parts(l));
  }
  return result;
}

}  // namespace lapidary::lowering
