// Chains of shape ops seen as strides: transpose, reshape, slice and broadcast of a dense tensor often only change how
// one walks over its buffer. Example: [B·S, 768] reshape [B, S, 12, 64] transpose [0, 2, 1, 3] has strides
// {768·S, 64, 768, 1}. A reshape that merges axes which are not adjacent in memory has none. The rule is numpy's for
// reshaping without a copy, with Dims for extents. Test: test/passes/form_groups/contraction_views.graph.
#pragma once

#include <optional>
#include <vector>

#include "ir/graph.h"

namespace lapidary::passes {

// Element (i, j, …) of the viewed value is element offset + Σ index · stride of the dense buffer of `base`.
struct StridedView {
  Value* base = nullptr;
  Dim offset = nullptr;
  std::vector<Dim> strides;  // one for each axis of the viewed value; 0 where it repeats
};

// `value` as a view of the value `depth` shape ops before it; nothing when one of them is none, or has no strides.
std::optional<StridedView> strided_view(DimPool&, Value* value, int depth);
// The same when what is viewed is not dense itself, but walked by these strides.
std::optional<StridedView> strided_view(DimPool&, Value* value, int depth, std::vector<Dim> base_strides);

std::vector<Dim> dense_strides(DimPool&, const Shape&);

bool is_view_op(const Op&);  // transpose, reshape, slice, broadcast

}  // namespace lapidary::passes
