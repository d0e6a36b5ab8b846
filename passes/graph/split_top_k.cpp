// On a GPU one block of threads has a line to sort, so the first of a long line would be found by one multiprocessor
// alone. They are the first among the first of its parts, which are lines of their own:
//
//   v, i = top_k(x [.., V], k)   V = P·n   →   a, b = top_k(x as [.., P, n], k)
//                                              v, c = top_k(a as [.., P·k], k)
//                                              i    = (b as [.., P·k])[c] + n·(c / k)
//
// Of equal elements the one in the earlier part, and of a part the earlier one, comes before the other among `a`, so
// the order of equals stays. A vocabulary of 128,256 in 32 parts of 4008: one sort of a block each and one of 32·k
// together, instead of 62 sorts and merges one after the other. Lines that have no such parts stay whole.
// Test: test/passes/split_top_k, test/kernels (top_k cases).
#include "ir/graph_builder.h"
#include "passes/graph/graph_passes.h"
#include "passes/graph/walk.h"

namespace lapidary::passes {

namespace {

constexpr int64_t kLeastLine = 16384;
constexpr int64_t kLongestPart = 4096, kLeastPart = 1024;  // gpu/top_k.cpp sorts so many at once
constexpr int64_t kLeastGain = 8;                          // of a part, one in so many may be wanted

// The fewest equal parts, or 0.
int64_t parts_of(int64_t extent, int64_t wanted) {
  for (int64_t parts = (extent + kLongestPart - 1) / kLongestPart; extent / parts >= kLeastPart; ++parts)
    if (extent % parts == 0) return wanted * kLeastGain <= extent / parts ? parts : 0;
  return 0;
}

// The axis as two, or two as one.
Value* with_axes(GraphBuilder& b, Value* x, size_t axis, size_t replaced, std::vector<int64_t> by) {
  Shape shape = x->type.shape;
  const auto at =
      shape.erase(shape.begin() + static_cast<int64_t>(axis), shape.begin() + static_cast<int64_t>(axis + replaced));
  Shape extents;
  for (int64_t extent : by) extents.push_back(b.dim(extent));
  shape.insert(at, extents.begin(), extents.end());
  return b.reshape(x, shape);
}

bool split(Module& module, Region& body, Op& op) {
  const auto axis = static_cast<size_t>(op.params.integer("axis"));
  const auto extent = value_of(op.operand(0)->type.shape[axis]), wanted = value_of(op.params.dim("k"));
  if (!extent || !wanted || *extent < kLeastLine || *wanted < 1) return false;
  const int64_t parts = parts_of(*extent, *wanted);
  if (parts == 0) return false;
  GraphBuilder b(module, body, op.self);
  b.origin = op.origin;
  const auto top_k = [&](Value* x, size_t along) -> Op& {
    return b.create(
        OpKind::TopK, {x},
        {{"axis", static_cast<int64_t>(along)}, {"k", op.params.dim("k")}, {"largest", op.params.integer("largest")}});
  };
  Op& of_parts = top_k(with_axes(b, op.operand(0), axis, 1, {parts, *extent / parts}), axis + 1);
  const auto joined = [&](Value* x) { return with_axes(b, x, axis, 2, {parts * *wanted}); };
  Op& of_all = top_k(joined(of_parts.result(0)), axis);
  Value* const chosen = of_all.result(1);
  Value* const within = b.gather_elements(joined(of_parts.result(1)), chosen, static_cast<int>(axis), true);
  Value* const part = b.div(chosen, b.like(chosen, static_cast<double>(*wanted)));
  Value* const place = b.add(within, b.mul(part, b.like(part, static_cast<double>(*extent / parts))));
  replace_value(op.result(0), of_all.result(0));
  replace_value(op.result(1), place);
  erase_op(op);
  return true;
}

}  // namespace

bool split_top_k(Module& module, const Options& options) {
  if (!options.target.is_gpu()) return false;
  return for_each_op(module, [&](Region& body, Op& op) { return op.is(OpKind::TopK) && split(module, body, op); });
}

}  // namespace lapidary::passes
