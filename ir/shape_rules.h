// How extents must fit each other. A fit that is provable costs nothing, one that can never hold throws
// Error{Fault::Input}, and what only run time can tell is left behind as a Check of the module.
#pragma once

#include "ir/graph.h"

namespace lapidary {

// Both extents must be the same number; `what` names them in the message: "the contracted extents".
void require_equal(Module&, Dim, Dim, std::string_view what);

// The extent two axes broadcast to: equal ones stay, 1 gives way. Of two unknown ones the result is
// select(a == 1, b, a), with a check that they are equal or one of them is 1.
Dim broadcast_extent(Module&, Dim, Dim);
Shape broadcast_shapes(Module&, const Shape&, const Shape&);  // trailing axes aligned

// `extent` must be 1 or `result`; the results of broadcast_extent are known to fit what they were made of.
void require_broadcasts(Module&, Dim extent, Dim result);

std::vector<int64_t> all_axes(const Value*);  // 0 … rank - 1

std::string to_string(const Shape&);  // "[N, 3]"
std::optional<std::vector<int64_t>> constant_extents(const Shape&);

}  // namespace lapidary
