// Order states: a state's new value is written over the old one, so its writer comes after all that read the old one,
// and reads it itself only where it writes, element by element. A writer that can wait goes behind the last reader;
// what cannot be written in place is written elsewhere, and copied at the end. No writer waits longer than that: what
// it reads, a gradient, is in the caches still, and its memory is free behind it.
//
//   w' = group w, g   …   y = group w, x   →   y = group w, x   w' = group w, g
//
// Test: test/passes/order_states/.
#include <algorithm>
#include <unordered_map>

#include "passes/graph/clusters.h"
#include "passes/graph/graph_passes.h"
#include "passes/graph/relayout.h"
#include "passes/graph/walk.h"

namespace lapidary::passes {

namespace {

struct Written {
  uint32_t result;  // of the function
  Value* value;
  Value* old;  // the argument; null where the function does not read it
};

std::vector<Written> written_states(const Function& function) {
  std::vector<Written> written;
  const auto& arguments = function.body->arguments;
  for (uint32_t i = 0; i < function.body->results().size(); ++i) {
    const int state = function.state_of_result(i);
    if (state < 0) continue;
    Value* old = nullptr;
    for (size_t k = 0; k < arguments.size(); ++k)
      if (function.state_of_argument(k) == state) old = arguments[k].get();
    written.push_back({i, function.body->results()[i], old});
  }
  return written;
}

// Is every element of the results that come of this value made of the same element of it, and stored with the others?
bool is_read_in_place(const Op& group, const Value* operand) {
  if (group.params.text("family") != "elementwise") return false;
  const Region& region = *group.regions[0];
  for (const auto& result : group.results)
    if (result->type.shape != operand->type.shape || !result->type.layout.dense()) return false;
  std::vector<const Value*> reached;
  for (size_t i = 0; i < group.operands.size(); ++i)
    if (group.operands[i] == operand) reached.push_back(region.arguments[i].get());
  for (size_t i = 0; i < reached.size(); ++i)
    for (const Use& use : reached[i]->uses) {
      if (use.op->is(OpKind::Yield)) continue;
      if (!is_scalar_op(use.op->kind) && !use.op->is(OpKind::Convert)) return false;
      if (std::ranges::find(reached, use.op->result()) == reached.end()) reached.push_back(use.op->result());
    }
  return true;
}

class Order {
 public:
  Order(Module& module, Function& function)
      : module_(module), body_(*function.body), written_(written_states(function)) {}

  bool run() {
    bool changed = false;
    for (size_t round = 0; round <= written_.size() && wait(); ++round) changed = true;
    for (const Written& state : written_) changed |= state.old && hurry(*state.value->producer);
    positions_ = positions_of(body_);
    for (const Written& state : written_) {
      if (!state.old || in_place(state)) continue;
      copy_at_end(state);
      changed = true;
    }
    return changed;
  }

 private:
  int last_reader(const Written& state) const {
    int last = -1;
    for (const Use& use : state.old->uses)
      if (use.op != state.value->producer && !use.op->is(OpKind::Yield)) last = std::max(last, positions_.at(use.op));
    return last;
  }

  // Puts writers off until after the last reader, where nothing else waits for them.
  bool wait() {
    bool moved = false;
    for (const Written& state : written_) {
      if (!state.old) continue;
      positions_ = positions_of(body_);
      Op& writer = *state.value->producer;
      const int last = last_reader(state);
      const bool waits_for_none = std::ranges::all_of(writer.results, [&](const auto& result) {
        return std::ranges::all_of(result->uses, [&](const Use& use) { return positions_.at(use.op) > last; });
      });
      if (last < positions_.at(&writer) || !waits_for_none) continue;
      move_before(writer, body_, std::next(body_.ops.begin(), last + 1));
      moved = true;
    }
    return moved;
  }

  // Puts a writer before the first op behind all it waits for that waits for one of those too: no kernel waits more.
  bool hurry(Op& writer) {
    positions_ = positions_of(body_);
    int ready = -1;
    for (const Value* operand : writer.operands)
      if (operand->producer) ready = std::max(ready, positions_.at(operand->producer));
    for (const Op* read : HostReads(body_).needed_by(writer)) ready = std::max(ready, positions_.at(read));
    for (const Written& state : written_)
      if (state.value->producer == &writer && state.old) ready = std::max(ready, last_reader(state));
    const std::vector<int> phases = phases_of(body_);
    const auto next = std::ranges::upper_bound(phases, ready < 0 ? -1 : phases[static_cast<size_t>(ready)]);
    const auto place = next - phases.begin();
    if (place >= positions_.at(&writer)) return false;
    move_before(writer, body_, std::next(body_.ops.begin(), place));
    return true;
  }

  bool in_place(const Written& state) const {
    const Op& writer = *state.value->producer;
    if (last_reader(state) > positions_.at(&writer)) return false;
    const bool reads = std::ranges::find(writer.operands, state.old) != writer.operands.end();
    return !reads || is_read_in_place(writer, state.old);
  }

  void copy_at_end(const Written& state) {
    Op& copy = copy_group(module_, state.value, body_.yield().self, state.value->producer->origin);
    body_.yield().set_operand(state.result, copy.result());
  }

  Module& module_;
  Region& body_;
  std::vector<Written> written_;
  std::unordered_map<const Op*, int> positions_;
};

}  // namespace

bool order_states(Module& module, const Options&) {
  bool changed = false;
  for (const auto& function : module.functions) changed |= Order(module, *function).run();
  return changed;
}

}  // namespace lapidary::passes
