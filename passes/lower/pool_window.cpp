#include "passes/lower/pool_window.h"

namespace lapidary::lowering {

using namespace loops;

std::vector<PoolWindow> pool_windows(const Op& op, const Shape& image, const Shape& pooled) {
  const std::vector<Dim>& pads = op.params.dims("pads");
  const size_t spatial = image.size() - 2;
  std::vector<PoolWindow> windows;
  for (size_t axis = 0; axis < spatial; ++axis)
    windows.push_back({image[2 + axis], pooled[2 + axis], pads[axis], pads[spatial + axis],
                       op.params.integers("kernel")[axis], op.params.integers("strides")[axis],
                       op.params.integers("dilations")[axis]});
  return windows;
}

Clip clip(Block& block, KernelBuilder& builder, const PoolWindow& window, Expr out) {
  Expr position = block.let("p", sub(mul(out, integer(window.stride)), builder.parameter(window.pad)));
  Expr step = integer(window.dilation), above = integer(window.dilation - 1), kernel = integer(window.kernel);
  // position + k · dilation in [0, extent)
  Expr begin = max(integer(0), floordiv(add(sub(integer(0), position), above), step));
  Expr end = min(kernel, floordiv(add(sub(builder.parameter(window.extent), position), above), step));
  Expr padded_end = sub(add(builder.parameter(window.extent), builder.parameter(window.pad_hi)), position);
  return {block.let("b", begin), block.let("e", end), position, min(kernel, floordiv(add(padded_end, above), step))};
}

Inside inside_of(DimPool& dims, const PoolWindow& window, int64_t tile) {
  Dim stride = dims.constant(window.stride), zero = dims.constant(0), one = dims.constant(1);
  Dim first = dims.ceildiv(dims.max(window.pad, zero), stride);
  Dim reached = dims.sub(dims.add(window.extent, window.pad), dims.constant(window.reach() + 1));
  Dim last = dims.min(dims.add(dims.floordiv(reached, stride), one), window.out);
  return tiles_between(dims, first, last, window.out, tile);
}

Inside tiles_between(DimPool& dims, Dim first, Dim last, Dim none, int64_t tile) {
  Dim count = dims.sub(last, first), enough = dims.less(dims.constant(tile - 1), count);
  return {dims.select(enough, first, none), dims.select(enough, last, none),
          dims.select(enough, dims.ceildiv(count, dims.constant(tile)), dims.constant(0))};
}

}  // namespace lapidary::lowering
