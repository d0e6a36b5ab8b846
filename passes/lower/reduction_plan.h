// What a group with reductions computes in which pass over the reduced axes.
//
// All reductions take values of one shape, the full space, and reduce the same axes. A reduction whose operand needs
// the result of another comes one pass later; a last pass writes the results of the full space.
// Example, softmax:  pass 0: m = max(x)   pass 1: s = Σ exp(x - m)   pass 2: y = exp(x - m) / s
// A value that is dear to compute and needed by a later pass again (the exp) is kept in a stage row.
#pragma once

#include <optional>
#include <vector>

#include "passes/lower/group_emitter.h"
#include "passes/lower/iteration_space.h"

namespace lapidary::lowering {

struct ReductionPlan {
  Type full;                  // its layout is the order of the walk
  std::vector<bool> reduced;  // by axis of `full`
  struct Pass {
    std::vector<const Op*> reductions;
    std::vector<const Value*> staged;  // computed here, used again later; in order of definition
  };
  std::vector<Pass> passes;
  std::vector<uint32_t> full_results, kept_results;  // of the group

  bool is_reduced(const IterationSpace&, int axis) const;  // an axis of the space
  Shape kept_shape() const;
  Coords kept(const Coords& full_coords) const;
};

// Nothing when the group's reductions do not share one space.
std::optional<ReductionPlan> plan_reductions(DimPool&, const Op& group);

// Coordinates of a yielded value, when `full` (kept: null) or `kept` are where the kernel stands.
Coords locate_result(GroupEmitter&, const ReductionPlan&, const Value* yielded, const Coords& coords, bool full);

// Stores result `index` of the group, which lies in the full space or the kept one, where the kernel stands.
void store_located(GroupEmitter&, const ReductionPlan&, uint32_t index, const Coords& coords, bool full);

// The value of a reduction, given what its elements combine to: a mean is divided, and all are rounded to their type.
loops::Expr finished_reduction(KernelBuilder&, const ReductionPlan&, const Op& reduction, loops::Expr total);

bool is_reduction_op(const Op&);

}  // namespace lapidary::lowering
