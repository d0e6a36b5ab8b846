// Elementwise kernels that read along another axis than they write.
#pragma once

#include <functional>
#include <optional>

#include "passes/lower/group_emitter.h"
#include "passes/lower/iteration_space.h"

namespace lapidary::lowering::gpu {

// As map_step, where the group transposes so that neighbours of the result come from apart: a block takes a square
// tile, reads it along the operand's last axis into shared memory and goes on from there along the result's.
std::optional<LoweredStep> transpose_step(KernelBuilder&, const Op& group, const Type& walked, const IterationSpace&,
                                          const std::function<void(GroupEmitter&, const Coords&)>& element);

}  // namespace lapidary::lowering::gpu
