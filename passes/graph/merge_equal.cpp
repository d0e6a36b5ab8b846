// Merge equal: common subexpressions. Two ops of one kind, with the same operands and parameters, are one; operands
// are compared after earlier ops were merged, so equal chains collapse in one walk. Ops with regions are left alone.
//
//   %2 = exp %1   %3 = exp %1   %4 = add %2, %3    →    %2 = exp %1   %4 = add %2, %2
//
// Test: test/passes/merge_equal/.
#include <functional>
#include <unordered_map>

#include "passes/graph/graph_passes.h"
#include "passes/graph/walk.h"

namespace lapidary::passes {

namespace {

template <typename T>
size_t hash_of(const T& value) {
  return std::hash<T>()(value);
}
template <typename T>
size_t hash_of(const std::vector<T>& values) {
  size_t key = values.size();
  for (const T& value : values) key = key * 31 + hash_of(value);
  return key;
}

// Equal keys are only candidates; `same` decides. Parameters are in it, since constants have nothing else.
size_t key_of(const Op& op) {
  size_t key = static_cast<size_t>(op.kind) * 1000003;
  for (const Value* operand : op.operands) key = key * 31 + operand->id;
  for (const auto& [name, value] : op.params.entries())
    key = key * 31 + std::visit([](const auto& held) { return hash_of(held); }, value);
  return key;
}

bool same(const Op& a, const Op& b) {
  return a.kind == b.kind && a.operands == b.operands && a.params == b.params && a.type() == b.type();
}

bool may_merge(const Op& op) {
  return op.regions.empty() && !op.is(OpKind::Yield) && op.results.size() == 1 && !names_dims(op.result());
}

}  // namespace

bool merge_equal(Module& module, const Options&) {
  bool changed = false;
  for_each_body(module, [&](Region& body) {
    std::unordered_multimap<size_t, Op*> seen;
    for (auto it = body.ops.begin(); it != body.ops.end();) {
      Op& op = *it++;
      if (!may_merge(op)) continue;
      auto [first, last] = seen.equal_range(key_of(op));
      auto equal = std::find_if(first, last, [&](const auto& entry) { return same(*entry.second, op); });
      if (equal == last) {
        seen.emplace(key_of(op), &op);
        continue;
      }
      op.result()->replace_all_uses(equal->second->result());
      erase_op(op);
      changed = true;
    }
  });
  return changed;
}

}  // namespace lapidary::passes
