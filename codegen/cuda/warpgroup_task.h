// A kernel of warpgroups: in its task are Lets, the accumulator, and in that a loop of the threads that zeroes it (for
// a product), maybe Lets, the product or attention, and a loop of the threads that stores.
#pragma once

#include <optional>
#include <vector>

#include "ir/fragment.h"
#include "ir/loops.h"

namespace lapidary::codegen::cuda {

struct WarpgroupTask {
  const loops::StmtNode* task = nullptr;
  std::vector<const loops::StmtNode*> lets;
  const loops::StmtNode *accumulator = nullptr, *product = nullptr, *epilogue = nullptr;
};
std::optional<WarpgroupTask> warpgroup_task(const loops::Kernel&);  // null of other kernels

}  // namespace lapidary::codegen::cuda
