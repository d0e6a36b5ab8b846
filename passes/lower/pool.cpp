// Pooling: 16 channels (or, in a dense layout, whatever axis is contiguous) along the lanes, one output pixel at a
// time; the window is clipped to the input, so no halo is needed and what lies outside never counts.
// max_pool: NaN wins (ONNX MaxPool-22); average_pool divides by the window's true size or, with include_pad, its size inside the
// padded input.
#include <algorithm>

#include "ir/error.h"
#include "passes/lower/convolution.h"
#include "passes/lower/group_emitter.h"
#include "passes/lower/register_tile.h"

namespace lapidary::lowering {

using namespace loops;

namespace {

// The taps of one spatial axis that fall inside the input: [begin, end).
struct Clip { Expr begin, end, position, padded; };   // padded: taps inside the padded input

Clip clip(Block& block, KernelBuilder& builder, Dim extent, Expr out, int64_t kernel, int64_t stride, int64_t dilation,
          Dim pad, Dim pad_hi) {
  Expr position = block.let("p", sub(mul(out, integer(stride)), builder.literal(pad)));
  Expr step = integer(dilation);
  // position + k · dilation in [0, extent)
  Expr begin = max(integer(0), floordiv(add(sub(integer(0), position), integer(dilation - 1)), step));
  Expr end = min(integer(kernel), floordiv(add(sub(builder.parameter(extent), position), integer(dilation - 1)), step));
  Expr padded_end = sub(add(builder.parameter(extent), builder.literal(pad_hi)), position);
  return {block.let("b", begin), block.let("e", end), position, min(integer(kernel), floordiv(add(padded_end, integer(dilation - 1)), step))};
}

}  // namespace

LoweredGroup lower_pool(Context& context, const Op& group) {
  Module& module = context.module;
  DimPool& dims = module.dims;
  const Op& pool = anchor_of(group);
  bool maximum = pool.is(OpKind::MaxPool);
  const Type& x = pool.operand(0)->type;
  int spatial = x.rank() - 2;
  bool known = lapidary::value_of(x.shape[1]).has_value();
  if (x.dtype != DType::F32 || spatial > 2 || !known) return lower_plain(context, group);

  const Shape& out = pool.type().shape;
  const std::vector<int64_t>&kernel = pool.params.integers("kernel"), &strides = pool.params.integers("strides"),
                            &dilations = pool.params.integers("dilations");
  const std::vector<Dim>& pads = pool.params.dims("pads");
  int lanes = context.target().f32_lanes();
  int64_t channels = *lapidary::value_of(x.shape[1]), blocks = (channels + lanes - 1) / lanes;
  Dim rows = spatial == 2 ? out[2] : dims.constant(1);

  KernelBuilder builder(module, context.target(), "pool", maximum ? "max" : "average");
  GroupEmitter emit(builder, group);
  std::vector<Expr> axes = builder.split_task({out[0], dims.constant(blocks), rows});
  Expr channel = builder.body.let("channel", mul(axes[1], integer(lanes)));
  Expr mask = channels % lanes ? first_lanes(sub(integer(channels), channel), lanes) : nullptr;
  Clip row = spatial == 2 ? clip(builder.body, builder, x.shape[2], axes[2], kernel[0], strides[0], dilations[0], pads[0], pads[2])
                          : Clip{integer(0), integer(1), integer(0), integer(1)};
  int last = spatial - 1;
  serial(builder.body, "pixel", integer(0), builder.parameter(out.back()), 1, [&](Block& block, Expr pixel) {
    Clip column = clip(block, builder, x.shape.back(), pixel, kernel[last], strides[last], dilations[last], pads[last], pads[spatial + last]);
    Buffer acc = block.local("acc", {DType::F32, static_cast<uint16_t>(lanes)}, 1);
    block.add(loops::store(acc, integer(0), real(maximum ? -INFINITY : 0.0f, lanes)));
    serial(block, "kh", row.begin, row.end, 1, [&](Block& taps, Expr kh) {
      serial(taps, "kw", column.begin, column.end, 1, [&](Block& tap, Expr kw) {
        GroupEmitter::Scope scope(emit, tap);
        Coords coords{{at(axes[0]), along(channel)}, lanes, mask};
        if (spatial == 2) coords.axes.push_back(at(add(row.position, mul(kh, integer(dilations[0])))));
        coords.axes.push_back(at(add(column.position, mul(kw, integer(dilations[last])))));
        Expr value = emit.value(pool.operand(0), coords), old = load(acc, integer(0), lanes);
        tap.add(loops::store(acc, integer(0), maximum ? max(old, value) : add(old, value)));
      });
    });
    GroupEmitter::Scope scope(emit, block);
    Expr value = load(acc, integer(0), lanes);
    if (!maximum) {
      Expr count = pool.params.integer("include_pad") ? mul(row.padded, column.padded) : mul(sub(row.end, row.begin), sub(column.end, column.begin));
      value = apply(ScalarOp::Div, {value, splat(convert(count, DType::F32), lanes)});
    }
    Coords coords{{at(axes[0]), along(channel)}, lanes, mask};
    if (spatial == 2) coords.axes.push_back(at(axes[2]));
    coords.axes.push_back(at(pixel));
    emit.store_results(pool.result(), coords, value);
  });
  LoweredGroup result;
  result.steps.push_back(single_step(builder.finish(dims.product(std::vector<Dim>{out[0], dims.constant(blocks), rows}))));
  return result;
}

}  // namespace lapidary::lowering
