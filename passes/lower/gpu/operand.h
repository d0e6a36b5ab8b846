// What the collectives of Loops take their operands from: values of a group as one expression of where they are.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "passes/lower/group_emitter.h"

namespace lapidary::lowering::gpu {

// The value that `value` evaluates, as one expression, stored as `factor` where that is a float; where `guard` (null:
// everywhere) does not hold it is 0 and nothing is loaded. Null where it takes more than an expression, such as a loop.
loops::Expr operand_value(GroupEmitter&, DType factor, const loops::Expr& guard,
                          const std::function<loops::Expr()>& value);

// Is it a load, converted at most?
bool is_loaded(const loops::Expr&);

// How many elements along a coordinate of this extent lie side by side in memory, from multiples of so many on aligned:
// 1, 2, … at most 16 bytes of them; nothing when the value is no load whose mask they share, or the coordinate's
// neighbours lie apart.
// `value` evaluates at that coordinate and others of which nothing is known (unknown_position).
std::optional<int> width_along(const GroupEmitter&, DType factor, Dim extent,
                               const std::function<loops::Expr(GroupEmitter&, const Coord&)>& value);
Coord unknown_position(Dim extent);
std::vector<Coord> unknown_positions(const std::vector<Dim>& extents);

loops::Expr zero_of(DType);

}  // namespace lapidary::lowering::gpu
