// The rules of canonicalise, by what they are about. A rule gets an op and a builder that inserts before it; it returns
// the value that replaces the op's only result, or null when it does not apply. Each carries its formula.
#pragma once

#include <span>

#include "ir/graph_builder.h"

namespace lapidary::passes {

using Rewrite = Value* (*)(GraphBuilder&, Op&);

std::span<const Rewrite> arithmetic_rewrites();  // rewrite_arithmetic.cpp: scalar ops and converts
std::span<const Rewrite> movement_rewrites();    // rewrite_movement.cpp: reshape, transpose, broadcast, slice, …
std::span<const Rewrite> contract_rewrites();    // rewrite_contract.cpp: transposes into contractions
std::span<const Rewrite> window_rewrites();      // rewrite_window.cpp: convolutions and pools

}  // namespace lapidary::passes
