// Shared memory of a block: what an Alloc or a collective takes lies behind what is in scope. What a
// collective takes, ir/fragment.h says.
#pragma once

#include "codegen/cuda/tensor_maps.h"
#include "ir/loops.h"

namespace lapidary::codegen::cuda {

constexpr int64_t kSharedAlignment = 128;
inline int64_t aligned_shared(int64_t bytes) {
  return (bytes + kSharedAlignment - 1) / kSharedAlignment * kSharedAlignment;
}

// Before the rest: where results become whole rows.
int64_t staging_bytes(const loops::Kernel&, const MappedOperands&);
int64_t combine_shared_bytes(const loops::StmtNode&, int threads);

}  // namespace lapidary::codegen::cuda
