// Result types of windows over spatial axes: convolutions and pooling. x is [N, C, spatial…].
#include "ir/infer.h"

namespace lapidary {

namespace {

// Parameters that have one entry for each spatial axis (pads: two).
void require_spatial(const Inference& op, int spatial) {
  auto count = static_cast<size_t>(spatial);
  op.require_length("strides", op.params.integers("strides").size(), count);
  op.require_length("dilations", op.params.integers("dilations").size(), count);
  op.require_length("pads", op.params.dims("pads").size(), 2 * count);
  for (const char* name : {"strides", "dilations"}) {
    for (int64_t value : op.params.integers(name)) {
      if (value < 1) op.fail("{} contain {}, expected at least 1", name, value);
    }
  }
}

int spatial_axes(const Inference& op) {
  int rank = op.type(0).rank();
  if (rank < 3) op.fail("the input has rank {}, expected at least 3", rank);
  return rank - 2;
}

void require_bias(const Inference& op, Dim channels, DType dtype) {
  if (op.operands.size() < 3) return;
  if (op.type(2).dtype != dtype) op.fail("the bias is {}, expected {}", name_of(op.type(2).dtype), name_of(dtype));
  if (op.type(2).rank() != 1) op.fail("the bias has rank {}, expected 1", op.type(2).rank());
  require_equal(op.module, op.shape(2)[0], channels, "bias length and output channels");
}

void require_equal_ranks(const Inference& op, std::string_view what) {
  if (op.type(1).rank() != op.type(0).rank()) {
    op.fail("{} has rank {}, expected {}", what, op.type(1).rank(), op.type(0).rank());
  }
}

void require_group(const Inference& op) {
  if (op.params.integer("group") < 1) op.fail("group is {}, expected at least 1", op.params.integer("group"));
}

void require_weight(const Inference& op) {
  require_equal_ranks(op, "weight");
  require_group(op);
}

void require_multiple(const Inference& op, Dim channels, Dim group, std::string_view what) {
  DimPool& dims = op.dims();
  Dim divides = dims.equal(dims.mod(channels, group), dims.constant(0));
  std::string message =
      fmt::format("{} {} are not a multiple of group {}", to_string(channels), what, to_string(group));
  if (value_of(divides) == 0) op.fail("{}", message);
  op.module.check(divides, message);
}

// The extent a window covers: (k - 1) · dilation + 1
Dim window_extent(const Inference& op, Dim kernel, int64_t dilation) {
  DimPool& dims = op.dims();
  return dims.add(dims.mul(dims.sub(kernel, dims.constant(1)), dims.constant(dilation)), dims.constant(1));
}

// floor((d + lo + hi - window) / stride) + 1
Dim window_count(const Inference& op, int axis, Dim padded, Dim window, int64_t stride) {
  DimPool& dims = op.dims();
  Dim fits = dims.sub(dims.constant(1), dims.less(padded, window));
  std::string message = fmt::format("spatial axis {}: a window of extent {} does not fit the padded extent {}", axis,
                                    to_string(window), to_string(padded));
  if (value_of(fits) == 0) op.fail("{}", message);
  op.module.check(fits, message);
  return dims.add(dims.floordiv(dims.sub(padded, window), dims.constant(stride)), dims.constant(1));
}

Dim padded_extent(const Inference& op, int axis, int spatial) {
  const std::vector<Dim>& pads = op.params.dims("pads");
  return op.dims().add(op.shape(0)[2 + axis], op.dims().add(pads[axis], pads[spatial + axis]));
}

}  // namespace

Type infer_conv(const Inference& op) {
  int spatial = spatial_axes(op);
  DType dtype = op.product_dtype();
  require_weight(op);
  require_spatial(op, spatial);
  DimPool& dims = op.dims();
  Dim group = dims.constant(op.params.integer("group"));
  Dim in = op.shape(0)[1], per_group = op.shape(1)[1], out = op.shape(1)[0];
  require_equal(op.module, in, dims.mul(per_group, group), "input channels and group times the weight's");
  require_multiple(op, out, group, "output channels");
  require_bias(op, out, dtype);
  Shape shape = {op.shape(0)[0], out};
  for (int i = 0; i < spatial; i++) {
    Dim window = window_extent(op, op.shape(1)[2 + i], op.params.integers("dilations")[i]);
    shape.push_back(window_count(op, i, padded_extent(op, i, spatial), window, op.params.integers("strides")[i]));
  }
  return Type::tensor(dtype, std::move(shape));
}

Type infer_conv_transpose(const Inference& op) {
  int spatial = spatial_axes(op);
  DType dtype = op.product_dtype();
  require_weight(op);
  require_spatial(op, spatial);
  const std::vector<int64_t>& widen = op.params.integers("output_padding");
  op.require_length("output_padding", widen.size(), static_cast<size_t>(spatial));
  DimPool& dims = op.dims();
  Dim group = dims.constant(op.params.integer("group"));
  Dim in = op.shape(0)[1], out = dims.mul(op.shape(1)[1], group);
  require_equal(op.module, in, op.shape(1)[0], "input channels and the weight's first extent");
  require_multiple(op, in, group, "input channels");
  require_bias(op, out, dtype);
  const std::vector<Dim>& pads = op.params.dims("pads");
  Shape shape = {op.shape(0)[0], out};
  for (int i = 0; i < spatial; i++) {
    // (d - 1) · stride + window + output_padding - lo - hi
    Dim last =
        dims.mul(dims.sub(op.shape(0)[2 + i], dims.constant(1)), dims.constant(op.params.integers("strides")[i]));
    Dim window = window_extent(op, op.shape(1)[2 + i], op.params.integers("dilations")[i]);
    Dim full = dims.add(last, dims.add(window, dims.constant(widen[i])));
    shape.push_back(dims.sub(full, dims.add(pads[i], pads[spatial + i])));
    if (range(shape.back()).hi < 0) op.fail("spatial axis {} has extent {}", i, to_string(shape.back()));
  }
  return Type::tensor(dtype, std::move(shape));
}

Type infer_conv_filter_gradient(const Inference& op) {
  int spatial = spatial_axes(op);
  DType dtype = op.product_dtype();
  require_equal_ranks(op, "the result's gradient");
  require_group(op);
  require_spatial(op, spatial);
  const std::vector<Dim>& kernel = op.params.dims("kernel");
  op.require_length("kernel", kernel.size(), static_cast<size_t>(spatial));
  DimPool& dims = op.dims();
  Dim group = dims.constant(op.params.integer("group"));
  Dim in = op.shape(0)[1], out = op.shape(1)[1];
  require_multiple(op, in, group, "input channels");
  require_multiple(op, out, group, "output channels");
  require_equal(op.module, op.shape(0)[0], op.shape(1)[0], "images and gradients of results");
  Shape shape = {out, dims.floordiv(in, group)};
  for (int i = 0; i < spatial; i++) {
    if (range(kernel[i]).hi < 1) op.fail("kernel contains {}, expected at least 1", to_string(kernel[i]));
    Dim window = window_extent(op, kernel[i], op.params.integers("dilations")[i]);
    Dim count = window_count(op, i, padded_extent(op, i, spatial), window, op.params.integers("strides")[i]);
    require_equal(op.module, op.shape(1)[2 + i], count, "the gradient's extents and the windows");
    shape.push_back(kernel[i]);
  }
  return Type::tensor(dtype, std::move(shape));
}

namespace {

void require_window(const Inference& op, int spatial) {
  require_spatial(op, spatial);
  op.require_length("kernel", op.params.integers("kernel").size(), static_cast<size_t>(spatial));
  op.require_length("sizes", op.params.dims("sizes").size(), static_cast<size_t>(spatial));
}

// [N, C, sizes…]
Type sized(const Inference& op, DType dtype) {
  Shape shape = {op.shape(0)[0], op.shape(0)[1]};
  for (Dim size : op.params.dims("sizes")) {
    if (range(size).hi < 0) op.fail("the result has a spatial extent of {}", to_string(size));
    shape.push_back(size);
  }
  return Type::tensor(dtype, std::move(shape));
}

DType tap_dtype(const Inference& op) {
  int64_t taps = 1;
  for (int64_t extent : op.params.integers("kernel")) {
    if (extent < 1) op.fail("kernel contains {}, expected at least 1", extent);
    if (__builtin_mul_overflow(taps, extent, &taps) || taps > INT32_MAX) op.fail("a window has too many taps");
  }
  return taps <= 256 ? DType::U8 : DType::I32;
}

}  // namespace

Type infer_pool(const Inference& op) {
  require_window(op, spatial_axes(op));
  if (!is_float(op.type(0).dtype) && !is_integer(op.type(0).dtype))
    op.fail("{} of {}", name_of(op.kind), name_of(op.type(0).dtype));
  return sized(op, op.type(0).dtype);
}

Type infer_max_pool_tap(const Inference& op) {
  infer_pool(op);
  return sized(op, tap_dtype(op));
}

Type infer_max_pool_gradient(const Inference& op) {
  require_window(op, spatial_axes(op));
  const DType dtype = op.type(0).dtype, taps = tap_dtype(op);
  if (!is_float(dtype)) op.fail("{} of {}", name_of(op.kind), name_of(dtype));
  if (op.type(1).dtype != taps) op.fail("the taps are {}, expected {}", name_of(op.type(1).dtype), name_of(taps));
  require_equal_ranks(op, "the tensor of taps");
  for (size_t axis = 0; axis < op.shape(0).size(); ++axis)
    require_equal(op.module, op.shape(1)[axis], op.shape(0)[axis], "extents of taps and gradients");
  return sized(op, dtype);
}

}  // namespace lapidary
