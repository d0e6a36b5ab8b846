// Recompute: where more bytes are live at once than the memory budget allows, a value that waits there for readers far
// behind is made again for those. (Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016: but step by step
// from the peak, always what frees most for the least work.)
//
//   %1 = group %0   …peak…   … = group %1, …   →   %1 = group %0   …peak…   %2 = group %0   … = group %2, …
//
// What is made again is made by the same groups, so results are the same to the bit. Inputs, weights and states do not
// count: they are there anyway, and so are results, which are the caller's.
//
// Test: test/passes/recompute/, test/train/memory_budget.py.
#include <algorithm>
#include <unordered_map>

#include "ir/error.h"
#include "ir/layout.h"
#include "passes/graph/clusters.h"
#include "passes/graph/graph_passes.h"
#include "passes/graph/walk.h"
#include "passes/lower/work.h"

namespace lapidary::passes {

namespace {

constexpr size_t kMostGroups = 64;     // made again for one value
constexpr int64_t kFlopsOfAByte = 4;   // what moving a byte takes of a machine's time, in flops
constexpr int64_t kMostWorkAgain = 2;  // times all that is done once

// What making a value again for its readers behind the peak would take.
struct Remake {
  Value* value = nullptr;
  std::vector<Op*> groups;   // in their order
  std::vector<Value*> kept;  // operands of those, that must live until then
  int before = 0;            // the first reader's place
  int64_t bytes = 0, work = 0;
};

class Recomputation {
 public:
  Recomputation(Module& module, Region& body, int64_t budget) : module_(module), body_(body), budget_(budget) {}

  bool run() {
    bool changed = false;
    index();
    int64_t left = kMostWorkAgain * total_work();
    while (peak_bytes() > budget_) {
      const std::optional<Remake> best = best_remake(left);
      if (!best) break;
      left -= best->work;
      apply(*best);
      index();
      changed = true;
    }
    return changed;
  }

 private:
  int64_t number(Dim dim) const {
    const auto value = value_of(dim);
    if (!value) throw Error(Fault::Usage, "--memory-budget needs the model's extents: give them with --shape");
    return *value;
  }

  // 0: not of the arena.
  int64_t bytes_of(const Value* value) const {
    const bool is_result = std::ranges::any_of(value->uses, [](const Use& use) { return use.op->is(OpKind::Yield); });
    if (!value->producer || value->producer->is(OpKind::Constant) || is_result || !is_tensor(value)) return 0;
    return number(physical_bytes(module_.dims, value->type));
  }
  static bool is_tensor(const Value* value) { return value->type.kind == Type::Kind::Tensor; }

  int64_t work_of(const Op& group) {
    const auto found = work_.find(&group);
    if (found != work_.end()) return found->second;
    const int64_t work =
        number(lowering::flops_of(module_, group)) + kFlopsOfAByte * number(lowering::bytes_of(module_, group));
    return work_[&group] = work;
  }

  int64_t total_work() {
    int64_t total = 0;
    for (const Op* op : order_)
      if (op->is(OpKind::Group)) total += work_of(*op);
    return total;
  }

  int last_use(const Value* value) const {
    int last = value->producer ? place_.at(value->producer) : -1;
    for (const Use& use : value->uses) last = std::max(last, place_.at(use.op));
    return last;
  }

  void index() {
    place_ = positions_of(body_);
    order_.clear();
    for (Op& op : body_.ops) order_.push_back(&op);
    std::vector<int64_t> change(order_.size() + 1, 0);
    for (size_t at = 0; at < order_.size(); ++at)
      for (const auto& result : order_[at]->results) {
        const int64_t bytes = bytes_of(result.get());
        change[at] += bytes;
        change[static_cast<size_t>(last_use(result.get())) + 1] -= bytes;
      }
    live_.assign(order_.size(), 0);
    int64_t live = 0;
    for (size_t at = 0; at < order_.size(); ++at) live_[at] = live += change[at];
    peak_ = static_cast<int>(std::ranges::max_element(live_) - live_.begin());
  }

  int64_t peak_bytes() const { return live_.empty() ? 0 : live_[static_cast<size_t>(peak_)]; }

