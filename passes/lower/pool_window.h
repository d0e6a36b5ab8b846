// The windows of pools along one spatial axis, and what of them lies inside the image.
#pragma once

#include <vector>

#include "passes/lower/kernel_builder.h"

namespace lapidary::lowering {

struct PoolWindow {
  Dim extent, out, pad, pad_hi;
  int64_t kernel, stride, dilation;
  int64_t reach() const { return (kernel - 1) * dilation; }
};

// One for each spatial axis of an op with a pool's parameters between images of these shapes.
std::vector<PoolWindow> pool_windows(const Op&, const Shape& image, const Shape& pooled);

// The taps that fall inside the input: [begin, end).
struct Clip {
  loops::Expr begin, end, position, padded;
};  // padded: taps inside the padded input
Clip clip(Block&, KernelBuilder&, const PoolWindow&, loops::Expr out);

// Output pixels [first, last) whose windows lie inside, when there are enough for `tile` of them; else none.
struct Inside {
  Dim first, last, tiles;
};
Inside inside_of(DimPool&, const PoolWindow&, int64_t tile);
Inside tiles_between(DimPool&, Dim first, Dim last, Dim none, int64_t tile);  // `none`: both where there are too few

}  // namespace lapidary::lowering
