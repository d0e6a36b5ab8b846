#include "passes/lower/gpu/packets.h"

namespace lapidary::lowering::gpu {

namespace {

constexpr int kMostLanes = 8;

bool moves_elements(const Op& op) {
  return op.is(OpKind::Transpose) || op.is(OpKind::Gather) || op.is(OpKind::GatherElements);
}

}  // namespace

int packet_lanes(const Op& group, Dim extent) {
  bool half = false, wide = false, moves = false;
  const auto see = [&](const Type& type) {
    const int width = type.dtype == DType::String ? 64 : bit_width(type.dtype);
    half |= width == 16;
    wide |= width > 16;
  };
  for (const Value* operand : group.operands) see(operand->type);
  for (const auto& result : group.results) see(result->type);
  for (const Op& op : group.regions[0]->ops) moves |= moves_elements(op);
  int lanes = moves || (wide && !half) ? 4 : kMostLanes;
  while (lanes > 1 && !known_multiple(extent, lanes)) lanes /= 2;
  return lanes;
}

}  // namespace lapidary::lowering::gpu
