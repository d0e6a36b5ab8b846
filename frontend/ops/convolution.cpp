// Conv and ConvTranspose, and what ONNX Runtime fuses with a convolution.
#include <algorithm>

#include "frontend/ops/windows.h"

namespace lapidary::frontend {
namespace {

using Values = std::vector<Value*>;
constexpr int64_t kMostGroups = INT64_C(1) << 20, kMostChannels = INT64_C(1) << 40;

struct Operands {
  Value *x, *w, *bias;
  int64_t group;
  Shape spatial;
  std::vector<int64_t> kernel;
};

int64_t known(Dim extent, const char* what) {
  std::optional<int64_t> value = value_of(extent);
  if (!value) unsupported("{} known only at run time", what);
  if (*value > kMostChannels) fail("{}: {} exceeds {}", what, *value, kMostChannels);
  return *value;
}

Operands operands_of(Node& node, Value* x, Value* w, Value* bias) {
  Operands o{x, w, bias, node.integer("group"), {}, {}};
  int rank = o.x->type.rank();
  if (rank < 3) fail("input has rank {}, expected 3 or more", rank);
  if (o.w->type.rank() != rank) fail("weight has rank {}, expected {}", o.w->type.rank(), rank);
  if (o.group < 1) fail("group must be 1 or more, got {}", o.group);
  if (o.group > kMostGroups) fail("group {} exceeds {}", o.group, kMostGroups);
  o.spatial.assign(o.x->type.shape.begin() + 2, o.x->type.shape.end());
  for (int i = 2; i < rank; ++i) o.kernel.push_back(known(o.w->type.shape[i], "a kernel"));
  for (int64_t extent : o.kernel) {
    if (extent < 1) fail("kernel has extent {}", extent);
  }
  return o;
}

void check_bias(const Operands& o, int64_t channels) {
  if (!o.bias) return;
  if (o.bias->type.rank() != 1) fail("bias has rank {}, expected 1", o.bias->type.rank());
  std::optional<int64_t> extent = value_of(o.bias->type.shape[0]);
  if (extent && *extent != channels) fail("bias has {} elements, expected {}", *extent, channels);
}

Values conv(Node& node) { return {convolved(node, node.input(0), node.input(1), node.input(2))}; }

// Behind the convolution: + Z, and the activation.
Value* finished(Node& node, Value* y, Value* z) {
  if (z && z->type.rank() != y->type.rank()) fail("Z has rank {}, expected {}", z->type.rank(), y->type.rank());
  return activated(node, z ? node.build.add(y, z) : y);
}

Values fused_conv(Node& node) {
  return {finished(node, convolved(node, node.input(0), node.input(1), node.input(2)), node.input(3))};
}

Values nhwc_conv(Node& node) {
  const int rank = node.rank();
  if (rank < 3) fail("input has rank {}, expected 3 or more", rank);
  std::vector<int64_t> to_front = axes_from(0, rank), to_back = to_front;
  std::rotate(to_front.begin() + 1, to_front.end() - 1, to_front.end());
  std::rotate(to_back.begin() + 1, to_back.begin() + 2, to_back.end());
  Value* y = node.build.transpose(
      convolved(node, node.build.transpose(node.input(0), to_front), node.input(1), node.input(2)), to_back);
  return {finished(node, y, node.input(3))};
}

// Without output_shape: (d - 1)·stride + output_padding + reach - pads. With it, or SAME: the pads that give it. An
// output_shape beyond what the windows reach is filled with zeros at the end, as ONNX Runtime and ONNX's node tests
// have it: the pads at the end are negative then.
void pad_for_output(Node& node, const Operands& o, Windows& w, const std::vector<int64_t>& output_padding) {
  DimPool& dims = node.dims();
  std::string mode = node.text("auto_pad");
  bool same = mode == "SAME_UPPER" || mode == "SAME_LOWER";
  if (!same && !node.has("output_shape")) return;
  std::vector<int64_t> wanted =
      node.has("output_shape") ? positive_list(node, "output_shape", w.rank(), 1) : std::vector<int64_t>();
  for (int i = 0; i < w.rank(); ++i) {
    Dim stride = dims.constant(w.strides[i]), one = dims.constant(1);
    Dim output = wanted.empty() ? dims.mul(o.spatial[i], stride) : dims.constant(wanted[i]);
    Dim full = dims.add(dims.mul(dims.sub(o.spatial[i], one), stride),
                        dims.constant(output_padding[i] + (w.kernel[i] - 1) * w.dilations[i] + 1));
    Dim total = dims.sub(full, output);
    Dim cut = dims.max(dims.constant(0), total), half = dims.floordiv(cut, dims.constant(2));
    w.pads[i] = mode == "SAME_UPPER" ? half : dims.sub(cut, half);
    w.pads[i + w.rank()] = dims.sub(wanted.empty() ? cut : total, w.pads[i]);
  }
}

Values conv_transpose(Node& node) {
  Operands o = operands_of(node, node.input(0), node.input(1), node.input(2));
  int64_t inputs = known(o.w->type.shape[0], "input channels"),
          outputs = known(o.w->type.shape[1], "output channels") * o.group;
  std::optional<int64_t> channels = value_of(o.x->type.shape[1]);
  if (channels && *channels != inputs) fail("input has {} channels, weight wants {}", *channels, inputs);
  if (inputs % o.group != 0) fail("{} input channels are not a multiple of group {}", inputs, o.group);
  check_bias(o, outputs);
  Windows w = windows_of(node, o.kernel, o.spatial);
  std::vector<int64_t> output_padding =
      node.has("output_padding") ? node.integers("output_padding") : std::vector<int64_t>(w.rank(), 0);
  if (static_cast<int>(output_padding.size()) != w.rank())
    fail("output_padding has {}, expected {}", counted(static_cast<int64_t>(output_padding.size()), "element"),
         w.rank());
  for (int i = 0; i < w.rank(); ++i) {
    if (output_padding[i] < 0 || output_padding[i] >= std::max(w.strides[i], w.dilations[i]))
      fail("output_padding {} must be below stride {} or dilation {}", output_padding[i], w.strides[i], w.dilations[i]);
  }
  pad_for_output(node, o, w, output_padding);
  std::vector<Value*> operands = {o.x, o.w};
  if (o.bias) operands.push_back(o.bias);
  return {node.build
              .create(OpKind::ConvTranspose, operands,
                      {{"group", o.group},
                       {"strides", w.strides},
                       {"dilations", w.dilations},
                       {"pads", w.pads},
                       {"output_padding", output_padding}})
              .result()};
}

#define CONV_ATTRIBUTES \
  "group = 1, auto_pad = \"NOTSET\", pads?: ints, strides?: ints, dilations?: ints, kernel_shape?: ints"

constexpr OpEntry kOps[] = {
    {"Conv", conv},
    {"ConvTranspose", conv_transpose},
    {"FusedConv", fused_conv,
     "X: T, W: T, B?: T, Z?: T -> Y: T | " CONV_ATTRIBUTES
     ", activation?: str, activation_params?: floats | T = f16 f32 f64"},
    {"NhwcConv", nhwc_conv, "X: T, W: T, B?: T -> Y: T | " CONV_ATTRIBUTES " | T = f16 f32 f64"},
    {"NhwcFusedConv", nhwc_conv,
     "X: T, W: T, B?: T, Z?: T -> Y: T | " CONV_ATTRIBUTES
     ", activation?: str, activation_params?: floats | T = f16 f32"},
};

#undef CONV_ATTRIBUTES

}  // namespace

Value* convolved(Node& node, Value* x, Value* w, Value* bias) {
  Operands o = operands_of(node, x, w, bias);
  int64_t outputs = known(o.w->type.shape[0], "output channels"), inputs = known(o.w->type.shape[1], "input channels");
  std::optional<int64_t> channels = value_of(o.x->type.shape[1]);
  if (channels && *channels != inputs * o.group)
    fail("input has {}, weight and group {} want {}", counted(*channels, "channel"), o.group, inputs * o.group);
  if (outputs % o.group != 0) fail("{} output channels are not a multiple of group {}", outputs, o.group);
  check_bias(o, outputs);
  Windows windows = windows_of(node, o.kernel, o.spatial);
  for (int i = 0; i < windows.rank(); ++i) window_count(node, windows, i, o.spatial[i], false);  // complains
  return node.build.conv(o.x, o.w, o.bias, o.group, windows.strides, windows.dilations, windows.pads);
}

std::span<const OpEntry> convolution_ops() { return kOps; }

}  // namespace lapidary::frontend
