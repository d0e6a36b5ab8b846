// Reductions over axes that are not the innermost, on a GPU: means of images whose channels come last, sums of columns.
// A block has some columns, up to 32 accesses of 16 bytes next to each other, and sums them as column_sums.h has it,
// over all reduced axes as one. Few columns are cut into parts (reduction_parts.h).
//
// Example, mean over [H, W] of [N, H, W, 64] in f16 with blocks of 256:  task: image
//   thread t: sum = Σ x[…, 8 (t mod 8)] over every 32nd pixel from t / 8 on, 8 channels at once
//   barrier
//   thread t < 8: y = Σ over the 32 rows / (H W)
#include "passes/lower/gpu/columns.h"

#include <algorithm>

#include "passes/lower/gpu/column_sums.h"
#include "passes/lower/gpu/reduction_parts.h"
#include "passes/lower/map_kernel.h"

namespace lapidary::lowering::gpu {

using namespace loops;

namespace {

constexpr int kThreads = 256, kAcross = 32;

int widest(const Op& group) {
  int bits = 8;
  for (const Value* operand : group.operands) bits = std::max(bits, bit_width(operand->type.dtype));
  return bits;
}

class ColumnEmitter {
 public:
  ColumnEmitter(Context& context, const Op& group, const ReductionPlan& plan, const IterationSpace& space, int parts)
      : builder_(context.module, context.target(), "columns"),
        plan_(plan),
        space_(space),
        emit_(builder_, group),
        parts_(parts),
        index_(space.axes.size(), integer(0)) {
    for (int axis : space.loops()) (plan.is_reduced(space, axis) ? reduced_ : kept_).push_back(axis);
    int& lanes = shape_.lanes;
    lanes = std::clamp(128 / widest(group), 1, 8);
    while (!known_multiple(extent(kept_.back()), lanes)) lanes /= 2;
    columns_ = builder_.module.dims.floordiv(extent(kept_.back()), builder_.dim(lanes));
    shape_.across = static_cast<int>(std::min<int64_t>(kAcross, lapidary::value_of(columns_).value_or(kAcross)));
    shape_.down = kThreads / shape_.across;
  }

  const std::vector<int>& kept() const { return kept_; }
  int lanes() const { return shape_.lanes; }
  Dim tasks() const { return builder_.module.dims.product(task_extents()); }
  // Elements of a column, and how few a part of it may have: some for each thread.
  Dim length() const { return builder_.module.dims.product(extents(reduced_)); }
  int64_t least() const { return int64_t{4} * ColumnSums::kInFlight * shape_.down; }

  LoweredVariant emit(Dim when) {
    std::vector<Dim> tasks = task_extents();
    tasks.insert(tasks.begin(), builder_.dim(parts_));
    std::vector<Expr> at_task = builder_.split_task(tasks);
    part_ = at_task[0];
    at_task.erase(at_task.begin());
    PartRange range{integer(0), builder_.parameter(length())};
    if (parts_ > 1) range = range_of_part(builder_, part_, parts_, length());
    for (size_t i = 0; i + 1 < kept_.size(); ++i) index_[kept_[i]] = at_task[i];
    first_column_ = builder_.body.let("column", mul(at_task.back(), integer(shape_.across)));
    ColumnSums(builder_, plan_.passes[0].reductions, shape_)
        .emit(
            {extents(reduced_), range.begin, range.end},
            [this](Block& block, const Expr& across) { return stand_at(block, across); },
            [this](Block& block, const std::vector<Expr>& place) { return elements(block, place); },
            [this](Block& block, const std::vector<Buffer>& totals) {
              parts_ > 1 ? store_found(block, totals) : store_results(block, totals);
            });
    return builder_.finish(builder_.module.dims.product(tasks), when);
  }

 private:
  std::vector<Dim> extents(const std::vector<int>& axes) const {
    std::vector<Dim> result;
    for (int axis : axes) result.push_back(extent(axis));
    return result;
  }
  std::vector<Dim> task_extents() const {
    std::vector<Dim> result = extents(kept_);
    DimPool& dims = builder_.module.dims;
    result.back() = dims.ceildiv(columns_, dims.constant(shape_.across));
    return result;
  }
  Dim extent(int axis) const { return space_.axes[axis].loop_extent; }

  Expr stand_at(Block& block, const Expr& across) {
    const Expr column = block.let("column", add(first_column_, across));
    index_[kept_.back()] = mul(column, integer(shape_.lanes));
    return known_multiple(columns_, shape_.across) ? nullptr : less(column, builder_.parameter(columns_));
  }

  Coords here() {
    return with_block_tail(emit_, plan_.full,
                           space_.coords(index_, shape_.lanes > 1 ? kept_.back() : -1, shape_.lanes));
  }

  std::vector<Expr> elements(Block& block, const std::vector<Expr>& place) {
    for (size_t i = 0; i < reduced_.size(); ++i) index_[reduced_[i]] = place[i];
    GroupEmitter::Scope scope(emit_, block);
    const Coords where = here();
    std::vector<Expr> result;
    for (const Op* op : plan_.passes[0].reductions)
      result.push_back(splat_to(emit_.value(op->operand(0), where), shape_.lanes));
    return result;
  }

  void store_found(Block& block, const std::vector<Buffer>& totals) {
    const FoundInParts found(builder_, plan_, space_, kept_, true);
    for (size_t i = 0; i < totals.size(); ++i)
      block.add(store(found.of(i), found.place(part_, index_), load(totals[i], integer(0), shape_.lanes)));
  }

  void store_results(Block& block, const std::vector<Buffer>& totals) {
    for (int axis : reduced_) index_[axis] = integer(0);
    store_totals(block, emit_, plan_, totals, [this] { return here(); });
  }

  KernelBuilder builder_;
  const ReductionPlan& plan_;
  const IterationSpace& space_;
  GroupEmitter emit_;
  const int parts_;
  Expr part_;
  std::vector<Expr> index_;
  std::vector<int> reduced_, kept_;
  ColumnSums::Shape shape_;
  Dim columns_ = nullptr;  // of `lanes` each
  Expr first_column_;      // of the block
};

}  // namespace

bool takes_columns(const ReductionPlan& plan, const IterationSpace& space) {
  const std::vector<int> loops = space.loops();
  const bool both_kinds = std::ranges::any_of(loops, [&](int axis) { return plan.is_reduced(space, axis); });
  return plan.passes.size() == 1 && plan.full_results.empty() && both_kinds && !plan.is_reduced(space, loops.back());
}

LoweredGroup lower_columns(Context& context, const Op& group, const ReductionPlan& plan, const IterationSpace& space) {
  const ColumnEmitter whole(context, group, plan, space, 1);
  const ReductionParts parts = parts_of(context, whole.tasks(), whole.length(), whole.least());
  return lower_in_parts(context, group, plan, space, whole.kept(), whole.lanes(), parts, [&](int count, Dim when) {
    return ColumnEmitter(context, group, plan, space, count).emit(when);
  });
}

}  // namespace lapidary::lowering::gpu
