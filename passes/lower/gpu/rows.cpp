// Reductions over contiguous axes on a GPU: a group of adjacent threads walks each row together, four neighbours at a
// time where the row divides, and combines what each has found; a warp for rows of up to kWarpRow elements, a whole
// block for longer ones. A block of warps has a row each. Passes are those of reduction_plan.h (softmax: maximum, sum,
// quotient); what a later pass needs again is computed again: it is in the caches.
//
// Example, softmax of [R, 1000] with blocks of 256:  task: rows 8 task + t / 32
//   thread t: m = max over x = 4 (t mod 32) step 128    combine m max 32
//   thread t: s = Σ exp(x - m)                          combine s add 32
//   thread t: y = exp(x - m) / s
#include "ir/error.h"
#include "passes/lower/gpu/columns.h"
#include "passes/lower/gpu/gpu.h"
#include "passes/lower/gpu/threads.h"
#include "passes/lower/iteration_space.h"
#include "passes/lower/op_loops.h"
#include "passes/lower/reduction.h"

namespace lapidary::lowering::gpu {

using namespace loops;

namespace {

constexpr int kThreads = 256, kWarp = 32, kLanes = 4;
constexpr int64_t kWarpRow = 2048;

class RowEmitter {
 public:
  RowEmitter(KernelBuilder& builder, const Op& group, const ReductionPlan& plan, const IterationSpace& space)
      : builder_(builder), plan_(plan), space_(space), emit_(builder, group), index_(space.axes.size()) {
    for (int axis : space.loops()) (plan.is_reduced(space, axis) ? reduced_ : kept_).push_back(axis);
    int64_t length = 1;
    for (int axis : reduced_) length *= guess(extent(axis));
    each_ = length > kWarpRow ? kThreads : kWarp;
    lanes_ = known_multiple(extent(reduced_.back()), kLanes) ? kLanes : 1;
  }

  LoweredStep emit() {
    builder_.threads = kThreads;
    for (const ReductionPlan::Pass& pass : plan_.passes) reduce(pass);
    if (!plan_.kept_results.empty()) store_kept();
    if (!plan_.full_results.empty()) store_full();
    DimPool& dims = builder_.module.dims;
    return single_step(builder_.finish(dims.ceildiv(dims.product(kept_extents()), builder_.dim(rows_of_block()))));
  }

 private:
  int rows_of_block() const { return kThreads / each_; }
  Dim extent(int axis) const { return space_.axes[axis].loop_extent; }
  std::vector<Dim> kept_extents() const {
    std::vector<Dim> extents;
    for (int axis : kept_) extents.push_back(extent(axis));
    return extents;
  }

  // A Thread loop whose body stands at the thread's own row.
  void threads(const std::function<void(Block&)>& body) {
    for_each_thread(builder_, [&](Block& own, const Expr& thread) {
      lane_ = mod(thread, integer(each_));
      Expr row = add(mul(variable(builder_.task()), integer(rows_of_block())), floordiv(thread, integer(each_)));
      row = own.let("row", row);
      Block rest;
      {
        GroupEmitter::Scope scope(emit_, rest);
        const std::vector<Expr> parts = split_index(builder_, rest, row, kept_extents());
        for (size_t i = 0; i < kept_.size(); ++i) index_[kept_[i]] = parts[i];
        for (int axis : reduced_) index_[axis] = integer(0);
        body(rest);
      }
      if (rows_of_block() == 1) {
        own.add(block(rest.take()));
      } else {
        const Dim rows = builder_.module.dims.product(kept_extents());
        own.add(if_then(less(row, builder_.parameter(rows)), rest.take()));
      }
    });
  }

  // Loops over the thread's part of the row.
  void walk(Block& outer, size_t loop, const std::function<void(Block&)>& body) {
    const int axis = reduced_[loop];
    const bool last = loop + 1 == reduced_.size();
    const Expr begin = last ? mul(lane_, integer(lanes_)) : integer(0);
    const Var var = make_var("x", {}, 0, INT64_MAX / 4, last ? lanes_ : 1);
    index_[axis] = variable(var);
    Block inner;
    if (last)
      body(inner);
    else
      walk(inner, loop + 1, body);
    outer.add(for_loop(var, begin, builder_.parameter(extent(axis)), last ? int64_t{each_} * lanes_ : 1,
                       LoopKind::Serial, inner.take()));
  }

