// See walk.h.
#include "passes/graph/walk.h"

#include <algorithm>

namespace lapidary::passes {

namespace {

void visit_inside_out(Region& body, const std::function<void(Region&)>& visit) {
  for (Op& op : body.ops) {
    if (!op.is(OpKind::Loop)) continue;
    for (auto& region : op.regions) visit_inside_out(*region, visit);
  }
  visit(body);
}

}  // namespace

void for_each_body(Module& module, const std::function<void(Region&)>& visit) {
  for (auto& function : module.functions) visit_inside_out(*function->body, visit);
}

std::optional<ConstantId> constant_of(const Value* value) {
  if (!value->producer || !value->producer->is(OpKind::Constant)) return std::nullopt;
  return value->producer->params.constant("value");
}

std::optional<Scalar> splat_of(const Module& module, const Value* value) {
  while (value->producer && (value->producer->is(OpKind::Broadcast) || value->producer->is(OpKind::Reshape)))
    value = value->producer->operand(0);
  auto id = constant_of(value);
  if (!id) return std::nullopt;
  Scalar scalar;
  if (module.constants.is_splat(*id, &scalar)) return scalar;
  const Constant& constant = module.constants[*id];
  if (constant.elements() != 1 || constant.dtype == DType::String) return std::nullopt;
  return module.constants.scalars_of(*id)[0];
}

std::optional<double> number_of(const Module& module, const Value* value) {
  auto scalar = splat_of(module, value);
  if (!scalar) return std::nullopt;
  return is_float(scalar->dtype) ? scalar->number : static_cast<double>(scalar->integer);
}

Op* producer_of_kind(const Value* value, OpKind kind) {
  return value->producer && value->producer->is(kind) ? value->producer : nullptr;
}

void erase_with_dead_producers(Op& op) {
  std::vector<Value*> operands = op.operands;
  erase_op(op);
  for (size_t i = 0; i < operands.size(); ++i) {
    bool seen = std::find(operands.begin(), operands.begin() + static_cast<ptrdiff_t>(i), operands[i]) != operands.begin() + static_cast<ptrdiff_t>(i);
    Op* producer = operands[i]->producer;
    if (seen || !producer) continue;
    bool dead = true;
    for (auto& result : producer->results) dead = dead && result->uses.empty();
    if (dead) erase_with_dead_producers(*producer);
  }
}

}  // namespace lapidary::passes
