// Products of few tiles and a long k: a task has a part of k, and a second kernel adds the parts up, a thread for a few
// neighbours:
//
//   task: batch, part of k, tile: … stores its sums as they are
//   task: batch, row, column: epilogue of the sum of the parts
#pragma once

#include "passes/lower/gpu/product.h"
#include "passes/lower/gpu/tiles.h"

namespace lapidary::lowering::gpu {

// `count` parts of `depth`, the last ones maybe less or none; their sums in scratch memory.
struct SplitDepth {
  int count = 1;
  Dim depth = nullptr;
  uint32_t scratch = 0;
};
SplitDepth split_of(DimPool&, const Tile&, int parts, Dim depth);  // about so many parts, each of whole steps

Dim scratch_of_parts(DimPool&, const ProductForm&, const Tile&, SplitDepth);  // in bytes
LoweredStep sum_of_parts(Context&, const Op& group, const ProductForm&, const Tile&, SplitDepth, Dim when);

}  // namespace lapidary::lowering::gpu