  Coords here() { return space_.coords(index_, reduced_.back(), lanes_); }
  Coords kept_here() {
    for (int axis : reduced_) index_[axis] = integer(0);
    return plan_.kept(space_.coords(index_, -1, 1));
  }

  void reduce(const ReductionPlan::Pass& pass) {
    std::vector<Buffer> totals;
    for (const Op* op : pass.reductions)
      totals.push_back(builder_.body.fragment("total", identity_of(op->kind, op->type().dtype)->type.dtype, 1));
    for (size_t i = 0; i < totals.size(); ++i) start(*pass.reductions[i], totals[i]);
    threads([&](Block& outer) {
      std::vector<Buffer> sums;
      for (const Op* op : pass.reductions) {
        const Expr identity = identity_of(op->kind, op->type().dtype);
        sums.push_back(outer.local("sum", {identity->type.dtype, static_cast<uint16_t>(lanes_)}, 1));
        outer.add(store(sums.back(), integer(0), splat_to(identity, lanes_)));
      }
      walk(outer, 0, [&](Block& inner) {
        GroupEmitter::Scope scope(emit_, inner);
        for (size_t i = 0; i < sums.size(); ++i) {
          const Op& op = *pass.reductions[i];
          const Expr element = emit_.value(op.operand(0), here());
          inner.add(store(sums[i], integer(0), apply(combining_op(op.kind), {load(sums[i], integer(0)), element})));
        }
      });
      for (size_t i = 0; i < sums.size(); ++i)
        outer.add(store(totals[i], integer(0),
                        loops::reduce(combining_op(pass.reductions[i]->kind), load(sums[i], integer(0)))));
    });
    for (size_t i = 0; i < totals.size(); ++i) {
      const Op& op = *pass.reductions[i];
      builder_.body.add(combine(totals[i], combining_op(op.kind), each_));
      emit_.bind(op.result(), [this, &op, total = totals[i]](const Coords&) {
        return finished_reduction(builder_, plan_, op, load(total, integer(0)));
      });
    }
  }

  // Threads whose row there is not take part in the combination all the same.
  void start(const Op& op, const Buffer& total) {
    if (rows_of_block() == 1) return;
    for_each_thread(builder_, [&](Block& own, const Expr&) {
      own.add(store(total, integer(0), identity_of(op.kind, op.type().dtype)));
    });
  }

  void store_kept() {
    threads([&](Block& own) {
      Block first;
      {
        GroupEmitter::Scope scope(emit_, first);
        for (uint32_t result : plan_.kept_results) store_located(emit_, plan_, result, kept_here(), false);
      }
      own.add(if_then(equal(lane_, integer(0)), first.take()));
    });
  }

  void store_full() {
    threads([&](Block& own) {
      walk(own, 0, [&](Block& inner) {
        GroupEmitter::Scope scope(emit_, inner);
        for (uint32_t result : plan_.full_results) store_located(emit_, plan_, result, here(), true);
      });
    });
  }

  KernelBuilder& builder_;
  const ReductionPlan& plan_;
  const IterationSpace& space_;
  GroupEmitter emit_;
  std::vector<Expr> index_;
  std::vector<int> reduced_, kept_;
  int each_ = kWarp, lanes_ = 1;  // threads of a row; neighbours a thread takes at once
  Expr lane_;                     // of the thread within its row
};

}  // namespace

LoweredGroup lower_reduction(Context& context, const Op& group) {
  const auto plan = plan_reductions(context.module.dims, group);
  if (!plan) return lower_plain(context, group);
  const IterationSpace space = reduction_space(context, group, *plan);
  if (takes_columns(*plan, space)) {
    LoweredGroup lowered;
    lowered.steps.push_back(column_step(context, group, *plan, space));
    return lowered;
  }
  const std::vector<int> loops = space.loops();
  if (loops.empty() || !plan->is_reduced(space, loops.back()) || plan->full.layout.blocked_axis >= 0)
    return lowering::lower_reduction(context, group);
  KernelBuilder builder(context.module, context.target(), "row");
  LoweredGroup lowered;
  lowered.steps.push_back(RowEmitter(builder, group, *plan, space).emit());
  return lowered;
}

}  // namespace lapidary::lowering::gpu
