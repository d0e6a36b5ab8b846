// The same bits under another element type: a copy through unsigned integers of that width.
#include "ir/error.h"
#include "passes/lower/map_kernel.h"

namespace lapidary::lowering {

LoweredGroup lower_bit_cast(Context& context, const Op& group) {
  const Value *from = group.operand(0), *to = group.result();
  DType bits;
  switch (bit_width(to->type.dtype)) {
    case 8:
      bits = DType::U8;
      break;
    case 16:
      bits = DType::U16;
      break;
    case 32:
      bits = DType::U32;
      break;
    case 64:
      bits = DType::U64;
      break;
    default:
      unsupported(context.module, group, fmt::format("bits of {}", name_of(to->type.dtype)));
  }
  LoweredGroup lowered;
  lowered.steps.push_back(map_step(context, group, "bit_cast", to->type, [&](GroupEmitter& emit, const Coords& coords) {
    const loops::Buffer source = emit.builder.operand_as(from, bits), target = emit.builder.result_as(to, bits);
    loops::Expr value = emit.load(source, emit.address(from->type, coords), coords);
    emit.store(target, emit.address(to->type, coords), coords, value);
  }));
  return lowered;
}

}  // namespace lapidary::lowering
