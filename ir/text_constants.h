// What printer and parser of modules agree on beside the grammar.
#pragma once

#include "ir/dim.h"

namespace lapidary {

// A large constant prints as the hash of its content and reads back as normal numbers of this deviation, with the hash
// as their seed; so it prints as that hash again.
constexpr double kStandInDeviation = 0.02;

// The interval of a symbol that prints without one: DimPool::symbol's own.
constexpr Interval kSymbolInterval{0, INT64_C(1) << 40};

}  // namespace lapidary
