// Reductions of much to few results: a task has a part of the reduced elements, and a second kernel combines what the
// parts have found, always in their order.
//
// Example, sum of f32[16777216]:
//   task: part p of 256: found[p] = Σ x[65536 p … 65536 p + 65535]
//   thread t of 32: sum = found[t] + found[t + 32] + …    barrier    y = Σ sums
#pragma once

#include "passes/lower/reduction.h"

namespace lapidary::lowering::gpu {

// `count`: 1 where it never pays. `when`: 1 or 0, whether it does in a run; null: always.
struct ReductionParts {
  int count = 1;
  Dim when = nullptr;
};
// Of a reduction that takes `tasks` tasks as a whole, each of `length` elements; a part has `least` or more. As many as
// fill the device, where it is known that the tasks do not.
ReductionParts parts_of(Context&, Dim tasks, Dim length, int64_t least);

// Elements begin … end - 1 of as many for a part.
struct PartRange {
  loops::Expr begin, end;
};
PartRange range_of_part(KernelBuilder&, const loops::Expr& part, int count, Dim extent);

// Where the results of the group's reductions lie before they are whole: [part][kept axes], a scratch buffer each.
class FoundInParts {
 public:
  FoundInParts(KernelBuilder&, const ReductionPlan&, const IterationSpace&, const std::vector<int>& kept, bool written);
  loops::Expr place(const loops::Expr& part, const std::vector<loops::Expr>& index) const;
  const loops::Buffer& of(size_t reduction) const { return buffers_[reduction]; }

 private:
  KernelBuilder& builder_;
  const IterationSpace& space_;
  const std::vector<int>& kept_;
  std::vector<loops::Buffer> buffers_;
};

// Stores the group's results in `block`, given what the elements of its reductions combine to. `here`: where the kernel
// stands in the full space.
void store_totals(Block&, GroupEmitter&, const ReductionPlan&, const std::vector<loops::Buffer>& totals,
                  const std::function<Coords()>& here);

// `emit`: the kernel for so many parts. What they have found is combined `lanes` neighbours at a time.
LoweredGroup lower_in_parts(Context&, const Op& group, const ReductionPlan&, const IterationSpace&,
                            const std::vector<int>& kept, int lanes, const ReductionParts&,
                            const std::function<LoweredVariant(int parts, Dim when)>& emit);

}  // namespace lapidary::lowering::gpu
