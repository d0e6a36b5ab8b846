#include "passes/lower/epilogue.h"

#include "passes/lower/work.h"

namespace lapidary::lowering {

loops::Buffer epilogue_stage(KernelBuilder& builder, const Op& group, const Op& anchor, int64_t elements) {
  const int most = builder.target.vector_registers >= 32 ? 12 : 3;
  if (vector_instructions(*group.regions[0], &anchor) <= most) return nullptr;
  return builder.stage("tile", anchor.type().dtype, builder.dim(elements));
}

}  // namespace lapidary::lowering
