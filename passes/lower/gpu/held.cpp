#include "passes/lower/gpu/held.h"

#include <algorithm>
#include <map>
#include <set>

namespace lapidary::lowering::gpu {

namespace {

bool is_elementwise(const Op& op) { return is_scalar_op(op.kind) || op.is(OpKind::Convert); }

class Search {
 public:
  Search(const Op& group, const ReductionPlan& plan) : region_(*group.regions[0]), plan_(plan) {}

  HeldValues run() {
    for (size_t pass = 0; pass <= plan_.passes.size(); ++pass) {
      for (const Value* root : roots(pass)) visit(root, pass);
    }
    HeldValues held;
    held.computed.resize(plan_.passes.size() + 1);
    for (const auto& argument : region_.arguments) add(argument.get(), held);
    for (const Op& op : region_.ops)
      for (const auto& result : op.results) add(result.get(), held);
    for (size_t pass = 0; pass < plan_.passes.size(); ++pass) {
      int alive = 0;
      for (const auto& [value, last] : last_)
        if (first_.at(value) <= pass && pass < last) alive += std::max(bit_width(value->type.dtype), 32);
      held.bits = std::max(held.bits, alive);
    }
    for (const auto& argument : region_.arguments)
      if (is_shared(*argument)) held.shared_bits += bit_width(argument->type.dtype);
    for (const Op& op : region_.ops)
      if (op.is(OpKind::Constant) && is_shared(*op.result())) held.shared_bits += bit_width(op.type().dtype);
    return held;
  }

 private:
  // By the rows, element by element.
  bool is_shared(const Value& value) const {
    const Shape& shape = value.type.shape;
    return !shape.empty() && shape != plan_.full.shape && value_of(shape.back()) != 1;
  }

  std::vector<const Value*> roots(size_t pass) const {
    std::vector<const Value*> result;
    if (pass < plan_.passes.size())
      for (const Op* op : plan_.passes[pass].reductions) result.push_back(op->operand(0));
    else
      for (uint32_t index : plan_.full_results) result.push_back(region_.results()[index]);
    return result;
  }

  // Of a row's own elements; what rows share is in the caches, what an element is made of costs nothing.
  bool holds(const Value* value) const {
    if (value->type.shape != plan_.full.shape || value->type.dtype == DType::Bool) return false;
    const Op* op = value->producer;
    return !op || !(op->is(OpKind::Broadcast) || op->is(OpKind::Constant) || op->is(OpKind::Iota) ||
                    op->is(OpKind::DimsTensor) || is_reduction_op(*op));
  }

  void visit(const Value* value, size_t pass) {
    if (!holds(value)) return;
    const auto [found, added] = first_.try_emplace(value, pass);
    if (found->second < pass) {
      last_[value] = pass;
      return;
    }
    if (!added || !value->producer || !is_elementwise(*value->producer)) return;
    for (const Value* operand : value->producer->operands) visit(operand, pass);
  }

  void add(const Value* value, HeldValues& held) const {
    if (last_.contains(value)) held.computed[first_.at(value)].push_back(value);
  }

  const Region& region_;
  const ReductionPlan& plan_;
  std::map<const Value*, size_t> first_, last_;  // the pass that computes it; the last that needs it again
};

}  // namespace

HeldValues held_values(const Op& group, const ReductionPlan& plan) { return Search(group, plan).run(); }

}  // namespace lapidary::lowering::gpu
