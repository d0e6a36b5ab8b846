// How many neighbouring elements a thread takes at once.
#pragma once

#include "ir/graph.h"

namespace lapidary::lowering::gpu {

// Of a walk along an innermost axis of `extent`: 16 bytes of the narrower floats that the group reads or writes, or of
// f32, as far as the extent is a multiple of that. Four where elements move across the axis: their reads are apart.
int packet_lanes(const Op& group, Dim extent);

}  // namespace lapidary::lowering::gpu
