// A square tile of vectors turned in registers: n vectors of n lanes, log2(n) rounds of two-source shuffles.
#pragma once

#include <vector>

#include "passes/lower/kernel_builder.h"

namespace lapidary::lowering {

// result[c] lane r = rows[r] lane c; rows.size() is the number of lanes, a power of two.
std::vector<loops::Expr> transposed(Block&, std::vector<loops::Expr> rows);

}  // namespace lapidary::lowering
