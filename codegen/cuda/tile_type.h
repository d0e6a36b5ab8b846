// The device library's type for what a collective computes, named `tile`, held to the shared memory and the registers
// that are reckoned with.
#pragma once

#include "codegen/cuda/text.h"
#include "ir/loops.h"

namespace lapidary::codegen::cuda {

void print_tile_type(Text&, const loops::Kernel&, const loops::StmtNode&);  // of a Product or an Attend

}  // namespace lapidary::codegen::cuda
