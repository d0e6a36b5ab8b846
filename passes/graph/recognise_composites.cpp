// Recognise composites: exporters spell GELU and layer norm in a dozen primitives each; here they get their
// names back, because a lowering that knows the name makes one kernel of it with fewer passes over memory.
//
// Walks from the last op to the first, so that the whole of an expression is met before its parts. The spellings known
// are at the head of each recognise_*.cpp. Test: test/passes/recognise_composites/.
#include "passes/graph/graph_passes.h"
#include "passes/graph/recognise.h"
#include "passes/graph/walk.h"

namespace lapidary::passes {

namespace {

bool recognise(Module& module, Region& body, const Options& options,
               Value* (*recogniser)(GraphBuilder&, Op&, const Options&)) {
  bool changed = false;
  for (auto it = body.ops.end(); it != body.ops.begin();) {
    Op& op = *--it;
    if (op.results.size() != 1 || op.result()->uses.empty()) continue;
    GraphBuilder builder(module, body, op.self);
    builder.origin = op.origin;
    Value* value = recogniser(builder, op, options);
    if (!value) continue;
    replace_value(op.result(), value);
    it = std::next(op.self);
    erase_op(op);
    changed = true;
  }
  return changed;
}

}  // namespace

bool recognise_composites(Module& module, const Options& options) {
  bool changed = false;
  for_each_body(module, [&](Region& body) {
    for (auto recogniser : {recognise_gelu, recognise_normalisation}) {
      bool found = recognise(module, body, options, recogniser);
      if (found) drop_dead(module, options);
      changed |= found;
    }
  });
  return changed;
}

}  // namespace lapidary::passes
