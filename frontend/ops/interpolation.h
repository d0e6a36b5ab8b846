// What operators that read between the elements of an axis have in common.
#pragma once

#include "frontend/ops/common.h"

namespace lapidary::frontend {

// The weight of a tap by its distance from the position, in the distance's type: max(0, 1 - |d|), and the cubic
// convolution of Keys (1981) with parameter a.
Value* linear_filter(GraphBuilder&, Value* distance);
Value* cubic_filter(GraphBuilder&, Value* distance, double a);

// The element of an axis that a tap reads: index i64[N, O] inside the axis, weight [N, O] or null (1).
struct Tap {
  Value *index, *weight;
};

// Σ over all combinations of one tap of each axis of x[n, c, taps…] · weights: x [N, C, spatial…] → [N, C, O].
Value* sampled(GraphBuilder&, Value* x, const std::vector<std::vector<Tap>>& axes);

}  // namespace lapidary::frontend
