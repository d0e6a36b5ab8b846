// Drop dead: erases ops no result of which is read. No op has an effect beside its results, so whatever the yield does
// not reach goes, but for to_host ops whose elements Dims speak of; unread results of composites stay until their last
// reader's op goes. Test: test/passes/drop_dead/.
#include <algorithm>

#include "passes/graph/graph_passes.h"
#include "passes/graph/walk.h"

namespace lapidary::passes {

namespace {

bool is_dead(const Op& op, const std::set<uint32_t>& spoken_of) {
  if (op.is(OpKind::ToHost) && spoken_of.contains(op.result()->id)) return false;
  return !op.is(OpKind::Yield) &&
         std::ranges::all_of(op.results, [](const auto& result) { return result->uses.empty(); });
}

}  // namespace

bool drop_dead(Module& module, const Options&) {
  bool changed = false;
  const std::set<uint32_t> spoken_of = elements_spoken_of(module);
  for_each_body(module, [&](Region& body) {
    for (auto op = body.ops.end(); op != body.ops.begin();) {
      --op;
      if (!is_dead(*op, spoken_of)) continue;
      auto next = std::next(op);
      erase_op(*op);
      op = next;
      changed = true;
    }
  });
  return changed;
}

}  // namespace lapidary::passes
