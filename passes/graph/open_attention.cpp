// Attention whose heads are too wide for every tile of a GPU becomes its body, two products and a softmax between them:
//
//   composite attention(q, k, v)  →  contract(softmax(contract(q, k)·scale + mask), v)
//
// f32 heads of 512 need 166,400 bytes of shared memory in the smallest tile: an A100 has them, other devices do not.
// Test: test/passes/open_attention, test/tools/attention_heads.test.
#include "passes/graph/graph_passes.h"
#include "passes/graph/walk.h"
#include "passes/lower/gpu/attention_tiles.h"

namespace lapidary::passes {

bool open_attention(Module& module, const Options& options) {
  if (!options.target.is_gpu()) return false;
  bool changed = false;
  for_each_body(module, [&](Region& body) {
    for (auto it = body.ops.begin(); it != body.ops.end();) {
      Op& op = *it++;
      if (!op.is_composite("attention") || lowering::gpu::attention_tile(options, op)) continue;
      const std::vector<Value*> values = inline_region(module, *op.regions[0], op.operands, body, op.self);
      replace_value(op.result(), values[0]);
      erase_op(op);
      changed = true;
    }
  });
  return changed;
}

}  // namespace lapidary::passes
