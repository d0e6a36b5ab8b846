// The gradient of a depthwise convolution by its weight: channels run along the lanes, each tap has an accumulator, and
// a tile of output pixels of one row meets the input columns under it, each of which is loaded once:
//
//   acc[kh][kw] += x[row + kh][i · stride + kw] · dy[i]        3×3, 8 pixels: 38 loads for 72 products
//
// Taps that do not fit the registers are taken in rows of them. A task is a vector of channels and a part of the output
// rows of all images; a second step adds the parts up, first to last. How many there are depends on shapes alone.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "passes/lower/convolution.h"
#include "passes/lower/group_emitter.h"
#include "passes/lower/register_tile.h"
#include "passes/lower/work.h"

namespace lapidary::lowering {

using namespace loops;

namespace {

constexpr int64_t kTasks = 32;
constexpr int64_t kLeastPixels = 1024;  // of a part

struct Lowering {
  Context& context;
  const Op& group;
  const ConvForm& form;
  const Value *x, *dy;
  int64_t taps, width, high;  // of the window: all, and of it a row and how many rows
  int64_t planes;             // vectors of channels
  Dim rows, out_rows, out_pixels, parts;
  int lanes() const { return context.target().f32_lanes(); }
  int pixels() const { return context.target().vector_registers >= 32 ? 8 : 4; }
  int64_t rows_at_once() const {
    const int64_t most = std::max<int64_t>(1, (context.target().vector_registers - pixels() - 2) / width);
    return ceil_div(high, ceil_div(high, most));
  }
};

class Body {
 public:
  Body(const Lowering& l, KernelBuilder& builder)
      : l_(l),
        builder_(builder),
        lanes_(l.lanes()),
        x_strides_(image_strides(builder.module.dims, l.x->type)),
        dy_strides_(image_strides(builder.module.dims, l.dy->type)),
        x_(builder.operand(l.x)),
        dy_(builder.operand(l.dy)),
        sums_(builder.scratch(0, DType::F32, true)) {}

  void emit() {
    DimPool& dims = builder_.module.dims;
    const std::vector<Expr> axes = builder_.split_task({l_.parts, dims.constant(l_.planes)});
    Block& body = builder_.body;
    Expr rows = builder_.parameter(l_.rows), parts = builder_.divisor(l_.parts);
    first_ = body.let("first", floordiv(mul(axes[0], rows), parts));
    last_ = body.let("last", floordiv(mul(add(axes[0], integer(1)), rows), parts));
    Expr of_image = builder_.divisor(l_.out_rows);
    first_image_ = body.let("n0", floordiv(first_, of_image));
    last_image_ = body.let("n1", floordiv(add(last_, sub(of_image, integer(1))), of_image));
    const int64_t in_block = kPanel / lanes_;
    Expr block = floordiv(axes[1], integer(in_block)), lane = mul(mod(axes[1], integer(in_block)), integer(lanes_));
    const bool is_plane = l_.form.spatial == 2;
    const int64_t pad = *lapidary::value_of(l_.form.pads[static_cast<size_t>(l_.form.spatial - 1)]);
    Expr x_row = is_plane ? mul(integer(x_strides_.halo_row - *lapidary::value_of(l_.form.pads[0])),
                                builder_.parameter(x_strides_.row))
                          : integer(0);
    x_first_ = body.let("x", add(add(mul(block, builder_.parameter(x_strides_.channel)), lane),
                                 add(x_row, integer((x_strides_.halo_pixel - pad) * kPanel))));
    dy_first_ = body.let("dy", add(add(mul(block, builder_.parameter(dy_strides_.channel)), lane),
                                   add(mul(integer(dy_strides_.halo_row), builder_.parameter(dy_strides_.row)),
                                       integer(dy_strides_.halo_pixel * kPanel))));
    Expr task = add(mul(axes[0], builder_.parameter(dims.constant(l_.planes))), axes[1]);
    sums_first_ = body.let("sums", mul(task, builder_.parameter(dims.constant(l_.taps * lanes_))));
    for (int64_t kh = 0; kh < l_.high; kh += l_.rows_at_once())
      rows_of_taps(body, kh, std::min(l_.rows_at_once(), l_.high - kh));
  }