  // Adds what makes the value, in the order of the body; false: too much, or it cannot be made again.
  bool collect(Value* value, Remake& remake) {
    Op* group = value->producer;
    if (!group->is(OpKind::Group) || names_dims(value)) return false;
    if (std::ranges::find(remake.groups, group) != remake.groups.end()) return true;
    if (remake.groups.size() == kMostGroups) return false;
    for (Value* operand : group->operands) {
      if (!operand->producer || operand->producer->is(OpKind::Constant) || last_use(operand) >= remake.before) continue;
      if (last_use(operand) > peak_)
        remake.kept.push_back(operand);
      else if (!collect(operand, remake))
        return false;
    }
    remake.groups.push_back(group);
    remake.work += work_of(*group);
    return true;
  }

  // Would any place have as much as the peak has now?
  bool moves_the_peak(const Remake& remake) const {
    int64_t at_once = live_[static_cast<size_t>(remake.before)];
    for (const Op* group : remake.groups)
      for (const auto& result : group->results)
        if (result.get() != remake.value) at_once += bytes_of(result.get());
    for (const Value* kept : remake.kept) {
      const int64_t bytes = bytes_of(kept);
      for (int at = last_use(kept) + 1; at < remake.before; ++at)
        if (live_[static_cast<size_t>(at)] + bytes >= peak_bytes()) return true;
      at_once += bytes;
    }
    return at_once >= peak_bytes();
  }

  std::optional<Remake> remake_of(Value* value) {
    Remake remake{.value = value, .before = static_cast<int>(order_.size())};
    for (const Use& use : value->uses) {
      const int at = place_.at(use.op);
      if (at == peak_) return std::nullopt;
      if (at > peak_) remake.before = std::min(remake.before, at);
    }
    remake.bytes = bytes_of(value);
    if (remake.before == static_cast<int>(order_.size()) || remake.bytes == 0) return std::nullopt;
    if (!collect(value, remake) || moves_the_peak(remake)) return std::nullopt;
    return remake;
  }

  std::optional<Remake> best_remake(int64_t most_work) {
    std::optional<Remake> best;
    const auto per_work = [](const Remake& remake) {
      return static_cast<double>(remake.bytes) / static_cast<double>(std::max<int64_t>(remake.work, 1));
    };
    for (int at = 0; at < peak_; ++at)
      for (const auto& result : order_[static_cast<size_t>(at)]->results) {
        if (last_use(result.get()) <= peak_) continue;
        std::optional<Remake> remake = remake_of(result.get());
        if (remake && remake->work <= most_work && (!best || per_work(*remake) > per_work(*best)))
          best = std::move(remake);
      }
    return best;
  }

  void apply(const Remake& remake) {
    Op& reader = *order_[static_cast<size_t>(remake.before)];
    std::unordered_map<const Value*, Value*> again;
    for (Op* group : remake.groups) {
      std::vector<Value*> operands;
      for (Value* operand : group->operands) operands.push_back(again.contains(operand) ? again.at(operand) : operand);
      Op& copy = clone_op(module_, *group, operands, body_, reader.self);
      for (size_t i = 0; i < copy.results.size(); ++i) again[group->results[i].get()] = copy.results[i].get();
    }
    for (const Use& use : std::vector(remake.value->uses))
      if (place_.contains(use.op) && place_.at(use.op) > peak_)
        use.op->set_operand(use.operand, again.at(remake.value));
  }

  Module& module_;
  Region& body_;
  const int64_t budget_;
  std::vector<Op*> order_;
  std::unordered_map<const Op*, int> place_;
  std::unordered_map<const Op*, int64_t> work_;
  std::vector<int64_t> live_;  // bytes, while each op of the order runs
  int peak_ = 0;               // where they are most
};

}  // namespace

bool recompute(Module& module, const Options& options) {
  bool changed = false;
  if (options.memory_budget <= 0) return changed;
  for (const auto& function : module.functions)
    changed |= Recomputation(module, *function->body, options.memory_budget).run();
  return changed;
}

}  // namespace lapidary::passes
