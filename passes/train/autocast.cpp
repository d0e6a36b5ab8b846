#include "passes/train/autocast.h"

#include "ir/graph_builder.h"

namespace lapidary::train {

namespace {

bool is_product(const Op& op) {
  const bool kind = op.is(OpKind::Contract) || op.is(OpKind::Conv) || op.is(OpKind::ConvTranspose);
  return kind && op.type().dtype == DType::F32 && !op.params.has("to");
}

}  // namespace

void narrow_products(Module& module, Region& region, DType dtype) {
  for (auto it = region.ops.begin(); it != region.ops.end(); ++it) {
    for (const auto& inner : it->regions) narrow_products(module, *inner, dtype);
    if (!is_product(*it)) continue;
    Op& op = *it;
    GraphBuilder before(module, region, it), behind(module, region, std::next(it));
    before.origin = behind.origin = op.origin;
    for (uint32_t i = 0; i < op.operands.size(); ++i) op.set_operand(i, before.convert(op.operands[i], dtype));
    Value* result = op.result();
    std::vector<Use> readers = result->uses;
    result->type.dtype = dtype;
    Value* wide = behind.convert(result, DType::F32);
    for (const Use& use : readers) use.op->set_operand(use.operand, wide);
    it = wide->producer->self;
  }
}

}  // namespace lapidary::train
