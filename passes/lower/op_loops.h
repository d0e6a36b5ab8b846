// Reductions, contractions, convolutions and pools as plain loops around one element (or one vector of elements) of
// their result: what any group may hold, at the price of no reuse at all. The fast families bind these values and
// never get here.
#pragma once

#include "passes/lower/group_emitter.h"

namespace lapidary::lowering {

// The op's result at the coordinates. Emits its loops into the emitter's block.
loops::Expr emit_op_loops(GroupEmitter&, const Op&, const Coords&);

// What a reduction starts from: 0, 1, -inf, … in the dtype's compute type.
loops::Expr identity_of(OpKind reduction, DType);
// What the elements of a reduction are combined as.
DType combined_type(const Op& reduction);
ScalarOp combining_op(OpKind reduction);
OpKind reduction_by(ScalarOp combining);  // of Add, Mul, Min and Max

}  // namespace lapidary::lowering
