// See walk.h.
#include "passes/graph/walk.h"

#include <algorithm>
#include <unordered_set>

namespace lapidary::passes {

namespace {

void visit_inside_out(Region& body, const std::function<void(Region&)>& visit) {
  for (Op& op : body.ops) {
    if (!op.is_control()) continue;
    for (auto& region : op.regions) visit_inside_out(*region, visit);
  }
  visit(body);
}

}  // namespace

void for_each_body(Module& module, const std::function<void(Region&)>& visit) {
  for (auto& function : module.functions) visit_inside_out(*function->body, visit);
}

bool for_each_op(Module& module, const std::function<bool(Region&, Op&)>& visit) {
  bool changed = false;
  for_each_body(module, [&](Region& body) {
    for (auto it = body.ops.begin(); it != body.ops.end();) changed |= visit(body, *it++);
  });
  return changed;
}

namespace {

void collect_elements(Dim dim, std::set<uint32_t>& ids, std::unordered_set<Dim>& seen) {
  if (!dim || !speaks_of_elements(dim) || !seen.insert(dim).second) return;
  if (dim->kind == DimKind::Element) ids.insert(dim->value_id);
  for (Dim operand : dim->operands) collect_elements(operand, ids, seen);
}

void collect_elements(const Op& op, std::set<uint32_t>& ids, std::unordered_set<Dim>& seen);

void collect_elements(const Region& region, std::set<uint32_t>& ids, std::unordered_set<Dim>& seen) {
  for (const auto& argument : region.arguments)
    for (Dim extent : argument->type.shape) collect_elements(extent, ids, seen);
  for (const Op& op : region.ops) {
    collect_elements(op, ids, seen);
    for (const auto& result : op.results)
      for (Dim extent : result->type.shape) collect_elements(extent, ids, seen);
  }
}

void collect_elements(const Op& op, std::set<uint32_t>& ids, std::unordered_set<Dim>& seen) {
  for (const auto& [name, value] : op.params.entries()) {
    if (const Dim* dim = std::get_if<Dim>(&value)) collect_elements(*dim, ids, seen);
    if (const auto* dims = std::get_if<std::vector<Dim>>(&value))
      for (Dim dim : *dims) collect_elements(dim, ids, seen);
  }
  for (const auto& region : op.regions) collect_elements(*region, ids, seen);
}

bool reads_any(const Region& body) {
  return std::ranges::any_of(body.ops, [](const Op& op) {
    return op.is(OpKind::ToHost) ||
           std::ranges::any_of(op.regions, [](const auto& region) { return reads_any(*region); });
  });
}

}  // namespace

std::set<uint32_t> elements_needed_by(const Op& op) {
  std::set<uint32_t> ids;
  std::unordered_set<Dim> seen;
  collect_elements(op, ids, seen);
  if (!op.is_control())
    for (const auto& result : op.results)
      for (Dim extent : result->type.shape) collect_elements(extent, ids, seen);
  return ids;
}

std::set<uint32_t> elements_spoken_of(const Module& module) {
  std::set<uint32_t> ids;
  std::unordered_set<Dim> seen;
  for (const auto& function : module.functions)
    if (reads_any(*function->body)) collect_elements(*function->body, ids, seen);
  for (const Check& check : module.checks) collect_elements(check.must_hold, ids, seen);
  return ids;
}

HostReads::HostReads(const Region& body) {
  std::map<uint32_t, const Op*> readers;
  for (const Op& op : body.ops)
    if (op.is(OpKind::ToHost)) readers[op.result()->id] = &op;
  if (readers.empty()) return;
  for (const Op& op : body.ops)
    for (uint32_t id : elements_needed_by(op))
      if (auto found = readers.find(id); found != readers.end() && found->second != &op)
        needed_by_[&op].push_back(found->second);
}

const std::vector<const Op*>& HostReads::needed_by(const Op& op) const {
  static const std::vector<const Op*> kNone;
  auto found = needed_by_.find(&op);
  return found == needed_by_.end() ? kNone : found->second;
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
  if (constant.elements() != 1) return std::nullopt;
  return module.constants.scalars_of(*id)[0];
}

std::optional<double> number_of(const Module& module, const Value* value) {
  auto scalar = splat_of(module, value);
  if (!scalar) return std::nullopt;
  return is_float(scalar->dtype) ? scalar->number : static_cast<double>(scalar->integer);
}

std::optional<ConstantId> constant_along(Module& module, const Value* value, int axis, int64_t extent) {
  if (auto splat = splat_of(module, value)) { return module.constants.add_splat(value->type.dtype, {extent}, *splat); }
  const Op* broadcast = producer_of_kind(value, OpKind::Broadcast);
  if (!broadcast) return std::nullopt;
  const Value* source = broadcast->operand(0);
  const std::vector<int64_t>& axes = broadcast->params.integers("axes");
  for (size_t i = 0; i < axes.size(); ++i) {  // every other axis has extent 1
    if (value_of(source->type.shape[i]) != (axes[i] == axis ? extent : 1)) return std::nullopt;
  }
  if (axes.empty()) return std::nullopt;
  while (source->producer && source->producer->is(OpKind::Reshape)) source = source->producer->operand(0);
  auto id = constant_of(source);
  if (!id || module.constants[*id].elements() != extent) return std::nullopt;
  if (module.constants[*id].shape == std::vector<int64_t>{extent}) return id;
  return module.constants.transformed(*id, {.kind = Transform::Kind::Reshape, .shape = {extent}});
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
