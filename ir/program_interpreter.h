// Runs a lowered Program in the interpreter of Loops, step by step as the runtime would: formulas evaluated, weights
// materialised, an arena that is poisoned with NaN before use and after each buffer's life. What a Program means; slow.
#pragma once

#include <span>
#include <vector>

#include "ir/interpreter.h"
#include "ir/program.h"

namespace lapidary {

// Symbols are bound from the inputs' shapes. Throws Error{Fault::Internal} where a step, a kernel or the plan is wrong.
// `states`: those of the module, which the run reads and changes; none are needed where the program has none.
std::vector<Tensor> interpret(const Program&, const EntryPoint&, std::span<const Tensor> inputs,
                              std::span<Tensor> states = {});

}  // namespace lapidary
