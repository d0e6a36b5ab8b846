#include "ir/layout.h"

#include <algorithm>

#include "ir/error.h"

namespace lapidary {

std::vector<PhysicalAxis> physical_axes(DimPool& dims, const Type& type) {
  const Layout& layout = type.layout;
  std::vector<PhysicalAxis> axes;
  const int leading_axis = layout.blocked_axis >= 0 ? layout.blocked_axis : type.rank() - 1;
  for (int axis = 0; axis < type.rank(); ++axis) {
    const bool wide = axis == leading_axis && layout.leading;
    Dim extent = wide ? layout.leading : type.shape[axis];
    if (axis == layout.blocked_axis) extent = dims.ceildiv(extent, dims.constant(layout.block));
    Halo halo = layout.halo_of(axis);
    if (!wide) extent = dims.add(extent, dims.constant(halo.lo + halo.hi));
    axes.push_back({axis, false, extent, nullptr, halo.lo});
  }
  if (layout.last) std::rotate(axes.begin() + layout.blocked_axis, axes.begin() + layout.blocked_axis + 1, axes.end());
  if (layout.blocked_axis >= 0) axes.push_back({layout.blocked_axis, true, dims.constant(layout.block), nullptr, 0});
  Dim stride = dims.constant(1);
  for (auto axis = axes.rbegin(); axis != axes.rend(); ++axis) {
    axis->stride = stride;
    stride = dims.mul(stride, axis->extent);
  }
  return axes;
}

// A transposed one's output o reads input (o + pad - k · dilation) / stride; o is at most (extent - 1) · stride - pads
// + dilation · (kernel - 1) + output_padding.
std::optional<std::vector<Halo>> halo_read_by(const Op& conv) {
  const int rank = conv.operand(0)->type.rank(), spatial = rank - 2;
  const std::vector<Dim>& pads = conv.params.dims("pads");
  std::vector<Halo> halo(static_cast<size_t>(rank));
  for (int axis = 0; axis < spatial; ++axis) {
    const auto at = static_cast<size_t>(axis);
    const auto lo = value_of(pads[at]), hi = value_of(pads[at + static_cast<size_t>(spatial)]);
    const auto kernel = value_of(conv.is(OpKind::ConvFilterGradient) ? conv.params.dims("kernel")[at]
                                                                     : conv.operand(1)->type.shape[at + 2]);
    if (!lo || !hi || !kernel) return std::nullopt;
    Halo& around = halo[at + 2];
    around = {*lo, *hi};
    if (conv.is(OpKind::ConvTranspose)) {
      const int64_t reach = (*kernel - 1) * conv.params.integers("dilations")[at],
                    stride = conv.params.integers("strides")[at];
      around = {(reach - *lo) / stride, (reach + conv.params.integers("output_padding")[at] - *hi) / stride};
    }
    around = {std::max<int64_t>(around.lo, 0), std::max<int64_t>(around.hi, 0)};
  }
  return halo;
}

Dim physical_elements(DimPool& dims, const Type& type) {
  Dim count = dims.constant(1);
  for (const PhysicalAxis& axis : physical_axes(dims, type)) count = dims.mul(count, axis.extent);
  return count;
}

Dim physical_bytes(DimPool& dims, const Type& type) {
  int bits = bit_width(type.dtype);
  LPD_CHECK(bits > 0, "{} has no width", name_of(type.dtype));
  Dim total = dims.mul(physical_elements(dims, type), dims.constant(bits));
  return dims.ceildiv(total, dims.constant(8));
}

Dim element_count(DimPool& dims, const Type& type) { return dims.product(type.shape); }

}  // namespace lapidary
