// What a group costs, as formulas for reports: floating-point operations, and the bytes that must cross at least once.
#pragma once

#include "ir/graph.h"

namespace lapidary::lowering {

Dim flops_of(Module&, const Op&);
Dim bytes_of(Module&, const Op& group);

}  // namespace lapidary::lowering
