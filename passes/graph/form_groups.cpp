// Form groups: partitions every body into Group ops, one kernel each (fusion_rules.h says what goes together).
//
//   %2 = conv %0, %1 …            %4 = group %0, %1 family="conv" anchor=0 {
//   %3 = relu %2            →       (%5, %6)  %2 = conv %5, %6 …  %3 = relu %2  yield %3 }
//
// Afterwards a body holds stored constants, groups and its yield, nothing else.
// Test: test/passes/form_groups.cpp.
#include "ir/graph_builder.h"
#include "passes/graph/clusters.h"
#include "passes/graph/fusion_rules.h"
#include "passes/graph/graph_passes.h"
#include "passes/graph/walk.h"

namespace lapidary::passes {

namespace {

// A result of a body is written by a kernel of its own: arguments, stored constants and values yielded twice get a
// copy, spelled as a reshape to the same shape.
void copy_yielded(Module& module, Region& body) {
  Op& yield = body.yield();
  for (uint32_t i = 0; i < yield.operands.size(); ++i) {
    Value* value = yield.operands[i];
    bool twice = std::find(yield.operands.begin(), yield.operands.begin() + i, value) != yield.operands.begin() + i;
    bool stored = value->producer && is_stored_constant(module, *value->producer);
    if (!twice && !stored && value->producer) continue;
    Op& copy = insert_op(module, body, yield.self, OpKind::Reshape, {value}, {{"shape", value->type.shape}}, {value->type}, 0);
    yield.set_operand(i, copy.result());
  }
}

// Each reader of a leaf gets its own, next to it; the yield keeps one.
void copy_leaves(Module& module, Region& body) {
  for (auto op = body.ops.begin(); op != body.ops.end(); ++op)
    for (uint32_t i = 0; i < op->operands.size() && !op->is(OpKind::Yield); ++i) {
      Value* value = op->operands[i];
      if (!value->producer || !is_leaf(module, *value->producer) || value->has_one_use()) continue;
      Op& copy = insert_op(module, body, op, value->producer->kind, {}, value->producer->params, {value->type}, op->origin);
      copy.result()->elements = value->elements;
      op->set_operand(i, copy.result());
    }
}

std::vector<Cluster> cluster(Module& module, Region& body) {
  std::vector<Cluster> clusters;
  for (Op& op : body.ops) {
    if (op.is(OpKind::Yield) || is_stored_constant(module, op)) continue;
    bool belongs_to_reader = is_leaf(module, op) && !op.result()->uses[0].op->is(OpKind::Yield);
    if (belongs_to_reader) continue;
    Cluster cluster{std::string(family_of(op)), &op, {&op}};
    for (Value* operand : op.operands)
      if (operand->producer && is_leaf(module, *operand->producer)) cluster.members.push_back(operand->producer);
    clusters.push_back(std::move(cluster));
  }
  return clusters;
}

}  // namespace

bool form_groups(Module& module, const Options& options) {
  drop_dead(module, options);
  for_each_body(module, [&](Region& body) {
    copy_yielded(module, body);
    copy_leaves(module, body);
    std::vector<Cluster> clusters = cluster(module, body);
    build_groups(module, body, clusters);
  });
  return true;
}

}  // namespace lapidary::passes
