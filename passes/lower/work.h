// What a group costs: floating-point operations and the bytes that must cross at least once, as formulas for reports;
// instructions, for schedules.
#pragma once

#include "ir/graph.h"

namespace lapidary::lowering {

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

Dim flops_of(Module&, const Op&);
Dim bytes_of(Module&, const Op& group);
// Vector instructions the ops of a region are, roughly; only those behind `after`, when it is given.
int vector_instructions(const Region&, const Op* after = nullptr);

}  // namespace lapidary::lowering
