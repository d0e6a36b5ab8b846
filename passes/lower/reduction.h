// What the reductions of a CPU and of a GPU share.
#pragma once

#include "passes/lower/family.h"
#include "passes/lower/iteration_space.h"
#include "passes/lower/reduction_plan.h"

namespace lapidary::lowering {

// The loops over the full space, reduced and kept axes apart.
IterationSpace reduction_space(Context&, const Op& group, const ReductionPlan&);

}  // namespace lapidary::lowering
