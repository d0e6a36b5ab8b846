// Coordinates of a tensor inside a kernel, for one element or for a vector of them.
//
// A coordinate is a number in mixed radix: digits, outermost first, each an expression with an extent. So a loop nest
// over [12, 64] can name an element of an axis of extent 768 as the digits (head, d) — and a reshape [768] → [12, 64]
// that follows merely hands the digits out again, without a division. Example: rows of [B, S, 768] split into heads
// for attention. Digits that do not fit the other shape are flattened (Σ digit · stride) and divided.
//
// With lanes > 1 each digit has a step: what is added from lane to lane. One digit with step 1 over the axis that is
// contiguous in a buffer makes a plain vector load; no digit with a step, a scalar load that is splatted; anything
// else, a gather. Coordinates that are not affine in the lane (an index loaded from a tensor) are `lanewise`.
#pragma once

#include <memory>
#include <vector>

#include "ir/dim.h"
#include "ir/loops.h"

namespace lapidary::lowering {

struct Digit {
  loops::Expr base;            // I64 scalar: lane 0
  loops::Expr step = nullptr;  // I64 scalar; null: the same in all lanes
  Dim extent = nullptr;        // null, in a coordinate of one digit: the axis's own
  int axis = -1;               // which axis of the iteration space this is, where a family asks (see Accesses)
  // Of the quotient and the remainder of a divided digit: that digit. Where the two index adjacent axes of a dense
  // tensor, address() takes it instead and nothing is divided.
  std::shared_ptr<const Digit> divided = nullptr;
  bool is_remainder = false;
};

// offset + scale · (digits): slices and pads shift and scale, and stay affine.
struct Coord {
  std::vector<Digit> digits;              // none: 0
  loops::Expr lanewise = nullptr;         // I64, one for each lane; then there is nothing else
  Dim offset = nullptr, scale = nullptr;  // null: 0 and 1

  bool plain() const { return !lanewise && !offset && !scale; }
  bool uniform() const;  // the same in all lanes
};

Coord at(loops::Expr base);                                 // the same in all lanes
Coord along(loops::Expr base, loops::Expr step = nullptr);  // base + lane · step, by default 1
Coord lanewise(loops::Expr vector);

struct Coords {
  std::vector<Coord> axes;
  int lanes = 1;
  loops::Expr mask = nullptr;   // bool of `lanes`: masked-off lanes touch no memory. At least one lane is on
                                // whenever `guard` holds
  loops::Expr guard = nullptr;  // bool scalar: when false, nothing is touched at all; loads give 0

  Coords with(std::vector<Coord> other_axes) const { return {std::move(other_axes), lanes, mask, guard}; }
};

loops::Expr both(loops::Expr a, loops::Expr b);  // logical and of two masks, either may be null
loops::Expr splat_to(loops::Expr, int lanes);    // a scalar in every lane; a vector stays
bool same_coords(const Coords&, const Coords&);

}  // namespace lapidary::lowering
