// Loops over the threads of a block that does a task.
#pragma once

#include <functional>

#include "passes/lower/kernel_builder.h"

namespace lapidary::lowering::gpu {

// Adds a Thread loop over the builder's threads to the task.
void for_each_thread(KernelBuilder&, const std::function<void(Block&, const loops::Expr& thread)>& body);

// The same, and in it over the first `count` elements of a fragment that each of them holds, `step` at a time.
void for_each_held(KernelBuilder&, const loops::Buffer& fragment, int64_t count, int step,
                   const std::function<void(Block&, const loops::Expr& thread, const loops::Expr& element)>& body);
// All of them.
void for_each_held(KernelBuilder&, const loops::Buffer& fragment, int step,
                   const std::function<void(Block&, const loops::Expr& thread, const loops::Expr& element)>& body);

}  // namespace lapidary::lowering::gpu
