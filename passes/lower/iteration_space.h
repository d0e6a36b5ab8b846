// The loops around one element of a result: its axes in the order they lie in memory, split as finely as the reshapes
// of the group want them, then walked as one wherever every access allows it.
//
// Example: y[B·S, 768] = x[B, S, 12, 64] + bias[768]. Splitting gives the axes B, S, 12, 64; x and y walk all four
// without a gap and bias walks the last two, so the loops are two: B·S and 768, and no index is ever divided.
// Cost: one dry run of the emitter for each split and one to collapse; microseconds.
#pragma once

#include <functional>
#include <vector>

#include "passes/lower/group_emitter.h"

namespace lapidary::lowering {

struct IterationSpace {
  // Axes from outer to inner. A collapsed axis is walked by the next one: its variable is 0 there.
  struct Axis {
    Dim extent;       // of the digit
    Dim loop_extent;  // of the loop; null: collapsed into the next axis
  };
  std::vector<Axis> axes;
  std::vector<std::vector<int>> digits;  // of each axis of the tensor, outermost first

  // The loops that are left.
  std::vector<int> loops() const;
  // Coordinates of the tensor when loop axis i stands at `index[i]` (one for each axis; null is 0); `lane_axis` runs
  // along the lanes, -1 for none.
  Coords coords(const std::vector<loops::Expr>& index, int lane_axis, int lanes) const;
};

// The physical axes of a tensor of this type, in memory order; extents of 1 are dropped.
IterationSpace space_of(DimPool&, const Type&);

// Splits and collapses. `visit` evaluates on a dry emitter what the kernel will evaluate, at the coordinates it is
// given. Axes of the tensor that are `reduced` and others are never collapsed into each other (reductions).
void fit_space(IterationSpace&, Module&, const Target&, const Op& group,
               const std::function<void(GroupEmitter&, const Coords&)>& visit, const std::vector<bool>& reduced = {});

// A guess at an extent: symbols are taken as 64.
int64_t guess(Dim);

}  // namespace lapidary::lowering
