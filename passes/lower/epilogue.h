// What follows a tile of accumulators in its group, as far as the families must know it: is it short enough to be
// repeated for every accumulator, in registers?
//
//   + bias, relu, + residual           a few instructions each: repeated, nothing leaves the registers
//   · sigmoid(·), GELU                 thirty each, and their temporaries beside 26 accumulators: LLVM spills some
//
// The second kind goes through a stage instead, a few hundred bytes of the thread's scratch: the tile is stored there
// and a loop over its rows does the rest. efficientnet_b0's kernels compile in a third of the time for it.
#pragma once

#include "passes/lower/kernel_builder.h"

namespace lapidary::lowering {

// The stage for tiles of at most `elements` floats, or null when what follows the anchor is short.
loops::Buffer epilogue_stage(KernelBuilder&, const Op& group, const Op& anchor, int64_t elements);  // of anchor's type

}  // namespace lapidary::lowering
