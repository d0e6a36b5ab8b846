// A relocatable object, but for its exports local to itself: two of different models, or of one model by two versions
// of the compiler, link into one program.
#pragma once

#include <vector>

#include "codegen/cpu/link.h"

namespace lapidary::codegen::cpu {

// The symbols behind the exports get their exported names and are visible everywhere; other definitions become local
// and, where no relocation needs them, nameless.
std::vector<char> with_local_symbols(const std::vector<char>& object, const Exports&);

}  // namespace lapidary::codegen::cpu
