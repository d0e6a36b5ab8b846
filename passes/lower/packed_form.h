// What a composite matmul_packed multiplies with, for the kernels of every target: weights of 4 or 8 bits in blocks
// along k that have a scale each, and maybe a zero point.
#pragma once

#include <optional>

#include "passes/lower/group_emitter.h"

namespace lapidary::lowering {

struct PackedForm {
  PackedForm(Module&, const Op& group, const Op& composite);

  const Op& op;
  const Value* a;  // the group's operand [rows…, depth]
  int bits;
  int64_t depth, block, columns;
  Dim rows;
  ConstantId codes, scales;         // u8 [columns, depth / block, block · bits / 8], [columns, blocks]
  std::optional<ConstantId> zeros;  // codes u8 [columns, ⌈blocks · bits / 8⌉]; none: half the range

  int64_t blocks() const { return depth / block; }
  Dim flops(DimPool&) const;
  Coords result_at(GroupEmitter&, loops::Expr row, Coord column, int lanes) const;
};

}  // namespace lapidary::lowering
