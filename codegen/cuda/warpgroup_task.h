// A kernel of warpgroups: in its task are Lets, the accumulator, and in that a loop of the threads that zeroes it (for
// a product), maybe Lets, the product or attention, and a loop of the threads that stores.
#pragma once

#include <optional>
#include <vector>

#include "ir/loops.h"

namespace lapidary::codegen::cuda {

struct WarpgroupTask {
  const loops::StmtNode* task = nullptr;
  std::vector<const loops::StmtNode*> lets;
  const loops::StmtNode *accumulator = nullptr, *product = nullptr, *epilogue = nullptr;
};
// Where a product's tile is that of one warpgroup, two of them take turns: one writes out what the other multiplies.
constexpr int kTurns = 2;
inline bool takes_turns(const loops::ProductNode& product) { return product.warpgroups && product.warp_rows == 4; }
inline int consumers_of(const loops::ProductNode& product) {
  return takes_turns(product) ? kTurns : product.warp_rows / 4;
}
std::optional<WarpgroupTask> warpgroup_task(const loops::Kernel&);  // null of other kernels

}  // namespace lapidary::codegen::cuda
