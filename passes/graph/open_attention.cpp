// Attention whose heads are too wide for every tile of a GPU becomes its body, two products and a softmax between them:
//
//   composite attention(q, k, v)  →  contract(softmax(contract(q, k)·scale + mask), v)
//
// f32 heads of 512 need 166,400 bytes of shared memory in the smallest tile: an A100 has them, other devices do not.
// The scores are then stored, and multiplied as f32 whatever q, k and v are; so their steps say where they come from,
// "attention opened", which lapidary inspect and bench count (tools/plain_steps.h). Test: test/passes/open_attention,
// test/tools/attention_heads.test.
#include "passes/graph/graph_passes.h"
#include "passes/graph/walk.h"
#include "passes/lower/gpu/attention_tiles.h"

namespace lapidary::passes {

namespace {

Origin opened(Module& module, Origin from) {
  OriginInfo info = module.origins[from];
  info.made = "attention opened";
  return module.add_origin(std::move(info));
}

}  // namespace

bool open_attention(Module& module, const Options& options) {
  if (!options.target.is_gpu()) return false;
  return for_each_op(module, [&](Region& body, Op& op) {
    if (!op.is_composite("attention") || lowering::gpu::attention_tile(options, op)) return false;
    const auto before = op.self == body.ops.begin() ? body.ops.end() : std::prev(op.self);
    const std::vector<Value*> values = inline_region(module, *op.regions[0], op.operands, body, op.self);
    const Origin origin = opened(module, op.origin);
    for (auto added = before == body.ops.end() ? body.ops.begin() : std::next(before); added != op.self; ++added)
      added->origin = origin;
    replace_value(op.result(), values[0]);
    erase_op(op);
    return true;
  });
}

}  // namespace lapidary::passes
