// What a Conv or ConvTranspose op asks for, and the ways to lower it.
#pragma once

#include <optional>
#include <vector>

#include "passes/lower/family.h"

namespace lapidary::lowering {

struct ConvForm {
  const Op* conv = nullptr;
  bool transposed = false;
  int64_t group = 1;
  int spatial = 2;
  std::vector<int64_t> kernel, strides, dilations;
  std::vector<Dim> pads;  // lo of each spatial axis, then hi of each
  Dim channels = nullptr, outputs = nullptr;
  std::optional<ConstantId> weight;  // of a constant one, in ONNX's order

  int64_t group_channels() const { return *value_of(channels) / group; }  // where channels and outputs are known
  int64_t group_outputs() const { return *value_of(outputs) / group; }
};
ConvForm conv_form(Module&, const Op& group, const Op& conv);

// Strides of an image of one or two spatial axes in elements, and its halo.
struct ImageStrides {
  Dim batch, channel, row, pixel;  // channel: of a block when blocked, else of one channel
  int64_t halo_row = 0, halo_pixel = 0;
};
ImageStrides image_strides(DimPool&, const Type&);

// Output pixels oh = q · step + start see the input pixels q · stride + offset + t · offset_step through the kernel's
// taps index + t · index_step, for t < taps.
struct ConvPhase {
  int64_t start = 0, step = 1, stride = 1;
  int64_t taps = 1, index = 0, index_step = 1, offset = 0, offset_step = 1;
  Dim count = nullptr;  // of q
};
// Those of a spatial axis: one, or of a transposed convolution as many as its stride.
std::vector<ConvPhase> conv_phases(DimPool&, const ConvForm&, int axis, Dim out_extent);
std::vector<ConvPhase> row_phases(DimPool&, const ConvForm&, const Shape& out);  // of a line: one row
std::vector<ConvPhase> pixel_phases(DimPool&, const ConvForm&, const Shape& out);

LoweredGroup lower_direct_convolution(Context&, const Op& group, const ConvForm&);
bool winograd_pays(const ConvForm&);                                      // by its sizes
bool winograd_is_exact(Module&, const ConvForm&);                         // with its weights: see winograd_check.cpp
LoweredGroup lower_winograd(Context&, const Op& group, const ConvForm&);  // input in blocks, with a halo of its pads
struct WinogradAxis {
  int axis, taps;  // the spatial axis along which filters are cut into groups of this many taps
};
std::optional<WinogradAxis> winograd_axis(const Target&, const ConvForm&);  // the best, if it pays
bool winograd_is_exact(Module&, const ConvForm&, WinogradAxis);
LoweredGroup lower_winograd_axis(Context&, const Op& group, const ConvForm&, WinogradAxis);  // input as above
LoweredGroup lower_depthwise(Context&, const Op& group, const ConvForm&);  // groups of 1, 2, 4 or 8 channels
LoweredGroup lower_convolution(Context&, const Op& group);                 // the family: picks one of them
LoweredGroup lower_filter_gradient(Context&, const Op& group);
LoweredGroup lower_depthwise_filter_gradient(Context&, const Op& group, const ConvForm&);
LoweredGroup lower_pool(Context&, const Op& group);
LoweredGroup lower_pool_gradient(Context&, const Op& group);  // which taps max_pool took, and its gradient

}  // namespace lapidary::lowering
