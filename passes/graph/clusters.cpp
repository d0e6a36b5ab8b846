// See clusters.h. A group's operands are the values its members read from outside, each once, in the order first read;
// its results the members' values somebody outside reads. A result takes over the id of the member's value, so that
// Dims which name elements of that value keep their meaning.
#include "passes/graph/clusters.h"

#include <algorithm>
#include <functional>
#include <queue>
#include <tuple>
#include <unordered_set>

#include "ir/error.h"
#include "passes/graph/walk.h"

namespace lapidary::passes {

namespace {

using OpSet = std::unordered_set<const Op*>;

std::vector<Value*> values_read_from_outside(const Cluster& cluster, const OpSet& inside) {
  std::vector<Value*> outside;
  for (Op* member : cluster.members)
    for (Value* operand : member->operands) {
      bool defined_inside = operand->producer && inside.contains(operand->producer);
      if (!defined_inside && std::ranges::find(outside, operand) == outside.end()) outside.push_back(operand);
    }
  return outside;
}

std::vector<Value*> values_read_outside(const Cluster& cluster, const OpSet& inside) {
  std::vector<Value*> results;
  for (Op* member : cluster.members)
    for (auto& result : member->results)
      if (std::ranges::any_of(result->uses, [&](const Use& use) { return !inside.contains(use.op); }))
        results.push_back(result.get());
  return results;
}

std::vector<Type> types_of(const std::vector<Value*>& values) {
  std::vector<Type> types;
  for (Value* value : values) types.push_back(value->type);
  return types;
}

void redirect_outside_uses(Value* from, Value* to, const OpSet& inside) {
  std::vector<Use> uses = from->uses;
  for (const Use& use : uses)
    if (!inside.contains(use.op)) use.op->set_operand(use.operand, to);
}

void build_group(Module& module, Region& body, Cluster& cluster) {
  OpSet inside(cluster.members.begin(), cluster.members.end());
  std::vector<Value*> operands = values_read_from_outside(cluster, inside);
  std::vector<Value*> results = values_read_outside(cluster, inside);
  int64_t anchor = std::ranges::find(cluster.members, cluster.anchor) - cluster.members.begin();
  LPD_CHECK(anchor < static_cast<int64_t>(cluster.members.size()), "a group's anchor is not among its ops");

  Op& group = insert_op(module, body, std::next(cluster.members.back()->self), OpKind::Group, operands,
                        {{"family", cluster.family}, {"anchor", anchor}}, types_of(results), cluster.anchor->origin);
  auto region = std::make_unique<Region>();
  region->owner = &group;
  std::unordered_map<Value*, Value*> argument_of;
  for (Value* operand : operands) argument_of[operand] = add_argument(module, *region, operand->type);
  for (Op* member : cluster.members) {
    move_before(*member, *region, region->ops.end());
    for (uint32_t i = 0; i < member->operands.size(); ++i)
      if (auto argument = argument_of.find(member->operands[i]); argument != argument_of.end())
        member->set_operand(i, argument->second);
  }
  for (size_t i = 0; i < results.size(); ++i) {
    Value* outer = group.result(static_cast<int>(i));
    outer->elements = results[i]->elements;
    std::swap(outer->id, results[i]->id);
    redirect_outside_uses(results[i], outer, inside);
  }
  insert_op(module, *region, region->ops.end(), OpKind::Yield, results, {}, {}, cluster.anchor->origin);
  group.regions.push_back(std::move(region));
}

}  // namespace

std::unordered_map<const Op*, int> positions_of(const Region& body) {
  std::unordered_map<const Op*, int> positions;
  for (const Op& op : body.ops) positions.emplace(&op, static_cast<int>(positions.size()));
  return positions;
}

std::vector<int> phases_of(const Region& body) {
  const auto positions = positions_of(body);
  std::vector<int> phases;
  int begin = 0;  // of the phase
  for (const Op& op : body.ops) {
    const int at = static_cast<int>(phases.size());
    const bool waits = std::ranges::any_of(op.operands, [&](const Value* operand) {
      return operand->producer && positions.at(operand->producer) >= begin;
    });
    if (waits) begin = at;
    phases.push_back(at == 0 ? 0 : phases.back() + waits);
  }
  return phases;
}

void build_groups(Module& module, Region& body, std::vector<Cluster>& clusters) {
  auto positions = positions_of(body);
  for (Cluster& cluster : clusters)
    std::ranges::sort(cluster.members, {}, [&](const Op* op) { return positions.at(op); });
  std::ranges::sort(clusters, {}, [&](const Cluster& c) { return positions.at(c.members.back()); });
  for (Cluster& cluster : clusters) build_group(module, body, cluster);
  sort_by_definition(body);
}

void sort_by_definition(Region& body, int (*class_of)(const Op&)) {
  auto positions = positions_of(body);
  std::vector<Op*> ops;
  for (Op& op : body.ops) ops.push_back(&op);
  std::vector<int> waiting(ops.size(), 0);
  std::vector<std::vector<int>> readers(ops.size());
  const HostReads host_reads(body);
  auto comes_after = [&](const Op* op, const Op* producer) {
    ++waiting[positions.at(op)];
    readers[positions.at(producer)].push_back(positions.at(op));
  };
  for (Op* op : ops) {
    for (Value* operand : op->operands)
      if (operand->producer) comes_after(op, operand->producer);
    for (const Op* read : host_reads.needed_by(*op)) comes_after(op, read);
  }
  using Turn = std::tuple<int, int, int>;  // round, class, position
  std::priority_queue<Turn, std::vector<Turn>, std::greater<>> ready;
  int round = 0;
  auto get_ready = [&](int i) { ready.emplace(round, class_of ? class_of(*ops[i]) : 0, i); };
  for (size_t i = 0; i + 1 < ops.size(); ++i)
    if (waiting[i] == 0) get_ready(static_cast<int>(i));
  size_t placed = 1;  // the yield stays where it is
  for (; !ready.empty(); ++placed) {
    const auto [turn, kind, next] = ready.top();
    round = turn + (kind > 0);
    ready.pop();
    move_before(*ops[next], body, ops.back()->self);
    for (int reader : readers[next])
      if (--waiting[reader] == 0 && ops[reader] != ops.back()) get_ready(reader);
  }
  LPD_CHECK(placed == ops.size(), "the ops of a body depend on each other in a circle");
}

}  // namespace lapidary::passes
