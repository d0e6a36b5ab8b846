// What loops share with the operators on sequences.
#pragma once

#include "frontend/binding.h"

namespace lapidary::frontend {

// All parts, of a sequence that is not empty, along a new first axis; throws what needs it where their shapes differ.
Value* stack_of(GraphBuilder&, const Sequence&, const char* what);

}  // namespace lapidary::frontend
