// Checks that a module is well formed; run after every pass. The contract is at the head of verifier.cpp.
#pragma once

#include "ir/graph.h"
#include "ir/loops.h"

namespace lapidary {

// One line for each violation, naming the op; empty when the module is well formed.
std::vector<std::string> verify(const Module&);
std::vector<std::string> verify(const loops::Kernel&);

}  // namespace lapidary
