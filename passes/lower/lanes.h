// Integer arithmetic on coordinates that differ between lanes.
#pragma once

#include "passes/lower/group_emitter.h"

namespace lapidary::lowering {

struct QuotientRemainder {
  Coord quotient, remainder;
};

// coordinate floordiv and mod divisor, of a flat coordinate (at most one digit, no offset or scale) that is not
// negative. Stays affine when the lanes provably stay within one multiple of the divisor.
QuotientRemainder divide_lanes(KernelBuilder&, const Coord&, Dim divisor, int lanes);

// A flat coordinate as an I64 scalar when uniform, else a vector.
loops::Expr lane_values(const Coord&, int lanes);

// low <= coordinate < high of a flat coordinate: a bool scalar when it is uniform, else of each lane. Null bounds are
// not tested; null when nothing is.
loops::Expr in_range(const Coord&, loops::Expr low, loops::Expr high, int lanes);

}  // namespace lapidary::lowering
