// Addresses of laid-out tensors: how a Type's layout turns coordinates into element offsets of its buffer.
#pragma once

#include <optional>
#include <vector>

#include "ir/graph.h"

namespace lapidary {

// The physical axes of a type, outermost first: each an extent (halo and blocking included) and an element stride.
// A blocked axis appears twice: its blocks in place of the axis, or after all others if they come last, and the block
// itself as the last physical axis.
struct PhysicalAxis {
  int axis;    // logical axis
  bool inner;  // the block part of a blocked axis
  Dim extent, stride;
  int64_t halo_lo;  // coordinate 0 lies this many extents in
};
std::vector<PhysicalAxis> physical_axes(DimPool&, const Type&);
// What a convolution reads around its input, on the low and the high side of each axis; nothing when it is not known.
std::optional<std::vector<Halo>> halo_read_by(const Op& conv);
Dim physical_elements(DimPool&, const Type&);  // allocation size in elements
Dim physical_bytes(DimPool&, const Type&);
Dim element_count(DimPool&, const Type&);  // logical: product of the shape

}  // namespace lapidary
