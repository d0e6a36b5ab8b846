// Attention of few queries over many keys (decoding over a cache): the heads that share keys are rows of one tile, the
// keys are split over blocks, and a second step puts together what each part found. There are as many parts as there is
// room for blocks at once: those of a second wave would begin when the first ends, and each begins with nothing under
// way.
#pragma once

#include "passes/lower/gpu/attention_tiles.h"
#include "passes/lower/gpu/gpu.h"

namespace lapidary::lowering::gpu {

struct SplitAttention {
  Dim when;         // 1 where it pays, else 0
  Dim rows;         // of a (batch, head of keys): query · group + head of the group
  Dim group;        // heads of queries for each of keys
  Dim parts, keys;  // parts of the keys; of each part but the last ones
  // Scratch buffers: results [batch, head of keys, part, row, column] and the logarithms of their sums, without the
  // column. A part without keys, or whose keys are all hidden, has a logarithm of -infinity and any result.
  static constexpr uint32_t kResults = 0, kLogSums = 1;
  static constexpr int kMostRows = 16;
};
SplitAttention split_attention(DimPool&, const passes::Options&, const Op& attention, const AttentionTile&);
std::vector<Dim> scratch_of(DimPool&, const Op& attention, const SplitAttention&);

// Σ e^(l - max l) · result / Σ e^(l - max l) over the parts, and the group's epilogue.
LoweredStep join_attention(Context&, const Op& group, const Op& attention, const SplitAttention&);

}  // namespace lapidary::lowering::gpu
