// Elementwise kernels that make pixels of few channels of an image's planes.
#pragma once

#include <functional>
#include <optional>

#include "passes/lower/group_emitter.h"
#include "passes/lower/iteration_space.h"

namespace lapidary::lowering::gpu {

// As map_step, where the result's channels, a block of them and no more, lie side by side and its operands' do not: a
// thread takes neighbouring pixels, one plane after the other.
std::optional<LoweredStep> pixels_step(Module&, const Target&, const Op& group, const std::string& family,
                                       const Type& walked, const IterationSpace&,
                                       const std::function<void(GroupEmitter&, const Coords&)>& element);

}  // namespace lapidary::lowering::gpu
