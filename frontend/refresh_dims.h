// Writes every Dim of a module in its normal form again, by the facts known now. While a graph is built symbols only
// become narrower: where a position table of 512 rows is added to S of them, S is known to be at most 512, and what was
// written min(S, 512) before is S.
#pragma once

#include "ir/graph.h"

namespace lapidary::frontend {

void refresh_dims(Module&);

}  // namespace lapidary::frontend
