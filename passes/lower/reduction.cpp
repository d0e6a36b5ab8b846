// Reductions with elementwise ops before, between and after them: softmax, normalisations, pooling over whole images.
//
// One task is one position of the kept axes. Where the reduced axes are contiguous, lanes run along them and are
// summed at the end ("rows": softmax over the last axis); where a kept axis is, a task takes as many neighbours as
// there are lanes and the reduced axes are plain loops ("columns": the mean over H and W of [N, C/16, H, W, 16]).
// Either way four accumulators take turns, since one would wait for its own last addition. The order of additions
// depends on the extents alone, never on threads.
// Test: test/passes/lower_reduction_test.cpp.
#include "passes/lower/reduction.h"

#include "ir/error.h"
#include "ir/layout.h"
#include "passes/lower/map_kernel.h"
#include "passes/lower/op_loops.h"
#include "passes/lower/work.h"

namespace lapidary::lowering {

using namespace loops;

namespace {

// Accumulators of a reduction, taken in turn: they hide the latency of an addition. Two where the maths beside them
// needs the registers.
int accumulators_for(const Target& target, const Op& group) {
  return target.vector_registers < 32 && vector_instructions(*group.regions[0]) > 20 ? 2 : 4;
}

// What all passes of one task share.
class ReductionEmitter {
 public:
  ReductionEmitter(KernelBuilder& builder, const Op& group, const ReductionPlan& plan, const IterationSpace& space)
      : builder_(builder),
        plan_(plan),
        space_(space),
        emit_(builder, group),
        index_(space.axes.size()),
        accumulators_(accumulators_for(builder.target, group)) {
    for (int axis : space.loops()) (plan.is_reduced(space, axis) ? reduced_loops_ : kept_loops_).push_back(axis);
    const std::vector<int> loops = space.loops();
    lane_axis_ = loops.empty() ? -1 : loops.back();
    lanes_ = loops.empty() ? 1 : builder.target.f32_lanes();
    rows_ = !reduced_loops_.empty() && lane_axis_ == reduced_loops_.back();
  }

  LoweredStep emit() {
    place_task();
    Block& body = builder_.body;
    GroupEmitter::Scope scope(emit_, body);
    for (size_t pass = 0; pass < plan_.passes.size(); ++pass) reduce(body, pass);
    store_kept(body);
    if (!plan_.full_results.empty()) store_full(body);
    LoweredStep step = single_step(builder_.finish(builder_.module.dims.product(task_extents_)));
    step.grain = grain_for(task_elements());
    step.serial = task_extents_.empty();
    return step;
  }

 private:
  Dim extent(int axis) const { return space_.axes[axis].loop_extent; }

  int64_t task_elements() const {
    int64_t elements = rows_ ? 1 : lanes_;
    for (int axis : reduced_loops_) elements *= guess(extent(axis));
    return elements;
  }

  // Takes the task index apart; in columns the last kept axis goes by vectors.
  void place_task() {
    DimPool& dims = builder_.module.dims;
    for (int axis : kept_loops_) {
      const bool by_lanes = !rows_ && axis == lane_axis_;
      task_extents_.push_back(by_lanes ? dims.ceildiv(extent(axis), builder_.dim(lanes_)) : extent(axis));
    }
    const std::vector<Expr> parts = builder_.split_task(task_extents_);
    for (size_t i = 0; i < parts.size(); ++i) index_[kept_loops_[i]] = parts[i];
    if (rows_ || lane_axis_ < 0) return;
    Expr begin = mul(index_[lane_axis_], integer(lanes_));
    index_[lane_axis_] = begin;
    if (!known_multiple(extent(lane_axis_), lanes_))
      column_mask_ = builder_.body.let("mask", first_lanes(sub(builder_.parameter(extent(lane_axis_)), begin), lanes_));
  }

  Coords here(int lanes, const Expr& mask) {
    Coords coords = space_.coords(index_, rows_ && lanes == 1 ? -1 : lane_axis_, lanes);
    coords.mask = rows_ ? mask : column_mask_;
    return with_block_tail(emit_, plan_.full, std::move(coords));
  }

  // Where the kept axes stand: one lane in rows, a vector in columns.
  Coords kept_here() {
    for (int axis : reduced_loops_) index_[axis] = integer(0);
    return plan_.kept(here(rows_ ? 1 : lanes_, nullptr));
  }

  // --- loops over the reduced axes -----------------------------------------------------------------------------
  // `body` gets the block, which accumulator, and the mask; index_ stands at the position.
  using Body = std::function<void(Block&, int, const Expr&)>;

