// Which steps wait for the whole team before they begin. A step waits when it reads what an earlier one wrote since
// the last barrier, or writes what one read or wrote. Arena buffers that never live at the same time may share memory
// and count as one. Runs after memory is planned.
#pragma once

#include "ir/program.h"

namespace lapidary::lowering {

void place_barriers(const Program&, EntryPoint&);

}  // namespace lapidary::lowering