 private:
  void rows_of_taps(Block& into, int64_t first_tap, int64_t high) {
    Block body;
    const int64_t count = high * l_.width;
    acc_ = body.local("acc", {DType::F32, static_cast<uint16_t>(lanes_)}, count);
    unrolled(body, "z", count, [&](Block& inner, Expr z) { inner.add(loops::store(acc_, z, real(0, lanes_))); });
    const bool is_plane = l_.form.spatial == 2;
    Expr of_image = builder_.parameter(l_.out_rows), x_row = builder_.parameter(x_strides_.row);
    const int64_t stride = is_plane ? l_.form.strides[0] : 1, dilation = is_plane ? l_.form.dilations[0] : 1;
    serial(body, "n", first_image_, last_image_, 1, [&](Block& image, Expr n) {
      Expr before = image.let("before", mul(n, of_image));
      Expr first = image.let("r0", max(sub(first_, before), integer(0)));
      Expr last = image.let("r1", min(sub(last_, before), of_image));
      Expr x_image = image.let("xn", add(x_first_, mul(n, builder_.parameter(x_strides_.batch))));
      Expr dy_image = image.let("dyn", add(dy_first_, mul(n, builder_.parameter(dy_strides_.batch))));
      serial(image, "r", first, last, 1, [&](Block& row, Expr r) {
        Expr y = add(mul(r, integer(stride)), integer(first_tap * dilation));
        Expr x_at = row.let("xr", add(x_image, mul(y, x_row)));
        Expr dy_at = row.let("dyr", add(dy_image, mul(r, builder_.parameter(dy_strides_.row))));
        std::vector<Expr> tap_rows;
        for (int64_t kh = 0; kh < high; ++kh)
          tap_rows.push_back(row.let("xh", add(x_at, mul(integer(kh * dilation), x_row))));
        pixels_of_row(row, tap_rows, dy_at);
      });
    });
    unrolled(body, "i", count, [&](Block& inner, Expr i) {
      Expr at = add(sums_first_, mul(add(i, integer(first_tap * l_.width)), integer(lanes_)));
      inner.add(loops::store(sums_, at, load(acc_, i, lanes_)));
    });
    into.add(loops::block(body.take()));
  }

  void pixels_of_row(Block& row, const std::vector<Expr>& tap_rows, Expr dy_row) {
    const int pixels = l_.pixels();
    Expr count = builder_.literal(l_.out_pixels), whole = mul(floordiv(count, integer(pixels)), integer(pixels));
    serial(row, "p", integer(0), whole, pixels,
           [&](Block& block, Expr pixel) { tile(block, tap_rows, dy_row, pixel, pixels); });
    serial(row, "p", whole, count, 1, [&](Block& block, Expr pixel) { tile(block, tap_rows, dy_row, pixel, 1); });
  }

  void tile(Block& block, const std::vector<Expr>& tap_rows, Expr dy_row, Expr pixel, int pixels) {
    const int64_t stride = l_.form.strides.back(), dilation = l_.form.dilations.back();
    std::vector<Expr> gradients;
    for (int i = 0; i < pixels; ++i)
      gradients.push_back(block.let("g", load(dy_, add(dy_row, mul(add(pixel, integer(i)), integer(kPanel))), lanes_)));
    std::map<int64_t, std::vector<std::pair<int, int64_t>>> readers;  // of columns: pixels and taps
    for (int i = 0; i < pixels; ++i)
      for (int64_t kw = 0; kw < l_.width; ++kw) readers[i * stride + kw * dilation].emplace_back(i, kw);
    for (size_t kh = 0; kh < tap_rows.size(); ++kh) {
      Expr from = add(tap_rows[kh], mul(pixel, integer(stride * kPanel)));
      for (const auto& [column, pairs] : readers) {
        Expr x = block.let("xv", load(x_, add(from, integer(column * kPanel)), lanes_));
        for (const auto& [i, kw] : pairs) {
          Expr slot = integer(static_cast<int64_t>(kh) * l_.width + kw);
          block.add(
              loops::store(acc_, slot, loops::fma(x, gradients[static_cast<size_t>(i)], load(acc_, slot, lanes_))));
        }
      }
    }
  }

