// What the steps beside a recurrence walk over, forwards and back: the units of each direction and batch row.
#pragma once

#include <functional>
#include <vector>

#include "passes/lower/family.h"
#include "passes/lower/group_emitter.h"

namespace lapidary::lowering {

// Units that a row of states has room for: whole vectors of them.
int64_t pitch_of_units(int64_t hidden, int lanes);

struct RecurrentUnits {
  const Op& group;
  int64_t directions;
  Dim batch;
  int64_t hidden;
  int lanes;  // units side by side

  // axes: direction, batch row, and on a GPU unit; row: of the batch in all directions.
  using Body = std::function<void(GroupEmitter&, Block&, const std::vector<loops::Expr>& axes, const loops::Expr& row,
                                  const loops::Expr& unit)>;
  // Calls the body for `count` units: on a CPU a task walks over those of a row, on a GPU each is one. It counts no
  // flops: all of them are the recurrence's.
  LoweredStep for_each(Module&, const Target&, const char* family, const char* schedule, int64_t count,
                       const Body&) const;
  // Of the units from there on, those beyond the hidden size masked.
  Coords at_state(const std::vector<loops::Expr>& axes, const loops::Expr& unit) const;
};

}  // namespace lapidary::lowering