  void walk(Block& outer, int accumulators, const Body& body) {
    if (reduced_loops_.empty()) return body(outer, 0, nullptr);
    walk_from(outer, 0, accumulators, body);
  }

  void walk_from(Block& outer, size_t loop, int accumulators, const Body& body) {
    const int axis = reduced_loops_[loop];
    if (loop + 1 == reduced_loops_.size()) return walk_last(outer, axis, accumulators, body);
    Var var = make_var("r", {}, 0, INT64_MAX / 4);
    index_[axis] = variable(var);
    Block inner;
    walk_from(inner, loop + 1, accumulators, body);
    outer.add(for_loop(var, integer(0), builder_.parameter(extent(axis)), 1, LoopKind::Serial, inner.take()));
  }

  // Steps of several units, then of one, then a tail of lanes; a unit is a vector in rows, an element in columns.
  void walk_last(Block& outer, int axis, int accumulators, const Body& body) {
    const int unit = rows_ ? lanes_ : 1;
    Dim length = extent(axis);
    const auto known = value_of(length);
    Expr end = known && *known <= 2 * accumulators_ * unit ? integer(*known) : builder_.parameter(length);
    Expr done = integer(0);
    const auto section = [&](Block& block, int count, const Expr& begin, const Expr& stop) {
      Var var = make_var("x", {}, 0, INT64_MAX / 4, unit);
      Block inner;
      for (int i = 0; i < count; ++i) at(inner, axis, add(variable(var), integer(i * unit)), i, nullptr, body);
      block.add(for_loop(var, begin, stop, count * unit, LoopKind::Serial, inner.take()));
    };
    const auto whole = [&](int step) { return outer.let("whole", mul(floordiv(end, integer(step)), integer(step))); };
    if (accumulators > 1 && (!known || *known >= accumulators * unit)) {
      Expr stop = whole(accumulators * unit);
      section(outer, accumulators, integer(0), stop);
      done = stop;
    }
    const bool even = known_multiple(length, unit);
    if (!known || (*known / unit) % std::max(accumulators, 1) != 0 || accumulators == 1) {
      Expr stop = even ? end : whole(unit);
      if (!known || *known >= unit) section(outer, 1, done, stop);
      done = stop;
    }
    if (even) return;
    Block rest;
    Expr mask = rest.let("mask", first_lanes(sub(end, done), lanes_));
    at(rest, axis, done, 0, mask, body);
    outer.add(if_then(less(done, end), rest.take()));
  }

  void at(Block& block, int axis, const Expr& position, int accumulator, const Expr& mask, const Body& body) {
    index_[axis] = position;
    body(block, accumulator, mask);
  }

  // --- passes --------------------------------------------------------------------------------------------------
  void reduce(Block& body, size_t pass_index) {
    const ReductionPlan::Pass& pass = plan_.passes[pass_index];
    std::vector<Buffer> accumulators;
    for (const Op* op : pass.reductions) {
      const Expr start = identity_of(op->kind, op->type().dtype);
      accumulators.push_back(body.local("acc", {start->type.dtype, static_cast<uint16_t>(lanes_)}, accumulators_));
      for (int i = 0; i < accumulators_; ++i) body.add(store(accumulators.back(), integer(i), splat_to(start, lanes_)));
    }
    walk(body, accumulators_, [&](Block& block, int slot, const Expr& mask) {
      GroupEmitter::Scope scope(emit_, block);
      const Coords coords = here(lanes_, mask);
      for (const Value* value : pass.staged) compute_staged(block, value, coords);
      for (size_t i = 0; i < pass.reductions.size(); ++i)
        accumulate(block, *pass.reductions[i], accumulators[i], slot, coords);
    });
    for (const Value* value : pass.staged) bind_staged(value);
    for (size_t i = 0; i < pass.reductions.size(); ++i) finish(body, *pass.reductions[i], accumulators[i]);
  }

  void accumulate(Block& block, const Op& op, const Buffer& accumulator, int slot, const Coords& coords) {
    Expr element = emit_.value(op.operand(0), coords);
    if (coords.mask && rows_)
      element = select(coords.mask, element, splat_to(identity_of(op.kind, op.type().dtype), lanes_));
    Expr sum = load(accumulator, integer(slot));
    block.add(store(accumulator, integer(slot), apply(combining_op(op.kind), {sum, element})));
  }

