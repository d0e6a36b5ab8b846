// Postpone host reads: between two kernels the host can only do something when all threads have come back, so what it
// does (to_host, loops, ifs) is put off until no group is ready, and then all reads that are ready are done together.
// Ninety classes of a detector that are counted, read and selected one after the other become one region of kernels
// that counts, ninety reads, and one region that selects.
//
//   count a · read a · select a · count b · read b · select b   →   count a · count b · read a · read b · select a · …
//
// Groups keep their order among each other as far as definitions allow. Test: test/passes/postpone_host_reads/.
#include <algorithm>

#include "passes/graph/clusters.h"
#include "passes/graph/graph_passes.h"
#include "passes/graph/walk.h"

namespace lapidary::passes {

namespace {

int urgency(const Op& op) { return op.is_control() ? 2 : op.is(OpKind::ToHost) ? 1 : 0; }

}  // namespace

bool postpone_host_reads(Module& module, const Options&) {
  bool changed = false;
  for_each_body(module, [&](Region& body) {
    if (std::ranges::none_of(body.ops, [](const Op& op) { return op.is(OpKind::ToHost); })) return;
    sort_by_definition(body, urgency);
    changed = true;
  });
  return changed;
}

}  // namespace lapidary::passes
