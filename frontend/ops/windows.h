// Windows that slide over spatial axes: what convolutions and pooling have in common. Attributes kernel_shape,
// strides, dilations, pads and auto_pad, defaults filled in and checked.
#pragma once

#include "frontend/ops/common.h"

namespace lapidary::frontend {

struct Windows {
  std::vector<int64_t> kernel, strides, dilations;
  Shape pads;  // lo of each spatial axis, then hi of each
  int rank() const { return static_cast<int>(kernel.size()); }
};

// `kernel`: that of the weight, or empty to take the attribute. auto_pad SAME_* is resolved for the input's extents.
Windows windows_of(Node&, std::vector<int64_t> kernel, const Shape& spatial);

// Attributes of one positive number for each spatial axis, `otherwise` when absent.
std::vector<int64_t> positive_list(Node&, const char* name, int rank, int64_t otherwise);

// The number of windows along axis i of that extent.
Dim window_count(Node&, const Windows&, int axis, Dim extent, bool ceil);

// The convolution of x by w with the node's attributes, all checked; bias may be null.
Value* convolved(Node&, Value* x, Value* w, Value* bias);

// The average pool of x with the node's attributes.
Value* average_pooled(Node&, Value* x);

}  // namespace lapidary::frontend
