#include "passes/lower/gpu/packets.h"

namespace lapidary::lowering::gpu {

namespace {

constexpr int kMostLanes = 8;

// Are what were neighbours along the last axis none any more?
bool parts_neighbours(const Op& op) {
  if (op.is(OpKind::GatherElements)) return true;
  const int64_t last = static_cast<int64_t>(op.operands.empty() ? 0 : op.operand(0)->type.shape.size()) - 1;
  if (op.is(OpKind::Transpose)) return op.params.integers("perm").back() != last;
  return op.is(OpKind::Gather) && op.params.integer("axis") == last;
}

}  // namespace

int packet_lanes(const Op& group, Dim extent, bool tiled) {
  bool half = false, wide = false, moves = false;
  const auto see = [&](const Type& type) {
    const int width = type.dtype == DType::String ? 64 : bit_width(type.dtype);
    half |= width == 16;
    wide |= width > 16;
  };
  for (const Value* operand : group.operands) see(operand->type);
  for (const auto& result : group.results) see(result->type);
  for (const Op& op : group.regions[0]->ops) moves |= parts_neighbours(op);
  int lanes = (moves && !tiled) || (wide && !half) ? 4 : kMostLanes;
  while (lanes > 1 && !known_multiple(extent, lanes)) lanes /= 2;
  return lanes;
}

}  // namespace lapidary::lowering::gpu
