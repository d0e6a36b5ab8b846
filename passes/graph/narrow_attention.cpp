// Narrow attention: on a GPU q, k and v that are f16 or bf16, widened, are taken as they were before. Tensor cores
// multiply them exactly and add in f32, so only the weights are rounded where they were not, and three passes over
// memory are gone.
//
//   %3 = convert %0 to=f32  … %6 = composite %3, %4, %5 name="attention" : f32
//     →  %6 = composite %0, %1, %2 name="attention" : f32     with the converts in its body
//
// Converts are found before shape ops too. Numbers that are f32 for any other reason stay. Test:
// test/passes/narrow_attention/.
#include "ir/composites.h"
#include "passes/graph/graph_passes.h"
#include "passes/graph/views.h"
#include "passes/graph/walk.h"

namespace lapidary::passes {

namespace {

bool is_half(DType dtype) { return dtype == DType::F16 || dtype == DType::BF16; }

// The value of halves that widened is this one, through any shape ops; its type, or nothing.
std::optional<DType> type_before(const Value* value) {
  const Op* op = value->producer;
  while (op && is_view_op(*op)) op = op->operand(0)->producer;
  if (!op || !op->is(OpKind::Convert) || op->type().dtype != DType::F32) return std::nullopt;
  const DType before = op->operand(0)->type.dtype;
  return is_half(before) ? std::optional(before) : std::nullopt;
}

Value* narrowed(GraphBuilder& b, Value* value) {
  const Op& op = *value->producer;
  if (op.is(OpKind::Convert)) return op.operand(0);
  return b.create(op.kind, {narrowed(b, op.operand(0))}, op.params).result();
}

bool narrow(Module& module, Region& body, Op& op) {
  std::optional<DType> before = type_before(op.operand(0));
  for (int i : {1, 2})
    if (type_before(op.operand(i)) != before) before = std::nullopt;
  if (!before) return false;
  GraphBuilder b(module, body, op.self);
  b.origin = op.origin;
  Value *q = narrowed(b, op.operand(0)), *k = narrowed(b, op.operand(1)), *v = narrowed(b, op.operand(2)),
        *mask = op.operands.size() > 3 ? op.operand(3) : nullptr;
  if (mask && type_before(mask)) mask = narrowed(b, mask);
  replace_value(op.result(), composites::attention(b, q, k, v, mask, op.params.number("scale"),
                                                   op.params.integer_or("causal", 0) != 0,
                                                   op.params.number_or("softcap", 0), op.type().dtype));
  erase_with_dead_producers(op);
  return true;
}

}  // namespace

bool narrow_attention(Module& module, const Options& options) {
  if (!options.target.has_tensor_cores()) return false;
  return for_each_op(module, [&](Region& body, Op& op) {
    return op.is_composite("attention") && op.type().dtype == DType::F32 && narrow(module, body, op);
  });
}

}  // namespace lapidary::passes
