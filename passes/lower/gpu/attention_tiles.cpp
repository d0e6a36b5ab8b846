#include "passes/lower/gpu/attention_tiles.h"

#include <algorithm>
#include <span>

#include "ir/error.h"
#include "ir/fragment.h"
#include "ir/gpu_model.h"
#include "passes/lower/gpu/attention_split.h"

namespace lapidary::lowering::gpu {

using namespace loops;

namespace {

constexpr AttentionTile kOfFloats[] = {{64, 64, 4, 2, 16, false},
                                       {64, 32, 4, 2, 16, false},
                                       {32, 32, 4, 2, 16, false},
                                       {32, 16, 4, 2, 16, false},
                                       {16, 16, 4, 2, 16, false}};
constexpr AttentionTile kOfTensorCores[] = {{64, 64, 4, 2, 16, false}, {64, 32, 4, 2, 16, false}};
constexpr AttentionTile kOfWideHeads[] = {{128, 64, 8, 2, 64, false},
                                          {128, 32, 8, 2, 64, false},
                                          {64, 32, 4, 2, 64, false},
                                          {64, 16, 4, 2, 64, false},
                                          {32, 16, 2, 2, 64, false}};

// Few queries, whose keys are read but once: what counts is how many bytes are under way. At 4.2 TB/s and 700 ns of
// latency that must be 22 KB of each of 132 multiprocessors. A block of halves of 64 columns has two slots of three
// under way, 32 KB; one warp needs about a microsecond for the 16 KB of a slot though, half of what its share of the
// bandwidth allows, so that there must be two or three blocks beside each other: slots are as small as that takes. By
// fma four warps share the rows: each reads all keys, from shared memory that is seven times as fast as the device's.
constexpr int kBlocksOfRows = 3, kRows = SplitAttention::kMostRows;
constexpr AttentionTile kOfRows[] = {
    {kRows, 64, 1, 3, 16, false}, {kRows, 32, 1, 3, 16, false}, {kRows, 16, 1, 3, 16, false}};
constexpr AttentionTile kOfRowsOfWideHeads[] = {{kRows, 16, 1, 3, 128, false}, {kRows, 16, 1, 2, 128, false}};
constexpr AttentionTile kOfRowsOfFloats[] = {
    {kRows, 64, 4, 3, 16, false}, {kRows, 32, 4, 3, 16, false}, {kRows, 16, 4, 3, 16, false}};
constexpr AttentionTile kOfRowsOfWideFloats[] = {{kRows, 16, 4, 3, 16, false}, {kRows, 16, 4, 2, 16, false}};

int rounded_up(int64_t extent, int multiple) { return static_cast<int>((extent + multiple - 1) / multiple) * multiple; }

Atom attention_atom(const passes::Options& options, const Op& op) {
  const DType dtype = op.operand(0)->type.dtype;
  if (!options.target.has_tensor_cores()) return Atom::Fma;
  if (dtype == DType::F16) return Atom::F16;
  if (dtype == DType::BF16) return Atom::BF16;
  switch (options.f32_products) {
    case passes::F32Products::IEEE:
      return Atom::Fma;
    case passes::F32Products::TF32:
    case passes::F32Products::BF16:  // words are copied as they lie; what is rounded on its way would wait in registers
      return Atom::TF32;
    case passes::F32Products::TF32x3:
      return Atom::TF32x3;
  }
  LPD_UNREACHABLE("f32 products");
}

// Queries stay in registers, or are read again for each tile of keys, as by fma they always are.
enum class Queries { Held, ReadAgain };

bool registers_hold(const AttendNode& node, Queries queries) {
  if (queries == Queries::Held) return holds_queries(node);
  const bool words = node.atom == Atom::TF32 || node.atom == Atom::TF32x3;  // are read one by one, so many at a time
  const int held = node.queries * (node.columns + node.keys) / (32 * node.warps);
  return held <= (words ? 96 : 160);
}

std::optional<AttentionTile> first_that_fits(const passes::Options& options, const Op& op, Queries queries,
                                             std::span<const AttentionTile> tiles, int blocks = 1) {
  const int64_t word = bit_width(attention_factor(options, op)) / 8;
  for (const AttentionTile& tile : tiles) {
    const AttendNode node = attend_node(options, op, tile);
    const int64_t most_bytes = options.target.shared_bytes / blocks;
    if (attend_shared_bytes(node, word) <= most_bytes && registers_hold(node, queries)) return tile;
  }
  return std::nullopt;
}

}  // namespace

DType attention_factor(const passes::Options& options, const Op& op) {
  const Atom atom = attention_atom(options, op);
  return atom == Atom::F16 ? DType::F16 : atom == Atom::BF16 ? DType::BF16 : DType::F32;
}

AttendNode attend_node(const passes::Options& options, const Op& op, const AttentionTile& tile) {
  AttendNode node;
  node.atom = attention_atom(options, op);
  node.queries = tile.queries, node.keys = tile.keys, node.warps = tile.warps, node.stages = tile.stages;
  node.warpgroups = tile.warpgroups;
  node.depth = rounded_up(*lapidary::value_of(op.operand(0)->type.shape[3]), tile.multiple);
  node.columns =
      rounded_up(*lapidary::value_of(op.operand(2)->type.shape[3]), node.atom == Atom::Fma ? 32 : tile.multiple);
  return node;
}

std::optional<AttentionTile> attention_tile(const passes::Options& options, const Op& op) {
  if (attention_atom(options, op) == Atom::Fma) return first_that_fits(options, op, Queries::ReadAgain, kOfFloats);
  if (const auto tile = first_that_fits(options, op, Queries::Held, kOfTensorCores)) return tile;
  return first_that_fits(options, op, Queries::ReadAgain, kOfWideHeads);
}

std::optional<AttentionTile> attention_tile_of_few(const passes::Options& options, const Op& op) {
  const bool fma = attention_atom(options, op) == Atom::Fma;
  const std::span<const AttentionTile> narrow = fma ? kOfRowsOfFloats : kOfRows;
  if (const auto tile = first_that_fits(options, op, fma ? Queries::ReadAgain : Queries::Held, narrow, kBlocksOfRows))
    return tile;
  return first_that_fits(options, op, Queries::ReadAgain,
                         fma ? std::span<const AttentionTile>(kOfRowsOfWideFloats) : kOfRowsOfWideHeads);
}

int64_t blocks_at_once(const passes::Options& options, const Op& op, const AttentionTile& tile) {
  constexpr int64_t kOfEachBlock = 1 << 10;  // the driver's
  const int64_t bytes =
      attend_shared_bytes(attend_node(options, op, tile), bit_width(attention_factor(options, op)) / 8) + kOfEachBlock;
  const int64_t of_each = (options.target.shared_bytes + kOfEachBlock) / bytes;
  return of_each * gpu_model(options.target.capability).multiprocessors;
}

// Heads are padded to whole panels of 64; wider ones leave no room for the scores in registers.
std::optional<AttentionTile> attention_tile_of_warpgroups(const passes::Options& options, const Op& op) {
  constexpr int kPanel = 64, kWidest = 128, kMostStages = 6;
  const Target& target = options.target;
  if (!target.has_warpgroups() || attention_factor(options, op) == DType::F32) return std::nullopt;
  const int depth = rounded_up(*lapidary::value_of(op.operand(0)->type.shape[3]), kPanel),
            columns = rounded_up(*lapidary::value_of(op.operand(2)->type.shape[3]), kPanel);
  if (std::max(depth, columns) > kWidest) return std::nullopt;
  const int keys = op.params.number_or("softcap", 0) != 0 ? 64 : 128;  // its maths takes registers
  AttentionTile tile = {128, keys, 8, kMostStages, kPanel, true};
  while (attend_shared_bytes(attend_node(options, op, tile), 2) > target.shared_bytes) --tile.stages;
  return tile;
}

}  // namespace lapidary::lowering::gpu
