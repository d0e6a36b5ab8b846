// What operators that read between the elements of an axis have in common.
#pragma once

#include "frontend/ops/common.h"

namespace lapidary::frontend {

// The weight of a tap by its distance from the position, in the distance's type: max(0, 1 - |d|), and the cubic
// convolution of Keys (1981) with parameter a.
Value* linear_filter(GraphBuilder&, Value* distance);
Value* cubic_filter(GraphBuilder&, Value* distance, double a);

// A number of the model's shapes, and the comparisons and choices that positions are made of.
Value* number(GraphBuilder&, Dim, DType);
Value* less(GraphBuilder&, Value*, Value*);
Value* less_equal(GraphBuilder&, Value*, Value*);
Value* both(GraphBuilder&, Value*, Value*);
Value* least(GraphBuilder&, Value*, Value*);
Value* greatest(GraphBuilder&, Value*, Value*);
Value* floor(GraphBuilder&, Value*);

DType computed_type(DType);  // what positions and weights are computed in beside data of this type

// A position that holds a whole number: as an index inside of [0, extent), and whether it is one.
Value* index_inside(GraphBuilder&, Value* position, Dim extent);
Value* is_inside(GraphBuilder&, Value* position, Dim extent);

// The element of an axis that a tap reads: index i64[N, O] inside the axis, weight [N, O] or null (1).
struct Tap {
  Value *index, *weight;
};

// Σ over all combinations of one tap of each axis of x[n, c, taps…] · weights: x [N, C, spatial…] → [N, C, O].
Value* sampled(GraphBuilder&, Value* x, const std::vector<std::vector<Tap>>& axes);

}  // namespace lapidary::frontend
