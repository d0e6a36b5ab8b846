// Gradients of convolutions and pooling.
#include "ir/differentiate.h"
#include "ir/error.h"

namespace lapidary {

namespace {

Shape spatial_of(const Shape& shape) { return {shape.begin() + 2, shape.end()}; }

std::vector<int64_t> all_but_channels(int rank) {
  std::vector<int64_t> axes = {0};
  for (int axis = 2; axis < rank; ++axis) axes.push_back(axis);
  return axes;
}

Params conv_params(const Op& op) {
  Params params;
  params.set("group", op.params.integer("group"));
  params.set("strides", op.params.integers("strides"));
  params.set("dilations", op.params.integers("dilations"));
  params.set("pads", op.params.dims("pads"));
  return params;
}

// What lies behind an axis's last element in the last of `positions` windows: at most the pads there, less where the
// windows leave elements over, more where they go beyond the pads.
Dim last_pad(GraphBuilder& b, const Op& op, size_t axis, Dim extent, Dim kernel, Dim positions) {
  DimPool& dims = b.module.dims;
  const auto before = [&](Dim count, int64_t step) { return dims.mul(dims.sub(count, b.dim(1)), b.dim(step)); };
  const Dim last = dims.add(before(positions, op.params.integers("strides")[axis]),
                            before(kernel, op.params.integers("dilations")[axis]));
  return dims.sub(dims.sub(dims.add(last, b.dim(1)), op.params.dims("pads")[axis]), extent);
}

// Widens the transposed convolution over windows' results so that it gives `in`, the extents the windows were taken of.
void give_back(GraphBuilder& b, const Op& op, const Shape& in, const Shape& kernel, const Shape& positions,
               Params& params) {
  std::vector<Dim> pads = op.params.dims("pads");
  std::vector<int64_t> widen(in.size(), 0);
  for (size_t axis = 0; axis < in.size(); ++axis) {
    Dim& behind = pads[in.size() + axis];
    const Dim last = last_pad(b, op, axis, in[axis], kernel[axis], positions[axis]);
    const auto left_over = value_of(b.module.dims.sub(behind, last));
    if (left_over && *left_over >= 0)
      widen[axis] = *left_over;
    else
      behind = last;
  }
  params.set("pads", pads);
  params.set("output_padding", widen);
}

void add_bias(Gradients& gradients, const Op& op, Value* g) {
  if (op.operands.size() > 2 && gradients.wants(op.operand(2)))
    gradients.add(op.operand(2), gradients.build.reduce(OpKind::ReduceSum, g, all_but_channels(g->type.rank())));
}

Value* filter_gradient(GraphBuilder& b, Params params, const Value* w, Value* x, Value* dy) {
  params.set("kernel", spatial_of(w->type.shape));
  return b.create(OpKind::ConvFilterGradient, {x, dy}, params).result();
}

// The transposed convolution of dy that gives x, which a convolution read with w, its gradient.
Value* image_gradient(GraphBuilder& b, const Op& op, const Value* x, Value* w, Value* dy) {
  Params params = conv_params(op);
  give_back(b, op, spatial_of(x->type.shape), spatial_of(w->type.shape), spatial_of(dy->type.shape), params);
  return b.create(OpKind::ConvTranspose, {dy, w}, params).result();
}

void conv(Gradients& gradients, const Op& op) {
  GraphBuilder& b = gradients.build;
  Value *x = op.operand(0), *w = op.operand(1), *g = gradients.of(op.result());
  if (gradients.wants(x)) gradients.add(x, image_gradient(b, op, x, w, g));
  if (gradients.wants(w)) gradients.add(w, filter_gradient(b, conv_params(op), w, x, g));
  add_bias(gradients, op, g);
}

// It is linear in the image and in the results' gradient; each is what the other's gradient is made with.
void conv_filter_gradient(Gradients& gradients, const Op& op) {
  GraphBuilder& b = gradients.build;
  Value *x = op.operand(0), *dy = op.operand(1), *g = gradients.of(op.result());
  if (gradients.wants(x)) gradients.add(x, image_gradient(b, op, x, g, dy));
  if (gradients.wants(dy)) gradients.add(dy, b.create(OpKind::Conv, {x, g}, conv_params(op)).result());
}

// The convolution of which a transposed one is the gradient: what it was widened by, it does not read.
Params transposed_params(GraphBuilder& b, const Op& op) {
  Params params = conv_params(op);
  std::vector<Dim> pads = op.params.dims("pads");
  const std::vector<int64_t>& widen = op.params.integers("output_padding");
  for (size_t axis = 0; axis < widen.size(); ++axis)
    if (widen[axis] >= op.params.integers("strides")[axis])
      pads[widen.size() + axis] = b.module.dims.sub(pads[widen.size() + axis], b.dim(widen[axis]));
  params.set("pads", pads);
  return params;
}

void conv_transpose(Gradients& gradients, const Op& op) {
  GraphBuilder& b = gradients.build;
  Value *x = op.operand(0), *w = op.operand(1), *g = gradients.of(op.result());
  const Params params = transposed_params(b, op);
  if (gradients.wants(x)) gradients.add(x, b.create(OpKind::Conv, {g, w}, params).result());
  if (gradients.wants(w)) gradients.add(w, filter_gradient(b, params, w, g, x));
  add_bias(gradients, op, g);
}

void max_pool(Gradients& gradients, const Op& op) {
  GraphBuilder& b = gradients.build;
  Value* x = op.operand(0);
  Value* tap = b.create(OpKind::MaxPoolTap, {x}, op.params).result();
  Params params = op.params;
  params.set("sizes", spatial_of(x->type.shape));
  gradients.add(x, b.create(OpKind::MaxPoolGradient, {gradients.of(op.result()), tap}, params).result());
}

// Do all windows average as many elements, whatever there is to read?
bool are_whole(GraphBuilder& b, const Op& op, const Shape& kernel) {
  const std::vector<Dim>& pads = op.params.dims("pads");
  const size_t spatial = kernel.size();
  for (size_t axis = 0; axis < spatial; ++axis) {
    const Dim extent = op.operand(0)->type.shape[2 + axis];
    const Dim last = last_pad(b, op, axis, extent, kernel[axis], op.params.dims("sizes")[axis]);
    if (range(b.module.dims.sub(last, pads[spatial + axis])).hi > 0) return false;
    if (op.params.integer("include_pad") == 0 && (value_of(pads[axis]) != 0 || value_of(pads[spatial + axis]) != 0))
      return false;
  }
  return true;
}

// How many elements each window averages, [1, 1, spatial…]: those within the input and, with the pads, within those
// too.
Value* window_sizes(GraphBuilder& b, const Op& op, DType dtype, const Shape& kernel) {
  DimPool& dims = b.module.dims;
  const size_t spatial = kernel.size();
  const bool include_pad = op.params.integer("include_pad") != 0;
  std::vector<Dim> pads = op.params.dims("pads");
  Shape counted = {b.dim(1), b.dim(1)}, taps = counted;
  for (size_t axis = 0; axis < spatial; ++axis) {
    const Dim extent = op.operand(0)->type.shape[2 + axis];
    const Dim last = last_pad(b, op, axis, extent, kernel[axis], op.params.dims("sizes")[axis]);
    const Dim behind = dims.max(pads[spatial + axis], last);
    const Dim padded = dims.add(extent, dims.add(pads[axis], pads[spatial + axis]));
    counted.push_back(include_pad ? padded : extent);
    taps.push_back(kernel[axis]);
    pads[spatial + axis] = include_pad ? dims.sub(behind, pads[spatial + axis]) : behind;
    if (include_pad) pads[axis] = b.dim(0);
  }
  return b.conv(b.splat(dtype, counted, 1), b.splat(dtype, taps, 1), nullptr, 1, op.params.integers("strides"),
                op.params.integers("dilations"), pads);
}

// Each element of a window gets its share of the window's gradient: a transposed convolution by ones, channel by
// channel; where only a run can tell how many those are, each channel is an image.
void average_pool(Gradients& gradients, const Op& op) {
  GraphBuilder& b = gradients.build;
  Value *x = op.operand(0), *g = gradients.of(op.result());
  const Shape in = x->type.shape;
  const auto channels = value_of(in[1]);
  Shape kernel;
  for (int64_t extent : op.params.integers("kernel")) kernel.push_back(b.dim(extent));
  const auto taps = static_cast<double>(*value_of(b.module.dims.product(kernel)));
  Value* share =
      are_whole(b, op, kernel) ? b.mul(g, b.like(g, 1 / taps)) : b.div(g, window_sizes(b, op, g->type.dtype, kernel));
  if (!channels) {
    Shape apart = share->type.shape;
    apart[0] = b.module.dims.mul(apart[0], apart[1]);
    apart[1] = b.dim(1);
    share = b.reshape(share, apart);
  }
  Shape ones = {b.dim(channels.value_or(1)), b.dim(1)};
  ones.insert(ones.end(), kernel.begin(), kernel.end());
  Params params;
  params.set("group", channels.value_or(1));
  params.set("strides", op.params.integers("strides"));
  params.set("dilations", op.params.integers("dilations"));
  give_back(b, op, spatial_of(in), kernel, spatial_of(g->type.shape), params);
  Value* spread = b.create(OpKind::ConvTranspose, {share, b.splat(g->type.dtype, ones, 1)}, params).result();
  gradients.add(x, b.reshape(spread, in));
}

}  // namespace

GradientRule window_rule(const Op& op) {
  switch (op.kind) {
    case OpKind::Conv:
      return op.params.has("to") ? nullptr : conv;
    case OpKind::ConvTranspose:
      return conv_transpose;
    case OpKind::ConvFilterGradient:
      return conv_filter_gradient;
    case OpKind::MaxPool:
      return max_pool;
    case OpKind::AveragePool:
      return average_pool;
    default:
      LPD_UNREACHABLE("{} is of another file", name_of(op.kind));
  }
}

}  // namespace lapidary
