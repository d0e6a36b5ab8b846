// What a row keeps in registers from one pass over it to the next.
#pragma once

#include <vector>

#include "passes/lower/reduction_plan.h"

namespace lapidary::lowering::gpu {

struct HeldValues {
  std::vector<std::vector<const Value*>> computed;  // by pass, in order of definition; the last pass computes none
  int bits = 0, shared_bits = 0;  // for each element: of those alive at once; of what all rows share and load early
};

// Values of the full space that a pass needs and an earlier one has computed: the latest on the way to what it wants,
// so that nothing is computed twice. Softmax: x of its maximum for the sum, exp(x - m) of the sum for the quotient.
HeldValues held_values(const Op& group, const ReductionPlan&);

}  // namespace lapidary::lowering::gpu
