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

bool names_dims(const Value* value) {
  return std::ranges::any_of(value->elements,
                             [&](Dim dim) { return dim->kind == DimKind::Element && dim->value_id == value->id; });
}

void replace_value(Value* old, Value* by) {
  if (by->elements.empty()) by->elements = old->elements;
  old->replace_all_uses(by);
}

void erase_with_dead_producers(Op& op) {
  std::vector<Value*> operands = op.operands;
  erase_op(op);
  std::ranges::sort(operands);
  auto repeated = std::ranges::unique(operands);
  operands.erase(repeated.begin(), repeated.end());
  std::vector<Op*> dead;
  for (Value* operand : operands)
    if (Op* producer = operand->producer;
        producer && std::ranges::find(dead, producer) == dead.end() &&
        std::ranges::all_of(producer->results, [](const auto& r) { return r->uses.empty() && !names_dims(r.get()); }))
      dead.push_back(producer);
  for (Op* producer : dead) erase_with_dead_producers(*producer);
}

}  // namespace lapidary::passes
