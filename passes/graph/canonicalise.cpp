// Canonicalise: one spelling of each expression. Applies the rules of rewrite_*.cpp until none fits, so that
// recognisers and fusion match one form: constants on the right, shape-only ops composed and moved out of the way,
// transposes inside the contraction that reads them.
//
//   %2 = transpose %1 perm=[1, 0]   %3 = transpose %2 perm=[1, 0]   %4 = mul %3, 1    →    %1
//
// Each rule strictly shrinks or normalises, so sweeps end; a handful are enough. Test: test/passes/canonicalise/.
#include "passes/graph/graph_passes.h"
#include "passes/graph/rewrites.h"
#include "passes/graph/walk.h"

namespace lapidary::passes {

namespace {

constexpr int kMaxSweeps = 32;

Value* rewritten(GraphBuilder& builder, Op& op) {
  for (auto rules : {arithmetic_rewrites(), movement_rewrites(), contract_rewrites(), window_rewrites()})
    for (Rewrite rule : rules)
      if (Value* value = rule(builder, op)) return value;
  return nullptr;
}

bool sweep(Module& module, Region& body) {
  bool changed = false;
  for (auto it = body.ops.begin(); it != body.ops.end();) {
    Op& op = *it++;
    if (op.results.size() != 1 || op.result()->uses.empty() || names_dims(op.result())) continue;
    GraphBuilder builder(module, body, op.self);
    builder.origin = op.origin;
    Value* value = rewritten(builder, op);
    if (!value) continue;
    replace_value(op.result(), value);
    erase_with_dead_producers(op);
    changed = true;
  }
  return changed;
}

}  // namespace

bool canonicalise(Module& module, const Options&) {
  bool changed = false;
  for_each_body(module, [&](Region& body) {
    for (int i = 0; i < kMaxSweeps && sweep(module, body); ++i) changed = true;
  });
  return changed;
}

}  // namespace lapidary::passes