  const Lowering& l_;
  KernelBuilder& builder_;
  const int lanes_;
  const ImageStrides x_strides_, dy_strides_;
  Buffer x_, dy_, sums_, acc_;
  Expr first_, last_, first_image_, last_image_, x_first_, dy_first_, sums_first_;
};

LoweredStep join_parts(const Lowering& l) {
  DimPool& dims = l.context.module.dims;
  const int lanes = l.lanes();
  KernelBuilder builder(l.context.module, l.context.target(), "filter_gradient", "sum of parts depthwise");
  GroupEmitter emit(builder, l.group);
  Buffer sums = builder.scratch(0, DType::F32, false);
  const std::vector<Expr> axes = builder.split_task({dims.constant(l.planes)});
  Expr each = builder.parameter(dims.constant(l.taps * lanes));
  Expr channel = builder.body.let("channel", mul(axes[0], integer(lanes)));
  Expr mask = first_lanes(sub(builder.parameter(l.form.channels), channel), lanes);
  Expr part_stride = mul(builder.parameter(dims.constant(l.planes)), each);
  serial(builder.body, "tap", integer(0), builder.parameter(dims.constant(l.taps)), 1, [&](Block& block, Expr tap) {
    Buffer sum = block.local("sum", {DType::F32, static_cast<uint16_t>(lanes)}, 1);
    block.add(loops::store(sum, integer(0), real(0, lanes)));
    Expr first = block.let("first", add(mul(axes[0], each), mul(tap, integer(lanes))));
    serial(block, "part", integer(0), builder.parameter(l.parts), 1, [&](Block& inner, Expr part) {
      Expr more = load(sums, add(first, mul(part, part_stride)), lanes);
      inner.add(loops::store(sum, integer(0), add(load(sum, integer(0), lanes), more)));
    });
    Coords coords{{along(channel), at(integer(0))}, lanes, mask};
    Expr by = builder.divisor(dims.constant(l.width));
    if (l.form.spatial == 2) coords.axes.push_back(at(block.let("kh", floordiv(tap, by))));
    coords.axes.push_back(at(block.let("kw", mod(tap, by))));
    GroupEmitter::Scope scope(emit, block);
    emit.store_results(l.form.conv->result(), coords, load(sum, integer(0), lanes));
  });
  LoweredStep step = single_step(builder.finish(dims.constant(l.planes)));
  step.flops = dims.constant(0);
  return step;
}

}  // namespace

LoweredGroup lower_depthwise_filter_gradient(Context& context, const Op& group, const ConvForm& form) {
  DimPool& dims = context.module.dims;
  const Op& op = *form.conv;
  const Value *x = group.operand(op.operand(0)->index), *dy = group.operand(op.operand(1)->index);
  Lowering l{.context = context,
             .group = group,
             .form = form,
             .x = x,
             .dy = dy,
             .taps = 1,
             .width = form.kernel.back(),
             .high = form.spatial == 2 ? form.kernel[0] : 1,
             .planes = ceil_div(*lapidary::value_of(form.channels), context.target().f32_lanes()),
             .out_rows = form.spatial == 2 ? dy->type.shape[2] : dims.constant(1),
             .out_pixels = dy->type.shape.back()};
  l.taps = l.width * l.high;
  if (l.width > context.target().vector_registers - l.pixels() - 2) return lower_plain(context, group);
  l.rows = dims.mul(dy->type.shape[0], l.out_rows);
  const Dim worth = dims.floordiv(dims.mul(l.rows, l.out_pixels), dims.constant(kLeastPixels));
  l.parts = dims.max(dims.min(dims.constant(ceil_div(kTasks, l.planes)), dims.min(worth, l.rows)), dims.constant(1));
  const Dim tasks = dims.mul(l.parts, dims.constant(l.planes));
  KernelBuilder builder(context.module, context.target(), "filter_gradient",
                        fmt::format("depthwise tile={}x{}", l.rows_at_once() * l.width, l.pixels()));
  Body(l, builder).emit();
  LoweredGroup result;
  result.steps.push_back(single_step(builder.finish(tasks)));
  result.steps.back().flops = flops_of(context.module, op);
  result.scratch.push_back(dims.mul(tasks, dims.constant(l.taps * l.lanes() * 4)));
  result.steps.push_back(join_parts(l));
  return result;
}

}  // namespace lapidary::lowering
