// Which tile of queries and keys attention is cut into, for a GPU: the largest that its shared memory and a thread's
// registers hold. Of heads too wide for any, passes/graph/open_attention.cpp makes products and a softmax again.
#pragma once

#include <optional>

#include "ir/graph.h"
#include "ir/loops.h"
#include "passes/pipeline.h"

namespace lapidary::lowering::gpu {

struct AttentionTile {
  int queries, keys, warps, stages, multiple;  // multiple: of the widths of heads
  bool warpgroups;
};

// What is multiplied: halves by tensor cores, or f32, by them where --f32= lets them round it.
DType attention_factor(const passes::Options&, const Op& attention);

// The node's atom and extents.
loops::AttendNode attend_node(const passes::Options&, const Op& attention, const AttentionTile&);

std::optional<AttentionTile> attention_tile(const passes::Options&, const Op& attention);
std::optional<AttentionTile> attention_tile_of_few(const passes::Options&, const Op& attention);  // queries
// Blocks of that tile for which all multiprocessors have shared memory.
int64_t blocks_at_once(const passes::Options&, const Op& attention, const AttentionTile&);
std::optional<AttentionTile> attention_tile_of_warpgroups(const passes::Options&, const Op& attention);

}  // namespace lapidary::lowering::gpu
