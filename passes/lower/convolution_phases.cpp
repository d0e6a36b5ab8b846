// The phases of a convolution: of one that is not transposed there is one along each axis; of a transposed one of
// stride s, output pixels oh ≡ p (mod s) see the taps k with k · dilation ≡ p + pad (mod s), and each p is a
// convolution of stride 1 whose results land s apart.
//
//   3 taps, stride 2, pad 1:   y[2q] = x[q] · w[1]     y[2q + 1] = x[q] · w[2] + x[q + 1] · w[0]
#include "passes/lower/convolution.h"

namespace lapidary::lowering {

std::vector<ConvPhase> conv_phases(DimPool& dims, const ConvForm& form, int axis, Dim out_extent) {
  int64_t stride = form.strides[axis], dilation = form.dilations[axis], pad = *lapidary::value_of(form.pads[axis]);
  std::vector<ConvPhase> phases;
  if (!form.transposed) {
    return {ConvPhase{
        .stride = stride, .taps = form.kernel[axis], .offset = -pad, .offset_step = dilation, .count = out_extent}};
  }
  for (int64_t start = 0; start < stride; ++start) {  // oh + pad = ih · stride + k · dilation
    ConvPhase phase{
        .start = start,
        .step = stride,
        .taps = 0,
        .count = dims.floordiv(dims.sub(dims.add(out_extent, dims.constant(stride - 1)), dims.constant(start)),
                               dims.constant(stride))};
    for (int64_t k = form.kernel[axis] - 1; k >= 0; --k) {  // in the order of the input's pixels
      int64_t position = start + pad - k * dilation;
      if (position % stride != 0) continue;
      if (phase.taps++ == 0) {
        phase.index = k;
        phase.offset = position / stride;
      } else if (phase.taps == 2) {
        phase.index_step = k - phase.index;
        phase.offset_step = position / stride - phase.offset;
      }
    }
    phases.push_back(phase);
  }
  return phases;
}

std::vector<ConvPhase> row_phases(DimPool& dims, const ConvForm& form, const Shape& out) {
  if (form.spatial == 1) return {ConvPhase{.count = dims.constant(1)}};
  return conv_phases(dims, form, 0, out[2]);
}

std::vector<ConvPhase> pixel_phases(DimPool& dims, const ConvForm& form, const Shape& out) {
  return conv_phases(dims, form, form.spatial - 1, out.back());
}

}  // namespace lapidary::lowering
