// Axes that only a run can tell, as formulas: where a list names axes, each axis has a Dim that is 1 when the list has
// it.
#pragma once

#include "frontend/ops/common.h"

namespace lapidary::frontend {

bool is_told(const Shape&);              // is there an element that is no number yet?
bool is_told_operand(Node&, int input);  // the same for an operand that may be left out

// Now, or when the run knows; the node is put in front of the message.
void must_hold(Node&, Dim condition, const std::string& otherwise);

// Lengths of sequences, as data: each from 0 to the time steps there are.
void must_be_lengths(Node&, Value* lengths, Dim steps);

// An axis counted from the front; that it is one, is checked by the run.
Dim told_axis(Node&, Dim axis, int rank);
// For each of `rank` axes whether the list has it, 1 or 0; the run checks that they are axes, and none is there twice.
Shape told_axes(Node&, const Shape& list, int rank);
// For each of `rank` axes what the list gives it, or what it had. The list's axes are checked as above.
Shape dealt(Node&, const Shape& list, const Shape& given, const Shape& otherwise, Interval within = {kDimMin, kDimMax});
// The extents without those of the chosen axes, `count` in number.
Shape without(DimPool&, const Shape& extents, const Shape& chosen, size_t count);
// The extents with 1 put in where an axis of the result is chosen.
Shape with_units(DimPool&, const Shape& extents, const Shape& chosen);

}  // namespace lapidary::frontend
