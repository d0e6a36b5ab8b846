// Reductions of columns: those of which the innermost axis is kept.
#pragma once

#include "passes/lower/reduction.h"

namespace lapidary::lowering::gpu {

bool takes_columns(const ReductionPlan&, const IterationSpace&);
LoweredGroup lower_columns(Context&, const Op& group, const ReductionPlan&, const IterationSpace&);

}  // namespace lapidary::lowering::gpu
