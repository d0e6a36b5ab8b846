// Room for values whose size only a run can tell is made by steps of the host's, and each of them would end the
// parallel region it stands in. So all that stand between the kernels of one region are done before it.
#pragma once

#include "ir/program.h"

namespace lapidary::lowering {

// Before memory is planned. A register lives from the first kernel that uses it on, not from its Reserve step: two of
// one region may share memory, which then is made large enough for both.
void gather_rooms(EntryPoint&);

// When registers have their slots: a Reserve step must not lose what another register of that slot holds then.
void keep_what_lives(EntryPoint&);

}  // namespace lapidary::lowering
