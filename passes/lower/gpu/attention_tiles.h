// Which tile of queries and keys attention is cut into, for a GPU: the largest that its shared memory and a thread's
// registers hold. Of heads too wide for any, passes/graph/open_attention.cpp makes products and a softmax again.
#pragma once

#include <optional>

#include "ir/graph.h"
#include "ir/loops.h"
#include "ir/target.h"

namespace lapidary::lowering::gpu {

struct AttentionTile {
  int queries, keys, warps, stages, multiple;  // multiple: of the widths of heads
  bool warpgroups;
};

// What tensor cores multiply; F32 where they do not.
DType attention_factor(const Target&, const Op& attention);

// The node's atom and extents.
loops::AttendNode attend_node(const Target&, const Op& attention, const AttentionTile&);

std::optional<AttentionTile> attention_tile(const Target&, const Op& attention);
std::optional<AttentionTile> attention_tile_of_few(const Target&, const Op& attention);  // queries, of halves
std::optional<AttentionTile> attention_tile_of_warpgroups(const Target&, const Op& attention);

}  // namespace lapidary::lowering::gpu
