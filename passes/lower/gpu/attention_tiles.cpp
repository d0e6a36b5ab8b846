#include "passes/lower/gpu/attention_tiles.h"

#include <algorithm>
#include <span>

#include "ir/fragment.h"
#include "passes/lower/gpu/attention_split.h"

namespace lapidary::lowering::gpu {

using namespace loops;

namespace {

constexpr AttentionTile kOfFloats[] = {{64, 64, 4, 2, 16, false},
                                       {64, 32, 4, 2, 16, false},
                                       {32, 32, 4, 2, 16, false},
                                       {32, 16, 4, 2, 16, false},
                                       {16, 16, 4, 2, 16, false}};
constexpr AttentionTile kOfHalves[] = {{64, 64, 4, 2, 16, false}, {64, 32, 4, 2, 16, false}};
constexpr AttentionTile kOfRows[] = {{SplitAttention::kMostRows, 64, 1, 2, 16, false},
                                     {SplitAttention::kMostRows, 32, 1, 2, 16, false}};

int rounded_up(int64_t extent, int multiple) { return static_cast<int>((extent + multiple - 1) / multiple) * multiple; }

// What a thread holds of results and scores, and on tensor cores of queries.
bool registers_hold(const AttendNode& node) {
  constexpr int kMost = 160;
  const int held = node.queries * (node.columns + node.keys) / (32 * node.warps);
  return held + (node.atom == Atom::Fma ? 0 : node.depth / 4) <= kMost;
}

std::optional<AttentionTile> first_that_fits(const Target& target, const Op& op, std::span<const AttentionTile> tiles) {
  const int64_t word = bit_width(attention_factor(target, op)) / 8;
  for (const AttentionTile& tile : tiles) {
    const AttendNode node = attend_node(target, op, tile);
    if (attend_shared_bytes(node, word) <= target.shared_bytes && registers_hold(node)) return tile;
  }
  return std::nullopt;
}

}  // namespace

DType attention_factor(const Target& target, const Op& op) {
  const DType dtype = op.operand(0)->type.dtype;
  return bit_width(dtype) == 16 && target.has_tensor_cores() ? dtype : DType::F32;
}

AttendNode attend_node(const Target& target, const Op& op, const AttentionTile& tile) {
  const DType factor = attention_factor(target, op);
  AttendNode node;
  node.atom = factor == DType::F16 ? Atom::F16 : factor == DType::BF16 ? Atom::BF16 : Atom::Fma;
  node.queries = tile.queries, node.keys = tile.keys, node.warps = tile.warps, node.stages = tile.stages;
  node.warpgroups = tile.warpgroups;
  node.depth = rounded_up(*lapidary::value_of(op.operand(0)->type.shape[3]), tile.multiple);
  node.columns =
      rounded_up(*lapidary::value_of(op.operand(2)->type.shape[3]), node.atom == Atom::Fma ? 32 : tile.multiple);
  return node;
}

std::optional<AttentionTile> attention_tile(const Target& target, const Op& op) {
  if (attention_factor(target, op) == DType::F32) return first_that_fits(target, op, kOfFloats);
  return first_that_fits(target, op, kOfHalves);
}

std::optional<AttentionTile> attention_tile_of_few(const Target& target, const Op& op) {
  if (attention_factor(target, op) == DType::F32) return std::nullopt;
  return first_that_fits(target, op, kOfRows);
}

// Heads are padded to whole panels of 64; wider ones leave no room for the scores in registers.
std::optional<AttentionTile> attention_tile_of_warpgroups(const Target& target, const Op& op) {
  constexpr int kPanel = 64, kWidest = 128, kMostStages = 6, kBarrierBytes = 256;
  if (!target.has_warpgroups() || attention_factor(target, op) == DType::F32) return std::nullopt;
  const int depth = rounded_up(*lapidary::value_of(op.operand(0)->type.shape[3]), kPanel),
            columns = rounded_up(*lapidary::value_of(op.operand(2)->type.shape[3]), kPanel);
  if (std::max(depth, columns) > kWidest) return std::nullopt;
  const int keys = op.params.number_or("softcap", 0) != 0 ? 64 : 128;  // its maths takes registers
  AttentionTile tile = {128, keys, 8, kMostStages, kPanel, true};
  const int64_t slot = 2 * keys * std::max(depth, columns), queries = int64_t{2} * tile.queries * depth;
  tile.stages =
      static_cast<int>(std::min<int64_t>(kMostStages, (target.shared_bytes - kBarrierBytes - queries) / slot));
  return tile;
}

}  // namespace lapidary::lowering::gpu
