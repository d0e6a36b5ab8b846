// Fills the halo of a laid-out buffer: the elements around its extents that convolutions and pools read as padding.
// The buffer's memory belongs to others in between, so its producer does it on every run; a step of its own, which
// writes what no other step writes and so needs no barrier against the kernel that fills the inside.
//
// For each axis with a halo the positions before and after its extent are one run of memory each, as the axes inside
// it are taken whole: [N, C/16, 1+H+1, 1+W+1, 16] has two runs of (W+2)·16 elements at its top and bottom, and two of
// 16 in each row.
#pragma once

#include "passes/lower/family.h"

namespace lapidary::lowering {

bool has_halo(const Type&);
LoweredStep halo_step(Context&, const Value* result);

}  // namespace lapidary::lowering
