// Which of a target's instruction sets a product asks a CPU for before it runs a kernel.
#pragma once

#include <string>
#include <vector>

#include "ir/target.h"

namespace lapidary::codegen::cpu {

// Sorted; LLVM's names. Only those that compiled arithmetic can contain and that runtime/cpu.c knows to ask for.
std::vector<std::string> needed_features(const Target&);

}  // namespace lapidary::codegen::cpu
