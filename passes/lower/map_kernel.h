// Kernels without a carried dependence: each element of a tensor is computed by itself. The loops are those of an
// IterationSpace; the innermost, contiguous in the result, is walked in vectors, its tail under a mask. Outer loops
// become tasks until a task has a few thousand elements.
#pragma once

#include <functional>

#include "passes/lower/family.h"
#include "passes/lower/iteration_space.h"

namespace lapidary::lowering {

// `type` gives the axes walked and their order in memory (its halo does not count); `element` evaluates and stores at
// coordinates of that type, and is called several times: for the dry runs, the vector loop and its tail.
LoweredStep map_step(Context&, const Op& group, const std::string& family, const Type& type,
                     const std::function<void(GroupEmitter&, const Coords&)>& element);

// The same of results in blocks of fewer channels than a vector has lanes, all channels in one block:
// narrow_blocks.cpp.
bool has_narrow_blocks(const Target&, const Type&);
LoweredStep narrow_blocks_step(Context&, const Op& group, uint32_t result);

// Emits into `outer` the loop over begin <= i < end in vectors. `body` gets the first element, the number of lanes and
// the mask of a tail (null in full vectors); it emits into the block it is given. `extent` is a Dim that end - begin
// is a multiple of, or null: when it is a multiple of the lanes there is no tail.
void vector_loop(Block& outer, loops::Expr begin, loops::Expr end, int lanes, bool has_tail,
                 const std::function<void(Block&, const loops::Expr&, const loops::Expr&)>& body);

// The coordinates with the lanes past the extent of the type's blocked axis switched off.
Coords with_block_tail(GroupEmitter&, const Type&, Coords);

// Least tasks for a thread so that waking it pays, for tasks of about `elements` elements.
int64_t grain_for(int64_t elements);

}  // namespace lapidary::lowering
