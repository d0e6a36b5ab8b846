// Reductions over axes that are not the innermost, on a GPU: means of images whose channels come last, sums of columns.
// A block has some columns, up to 32 accesses of 16 bytes next to each other; each of its rows of threads sums every
// so-manieth element of them, and what the rows have found is combined in shared memory, always in the same order.
//
// Example, mean over [H, W] of [N, H, W, 64] in f16 with blocks of 256:  task: image
//   thread t: sum = Σ x[…, 8 (t mod 8)] over every 32nd pixel from t / 8 on, 8 channels at once
//   barrier
//   thread t < 8: y = Σ over the 32 rows / (H W)
#include "passes/lower/gpu/columns.h"

#include <fmt/format.h>

#include <algorithm>

#include "passes/lower/gpu/reduction_parts.h"
#include "passes/lower/gpu/threads.h"
#include "passes/lower/map_kernel.h"
#include "passes/lower/op_loops.h"

namespace lapidary::lowering::gpu {

using namespace loops;

namespace {

constexpr int kThreads = 256, kAcross = 32;
constexpr int kInFlight = 4;  // loads that a thread has asked for before it sums

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
    lanes_ = std::clamp(128 / widest(group), 1, 8);
    while (!known_multiple(extent(kept_.back()), lanes_)) lanes_ /= 2;
    columns_ = builder_.module.dims.floordiv(extent(kept_.back()), builder_.dim(lanes_));
    across_ = static_cast<int>(std::min<int64_t>(kAcross, lapidary::value_of(columns_).value_or(kAcross)));
    down_ = kThreads / across_;
  }

  const std::vector<int>& kept() const { return kept_; }
  int lanes() const { return lanes_; }
  Dim tasks() const { return builder_.module.dims.product(task_extents()); }
  // Elements of a column along the axis that is cut into parts, and how few a part may have: some for each thread.
  Dim length() const { return extent(cut_axis()); }
  int64_t least() const { return int64_t{4} * kInFlight * down_; }

  LoweredVariant emit(Dim when) {
    builder_.threads = kThreads;
    std::vector<Dim> extents = task_extents();
    extents.insert(extents.begin(), builder_.dim(parts_));
    std::vector<Expr> parts = builder_.split_task(extents);
    part_ = parts[0];
    parts.erase(parts.begin());
    if (parts_ > 1) range_ = range_of_part(builder_, part_, parts_, length(), 1);
    for (size_t i = 0; i + 1 < kept_.size(); ++i) index_[kept_[i]] = parts[i];
    first_column_ = builder_.body.let("column", mul(parts.back(), integer(across_)));
    const std::vector<const Op*>& reductions = plan_.passes[0].reductions;
    for (const Op* op : reductions) {
      const DType dtype = identity_of(op->kind, op->type().dtype)->type.dtype;
      shared_.push_back(builder_.body.shared("sums", dtype, int64_t{across_} * down_ * lanes_));
    }
    for_each_thread(builder_, [&](Block& own, const Expr& thread) { gather(own, thread); });
    builder_.body.add(barrier());
    for_each_thread(builder_, [&](Block& own, const Expr& thread) { finish(own, thread); });
    return builder_.finish(builder_.module.dims.product(extents), when);
  }

 private:
  std::vector<Dim> task_extents() const {
    std::vector<Dim> extents;
    for (int axis : kept_) extents.push_back(extent(axis));
    DimPool& dims = builder_.module.dims;
    extents.back() = dims.ceildiv(columns_, dims.constant(across_));
    return extents;
  }
  int cut_axis() const {
    return *std::ranges::max_element(reduced_, {}, [&](int axis) { return guess(extent(axis)); });
  }
  Dim extent(int axis) const { return space_.axes[axis].loop_extent; }
  int64_t place(int row) const { return int64_t{row} * across_ * lanes_; }

  // Where the thread's column is; null when all of them are there.
  Expr stand_at(Block& block, const Expr& across) {
    const Expr column = block.let("column", add(first_column_, across));
    index_[kept_.back()] = mul(column, integer(lanes_));
    return known_multiple(columns_, across_) ? nullptr : less(column, builder_.parameter(columns_));
  }

  Coords here() {
    return with_block_tail(emit_, plan_.full, space_.coords(index_, lanes_ > 1 ? kept_.back() : -1, lanes_));
  }

  void gather(Block& own, const Expr& thread) {
    const Expr across = own.let("across", mod(thread, integer(across_))),
               row = own.let("row", floordiv(thread, integer(across_)));
    Block inner;
    Expr guard = stand_at(own, across);
    if (across_ * down_ != kThreads) guard = both(guard, less(row, integer(down_)));
    std::vector<Buffer> sums;
    const std::vector<const Op*>& reductions = plan_.passes[0].reductions;
    for (const Op* op : reductions) {
      const Expr identity = identity_of(op->kind, op->type().dtype);
      sums.push_back(inner.local("sum", {identity->type.dtype, static_cast<uint16_t>(lanes_)}, kInFlight));
      for (int i = 0; i < kInFlight; ++i) inner.add(store(sums.back(), integer(i), splat_to(identity, lanes_)));
    }
    walk(inner, 0, row, sums);
    for (size_t i = 0; i < sums.size(); ++i) {
      Expr sum = load(sums[i], integer(0), lanes_);
      for (int part = 1; part < kInFlight; ++part)
        sum = apply(combining_op(reductions[i]->kind), {sum, load(sums[i], integer(part), lanes_)});
      const Expr place = mul(add(mul(row, integer(across_)), across), integer(lanes_));
      inner.add(store(shared_[i], place, sum));
    }
    own.add(guard ? if_then(guard, inner.take()) : block(inner.take()));
  }

