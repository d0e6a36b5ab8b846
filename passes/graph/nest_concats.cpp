// Nest concats: a concat that begins with all the parts of an earlier one begins with that one instead, so that
// place_concats can lay the chain of a dense block, where each layer reads all before it, out as one buffer.
//
//   %4 = concat %1, %2   %5 = concat %1, %2, %3    →    %4 = concat %1, %2   %5 = concat %4, %3
//
// Test: test/passes/nest_concats/.
#include <algorithm>
#include <unordered_set>

#include "passes/graph/graph_passes.h"
#include "passes/graph/walk.h"

namespace lapidary::passes {

namespace {

constexpr size_t kMaxCandidates = 256;  // looked at for one concat

bool begins_with(const Op& concat, const Op& other) {
  return other.operands.size() < concat.operands.size() && other.operands.size() > 1 && other.params == concat.params &&
         std::equal(other.operands.begin(), other.operands.end(), concat.operands.begin());
}

// The earlier concat that takes in most of this one's parts.
Op* longest_beginning(const Op& concat, const std::unordered_set<const Op*>& earlier) {
  const auto& uses = concat.operand(0)->uses;
  Op* longest = nullptr;
  for (size_t i = uses.size() - std::min(uses.size(), kMaxCandidates); i < uses.size(); ++i) {
    Op* other = uses[i].op;
    if (uses[i].operand != 0 || !earlier.contains(other) || !begins_with(concat, *other)) continue;
    if (!longest || other->operands.size() > longest->operands.size()) longest = other;
  }
  return longest;
}

}  // namespace

bool nest_concats(Module& module, const Options&) {
  bool changed = false;
  for_each_body(module, [&](Region& body) {
    std::unordered_set<const Op*> earlier;
    std::vector<std::pair<Op*, Op*>> nestings;
    for (Op& op : body.ops) {
      if (!op.is(OpKind::Concat)) continue;
      if (Op* beginning = longest_beginning(op, earlier)) nestings.push_back({&op, beginning});
      earlier.insert(&op);
    }
    for (auto nesting = nestings.rbegin(); nesting != nestings.rend();
         ++nesting) {  // the last first: its beginning is still whole
      auto [op, beginning] = *nesting;
      for (size_t i = beginning->operands.size(); i-- > 1;) op->erase_operand(static_cast<uint32_t>(i));
      op->set_operand(0, beginning->result());
      changed = true;
    }
  });
  return changed;
}

}  // namespace lapidary::passes
