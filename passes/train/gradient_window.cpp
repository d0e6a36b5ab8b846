// Gradients of convolutions and pooling.
#include "ir/error.h"
#include "passes/train/differentiate.h"

namespace lapidary::train {

namespace {

[[noreturn]] void unsupported(const GraphBuilder& b, const Op& op, std::string_view what) {
  throw Error(Fault::Unsupported, fmt::format("{}: the gradient of {}", b.module.describe(op.origin), what));
}

// What a transposed convolution must be widened by to give as many elements as the convolution took.
std::vector<int64_t> output_padding(const GraphBuilder& b, const Op& op, const Shape& in, const Shape& kernel) {
  const std::vector<int64_t>&strides = op.params.integers("strides"), &dilations = op.params.integers("dilations");
  const std::vector<Dim>& pads = op.params.dims("pads");
  std::vector<int64_t> widen;
  for (size_t i = 0; i < strides.size(); ++i) {
    if (strides[i] == 1) {
      widen.push_back(0);
      continue;
    }
    DimPool& dims = b.module.dims;
    const Dim window =
        dims.add(dims.mul(dims.sub(kernel[i], dims.constant(1)), dims.constant(dilations[i])), dims.constant(1));
    const Dim padded = dims.add(in[i], dims.add(pads[i], pads[strides.size() + i]));
    const auto left = value_of(dims.mod(dims.sub(padded, window), dims.constant(strides[i])));
    if (!left) unsupported(b, op, "a strided convolution over an extent that only a run can tell");
    widen.push_back(*left);
  }
  return widen;
}

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

void add_bias(Gradients& gradients, const Op& op, Value* g) {
  if (op.operands.size() > 2 && gradients.wants(op.operand(2)))
    gradients.add(op.operand(2), gradients.build.reduce(OpKind::ReduceSum, g, all_but_channels(g->type.rank())));
}

Value* filter_gradient(GraphBuilder& b, const Op& op, Value* x, Value* dy) {
  Params params = conv_params(op);
  params.set("kernel", spatial_of(op.operand(1)->type.shape));
  return b.create(OpKind::ConvFilterGradient, {x, dy}, params).result();
}

void conv(Gradients& gradients, const Op& op) {
  GraphBuilder& b = gradients.build;
  Value *x = op.operand(0), *w = op.operand(1), *g = gradients.of(op.result());
  if (gradients.wants(x)) {
    Params params = conv_params(op);
    params.set("output_padding", output_padding(b, op, spatial_of(x->type.shape), spatial_of(w->type.shape)));
    gradients.add(x, b.create(OpKind::ConvTranspose, {g, w}, params).result());
  }
  if (gradients.wants(w)) gradients.add(w, filter_gradient(b, op, x, g));
  add_bias(gradients, op, g);
}

// It is the gradient of a convolution, so that convolution gives its own.
void conv_transpose(Gradients& gradients, const Op& op) {
  GraphBuilder& b = gradients.build;
  Value *x = op.operand(0), *w = op.operand(1), *g = gradients.of(op.result());
  if (gradients.wants(x)) gradients.add(x, b.create(OpKind::Conv, {g, w}, conv_params(op)).result());
  if (gradients.wants(w)) gradients.add(w, filter_gradient(b, op, g, x));
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

// How many elements of the input each window averages: its size, or with the pads left out, less at the borders.
Value* window_sizes(GraphBuilder& b, const Op& op, DType dtype) {
  Value* ones = b.splat(dtype, op.operand(0)->type.shape, 1);
  double taps = 1;
  for (int64_t extent : op.params.integers("kernel")) taps *= static_cast<double>(extent);
  Params sums = op.params;
  sums.set("include_pad", int64_t{1});
  Value* share = b.create(OpKind::AveragePool, {ones}, sums).result();
  return b.mul(share, b.like(share, taps));
}

// Each element of a window gets its share of the window's gradient: a transposed convolution by ones, channel by
// channel.
void average_pool(Gradients& gradients, const Op& op) {
  GraphBuilder& b = gradients.build;
  Value *x = op.operand(0), *g = gradients.of(op.result());
  const auto channels = value_of(x->type.shape[1]);
  if (!channels) unsupported(b, op, "an average over windows of a number of channels that only a run can tell");
  const std::vector<int64_t>& kernel = op.params.integers("kernel");
  Shape ones = {b.dim(*channels), b.dim(1)}, taps;
  double count = 1;
  for (int64_t extent : kernel) {
    ones.push_back(b.dim(extent));
    taps.push_back(b.dim(extent));
    count *= static_cast<double>(extent);
  }
  const bool include_pad = op.params.integer("include_pad") != 0;
  Value* share = include_pad ? b.mul(g, b.like(g, 1 / count)) : b.div(g, window_sizes(b, op, g->type.dtype));
  Params params;
  params.set("group", *channels);
  params.set("strides", op.params.integers("strides"));
  params.set("dilations", op.params.integers("dilations"));
  params.set("pads", op.params.dims("pads"));
  params.set("output_padding", output_padding(b, op, spatial_of(x->type.shape), taps));
  gradients.add(x, b.create(OpKind::ConvTranspose, {share, b.splat(g->type.dtype, ones, 1)}, params).result());
}

}  // namespace

GradientRule window_rule(const Op& op) {
  switch (op.kind) {
    case OpKind::Conv:
      return op.params.has("to") ? nullptr : conv;
    case OpKind::ConvTranspose:
      return conv_transpose;
    case OpKind::MaxPool:
      return max_pool;
    case OpKind::AveragePool:
      return average_pool;
    default:
      return nullptr;
  }
}

}  // namespace lapidary::train