  // Loops over the reduced axes; of the last one every down_-th element.
  void walk(Block& outer, size_t loop, const Expr& row, const std::vector<Buffer>& sums) {
    const int axis = reduced_[loop];
    const bool is_cut = parts_ > 1 && axis == cut_axis();
    const Expr begin = is_cut ? range_.begin : integer(0), end = is_cut ? range_.end : builder_.parameter(extent(axis));
    if (loop + 1 < reduced_.size()) {
      const Var var = make_var("r", {}, 0, INT64_MAX / 4);
      index_[axis] = variable(var);
      Block inner;
      walk(inner, loop + 1, row, sums);
      outer.add(for_loop(var, begin, end, 1, LoopKind::Serial, inner.take()));
      return;
    }
    const int64_t step = int64_t{kInFlight} * down_;
    const Expr first = outer.let("first", add(begin, row));
    const Expr rest = outer.let("rest", add(mul(floordiv(sub(end, begin), integer(step)), integer(step)), first));
    const auto loop_of = [&](const Expr& start, const Expr& stop, int each) {
      const Var var = make_var("x", {}, 0, INT64_MAX / 4);
      Block inner;
      for (int i = 0; i < each; ++i) {
        index_[axis] = add(variable(var), integer(int64_t{i} * down_));
        add_here(inner, sums, i);
      }
      outer.add(for_loop(var, start, stop, int64_t{each} * down_, LoopKind::Serial, inner.take()));
    };
    loop_of(first, rest, kInFlight);
    loop_of(rest, end, 1);
  }

  void add_here(Block& block, const std::vector<Buffer>& sums, int slot) {
    GroupEmitter::Scope scope(emit_, block);
    const std::vector<const Op*>& reductions = plan_.passes[0].reductions;
    const Coords where = here();
    for (size_t i = 0; i < sums.size(); ++i) {
      const Op& op = *reductions[i];
      const Expr element = splat_to(emit_.value(op.operand(0), where), lanes_);
      block.add(
          store(sums[i], integer(slot), apply(combining_op(op.kind), {load(sums[i], integer(slot), lanes_), element})));
    }
  }

  void finish(Block& own, const Expr& thread) {
    const std::vector<const Op*>& reductions = plan_.passes[0].reductions;
    Block inner;
    const Expr guard = both(less(thread, integer(across_)), stand_at(own, thread));
    std::vector<Buffer> totals;
    for (size_t i = 0; i < reductions.size(); ++i) {
      const Op& op = *reductions[i];
      const Buffer total = inner.local("total", {shared_[i]->element.dtype, static_cast<uint16_t>(lanes_)}, 1);
      const Expr column = mul(thread, integer(lanes_));
      inner.add(store(total, integer(0), load(shared_[i], column, lanes_)));
      const Var row = make_var("row", {}, 1, down_ - 1);
      const Expr other = load(shared_[i], add(mul(variable(row), integer(place(1))), column), lanes_);
      if (down_ > 1)
        inner.add(for_loop(
            row, integer(1), integer(down_), 1, LoopKind::Serial,
            {store(total, integer(0), apply(combining_op(op.kind), {load(total, integer(0), lanes_), other}))}));
      totals.push_back(total);
    }
    if (parts_ > 1)
      store_found(inner, totals);
    else
      store_results(inner, totals);
    own.add(if_then(guard, inner.take()));
  }

  void store_found(Block& block, const std::vector<Buffer>& totals) {
    const FoundInParts found(builder_, plan_, space_, kept_, true);
    for (size_t i = 0; i < totals.size(); ++i)
      block.add(store(found.of(i), found.place(part_, index_), load(totals[i], integer(0), lanes_)));
  }

  void store_results(Block& block, const std::vector<Buffer>& totals) {
    for (size_t i = 0; i < totals.size(); ++i) {
      const Op& op = *plan_.passes[0].reductions[i];
      emit_.bind(op.result(), [this, &op, total = totals[i]](const Coords&) {
        return finished_reduction(builder_, plan_, op, load(total, integer(0), lanes_));
      });
    }
    Block results;
    {
      GroupEmitter::Scope scope(emit_, results);
      for (int axis : reduced_) index_[axis] = integer(0);
      const Coords where = plan_.kept(here());
      for (uint32_t result : plan_.kept_results) store_located(emit_, plan_, result, where, false);
    }
    for (Stmt& statement : results.take()) block.add(std::move(statement));
  }

  KernelBuilder builder_;
  const ReductionPlan& plan_;
  const IterationSpace& space_;
  GroupEmitter emit_;
  const int parts_;
  PartRange range_;  // of the axis that is cut into them
  Expr part_;
  std::vector<Expr> index_;
  std::vector<int> reduced_, kept_;
  int lanes_ = 1, across_ = 1, down_ = 1;  // neighbours a thread takes at once; threads of a row; rows of threads
  Dim columns_ = nullptr;                  // of lanes_ each
  Expr first_column_;                      // of the block
  std::vector<Buffer> shared_;             // of each reduction
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
