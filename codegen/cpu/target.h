// What --target names among CPUs.
#pragma once

#include <optional>
#include <string>

#include "ir/target.h"

namespace lapidary::codegen::cpu {

// None for a name it does not know; throws Error{Fault::Unsupported} for a known one that cannot be had here.
std::optional<Target> find_target(const std::string& name);
std::string known_targets();  // "native, x86-64-v2, …"

}  // namespace lapidary::codegen::cpu
