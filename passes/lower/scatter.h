// What scatters have in common, whoever does the updates.
#pragma once

#include "passes/lower/family.h"
#include "passes/lower/group_emitter.h"

namespace lapidary::lowering {

// The step that puts the data where the result is.
LoweredStep scatter_data_step(Context&, const Op& group, const Op& scatter);

// Where updates go along the indexed axis. What is out of range sets a flag.
struct ScatterPlace {
  loops::Expr index, inside;  // one lane where all are equal
};
// Of the updates at these coordinates; `block` is the emitter's.
ScatterPlace scatter_place(GroupEmitter&, Block&, const Op& scatter, const Coords& update);
// Puts an update where it goes: into the group's result, which is read back where the scatter reduces.
void scatter_update(GroupEmitter&, Block&, const Op& scatter, const loops::Buffer& result, const Coords& from,
                    const Coords& to);

}  // namespace lapidary::lowering
