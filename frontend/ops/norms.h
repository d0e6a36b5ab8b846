// Norms of vectors, for operators that reduce.
#pragma once

#include "ir/graph_builder.h"

namespace lapidary::frontend {

// The norm sum^(1/p) of numbers whose p-th powers have that sum. A norm of 0 has no slope; its gradient is taken as 0,
// as PyTorch has it: neither the root nor its gradient, infinite there, ever meets the 0. Test:
// test/train/gradients.py.
inline Value* norm_of(GraphBuilder& build, Value* sum, double p = 2) {
  if (p == 1) return sum;
  Value *zero = build.like(sum, 0), *empty = build.scalar_op(ScalarOp::Equal, {sum, zero});
  Value* positive = build.select(empty, build.like(sum, 1), sum);
  Value* root = p == 2 ? build.scalar_op(ScalarOp::Sqrt, {positive})
                       : build.scalar_op(ScalarOp::Pow, {positive, build.like(sum, 1 / p)});
  return build.select(empty, zero, root);
}

}  // namespace lapidary::frontend