  // Pairs of accumulators, pairs of those, then over the lanes of a row, pairwise.
  void finish(Block& body, const Op& op, const Buffer& accumulator) {
    const ScalarOp combine = combining_op(op.kind);
    const std::function<Expr(int, int)> sum_of = [&](int first, int count) {
      if (count == 1) return load(accumulator, integer(first));
      return apply(combine, {sum_of(first, count / 2), sum_of(first + count / 2, count / 2)});
    };
    Expr total = sum_of(0, accumulators_);
    if (rows_ && lanes_ > 1) total = loops::reduce(combine, total);
    total = body.let("total", finished_reduction(builder_, plan_, op, total));
    emit_.bind(op.result(), [total](const Coords&) { return total; });
  }

  // --- stages --------------------------------------------------------------------------------------------------
  // Row-major position among the reduced axes; in columns a vector for each.
  Expr stage_index() {
    Expr position = integer(0);
    for (int axis : reduced_loops_) position = add(mul(position, builder_.parameter(extent(axis))), index_[axis]);
    return rows_ ? position : mul(position, integer(lanes_));
  }

  void compute_staged(Block& block, const Value* value, const Coords& coords) {
    DimPool& dims = builder_.module.dims;
    emit_.unbind(value);  // from the vector before
    Expr computed = block.let("kept", emit_.value(value, coords));
    Dim elements = builder_.dim(rows_ ? 1 : lanes_);
    for (int axis : reduced_loops_) elements = dims.mul(elements, extent(axis));
    auto [stage, added] = stages_.try_emplace(value, nullptr);
    if (added) stage->second = builder_.stage("row", computed->type.dtype, elements);
    block.add(store(stage->second, stage_index(), computed, rows_ ? coords.mask : nullptr));
    emit_.bind(value, [computed](const Coords&) { return computed; });
  }

  void bind_staged(const Value* value) {
    const Buffer stage = stages_.at(value);
    emit_.bind(value, [this, stage](const Coords& coords) {
      return load(stage, stage_index(), lanes_, rows_ ? coords.mask : nullptr);
    });
  }

  // --- results -------------------------------------------------------------------------------------------------
  void store_kept(Block& body) {
    for (uint32_t result : plan_.kept_results) {
      GroupEmitter::Scope scope(emit_, body);
      store_located(emit_, plan_, result, kept_here(), false);
    }
  }

  void store_full(Block& body) {
    walk(body, 1, [&](Block& block, int, const Expr& mask) {
      GroupEmitter::Scope scope(emit_, block);
      const Coords coords = here(lanes_, mask);
      for (uint32_t result : plan_.full_results) store_located(emit_, plan_, result, coords, true);
    });
  }

  KernelBuilder& builder_;
  const ReductionPlan& plan_;
  const IterationSpace& space_;
  GroupEmitter emit_;
  std::vector<Expr> index_;
  const int accumulators_;
  std::vector<int> reduced_loops_, kept_loops_;
  std::vector<Dim> task_extents_;
  int lane_axis_ = -1, lanes_ = 1;
  bool rows_ = false;
  Expr column_mask_;
  std::map<const Value*, Buffer> stages_;
};

// Everything the kernel will evaluate, once.
void dry_run(GroupEmitter& emit, const ReductionPlan& plan, const Coords& given) {
  const Coords coords = with_block_tail(emit, plan.full, given);
  for (const ReductionPlan::Pass& pass : plan.passes)
    for (const Op* op : pass.reductions) {
      emit.value(op->operand(0), coords);
      const Expr any = identity_of(op->kind, op->type().dtype);
      emit.bind(op->result(), [any](const Coords&) { return any; });
    }
  for (uint32_t result : plan.full_results) store_located(emit, plan, result, coords, true);
  for (uint32_t result : plan.kept_results) store_located(emit, plan, result, plan.kept(coords), false);
}

}  // namespace

IterationSpace reduction_space(Context& context, const Op& group, const ReductionPlan& plan) {
  IterationSpace space = space_of(context.module.dims, plan.full);
  fit_space(
      space, context.module, context.target(), group,
      [&](GroupEmitter& emit, const Coords& coords) { dry_run(emit, plan, coords); }, plan.reduced);
  return space;
}

LoweredGroup lower_reduction(Context& context, const Op& group) {
  const auto plan = plan_reductions(context.module.dims, group);
  if (!plan) return lower_plain(context, group);
  const IterationSpace space = reduction_space(context, group, *plan);
  KernelBuilder builder(context.module, context.target(), "reduction");
  LoweredGroup lowered;
  lowered.steps.push_back(ReductionEmitter(builder, group, *plan, space).emit());
  return lowered;
}

}  // namespace lapidary::lowering
