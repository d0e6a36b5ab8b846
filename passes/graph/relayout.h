// A copy of a value in another layout, as a group of its own: what stands between a producer and a reader that want
// different ones.
#pragma once

#include "ir/graph.h"

namespace lapidary::passes {

// Inserted before `before`, in the region where `value` is defined. `type` is the value's own but for the layout.
Op& relayout_group(Module&, Value* value, const Type& type, std::list<Op>::iterator before, Origin);
// The same of a dense value as it is.
Op& copy_group(Module&, Value* value, std::list<Op>::iterator before, Origin);

}  // namespace lapidary::passes
