// Coordinates of channels of a convolution in groups, which is a product for each group.
#pragma once

#include "passes/lower/group_emitter.h"

namespace lapidary::lowering::gpu {

inline loops::Expr base_of(GroupEmitter& emit, const Coord& coord) {
  return emit.flatten(coord, nullptr).digits[0].base;
}

// Channel `within` of a group that has `each`, among those of all groups.
inline Coord of_all_groups(GroupEmitter& emit, const Coord& group, const Coord& within, Dim each, int64_t groups) {
  if (groups == 1) return within;
  Coord flat = emit.flatten(within, each);
  flat.digits[0].base = loops::add(flat.digits[0].base, loops::mul(base_of(emit, group), emit.builder.literal(each)));
  flat.digits[0].extent = nullptr;
  return flat;
}

}  // namespace lapidary::lowering::gpu
