// What a value is when nothing it is made of depends on a run: exporters compute sizes in floats, from constants.
#pragma once

#include "ir/interpreter.h"

namespace lapidary {

// Nothing when the value depends on a run, is larger than a few thousand elements, or takes more than a few hundred
// ops.
std::optional<Tensor> evaluate_now(const Module&, const Value*);

}  // namespace lapidary
