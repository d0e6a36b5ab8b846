// The same bits under another element type: a copy through unsigned integers of that width; of bytes, where the widths
// differ or elements have less than one.
#include "ir/error.h"
#include "ir/layout.h"
#include "passes/lower/map_kernel.h"

namespace lapidary::lowering {

LoweredGroup lower_bit_cast(Context& context, const Op& group) {
  const Value *from = group.operand(0), *to = group.result();
  Type walked_from = from->type, walked_to = to->type;
  if (anchor_of(group).params.has("shape") || bit_width(to->type.dtype) < 8)
    walked_from = walked_to = Type::tensor(DType::U8, {physical_bytes(context.module.dims, to->type)});
  DType bits;
  switch (bit_width(walked_to.dtype)) {
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
  lowered.steps.push_back(
      map_step(context, group, "bit_cast", walked_to, [&](GroupEmitter& emit, const Coords& coords) {
        const loops::Buffer source = emit.builder.operand_as(from, bits), target = emit.builder.result_as(to, bits);
        loops::Expr value = emit.load(source, emit.address(walked_from, coords), coords);
        emit.store(target, emit.address(walked_to, coords), coords, value);
      }));
  return lowered;
}

}  // namespace lapidary::lowering
