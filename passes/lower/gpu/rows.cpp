// Reductions over contiguous axes on a GPU: a group of adjacent threads, from one to a block, takes each row together,
// a packet of neighbours each (packets.h), and combines what each has found. Passes are those of reduction_plan.h
// (softmax: maximum, sum, quotient).
//
// Rows of a known length that the threads' registers can keep are read once, and what a pass has computed the next ones
// have (held.h): so many elements a thread at most, and so more threads for longer rows. Of others what a later pass
// needs is computed again: it is in the caches; a warp has rows of up to kWarpRow elements, a block longer ones.
//
// Example, softmax of f32 [R, 1000] by warps, in blocks of four:  task: rows 4 task + t / 32
//   thread t: m = max over c < 8 of h[c] = x[4 (t mod 32) + 128 c]    combine m max 32
//   thread t: s = Σ h[c] = exp(h[c] - m)                              combine s add 32
//   thread t: y = h[c] / s
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>

#include "ir/error.h"
#include "passes/lower/gpu/columns.h"
#include "passes/lower/gpu/flat_walk.h"
#include "passes/lower/gpu/gpu.h"
#include "passes/lower/gpu/held.h"
#include "passes/lower/gpu/packets.h"
#include "passes/lower/gpu/reduction_parts.h"
#include "passes/lower/gpu/threads.h"
#include "passes/lower/iteration_space.h"
#include "passes/lower/op_loops.h"
#include "passes/lower/reduction.h"

namespace lapidary::lowering::gpu {

using namespace loops;

namespace {

constexpr int kThreads = 128, kWarp = 32, kMostThreads = 512;
constexpr int64_t kWarpRow = 1024;
constexpr int kInFlight = 4;  // packets that a thread has asked for before it sums, where nothing else needs registers
// Elements of a thread, as long as a warp has no more; registers of those it holds, and with all that come with them.
constexpr int64_t kHeldInWarp = 16, kHeldBits = 32 * 32, kRegisterBits = 72 * 32;

// How a row is shared out.
struct RowShape {
  int each = kWarp, lanes = 1;  // threads; neighbours a thread takes at once
  int64_t chunks = 0;           // packets that a thread holds; 0: it walks over the row
  bool exact = false;           // all threads hold that many
  int threads = kThreads;       // of the block

  std::string text() const { return fmt::format("each={} lanes={} chunks={}", each, lanes, chunks); }
};

int64_t divide_up(int64_t x, int64_t y) { return (x + y - 1) / y; }

RowShape shape_of(const Op& group, int64_t guessed, std::optional<int64_t> length, Dim innermost,
                  const HeldValues& held) {
  RowShape shape;
  shape.lanes = packet_lanes(group, innermost);
  if (length && *length > 0) {
    shape.each = 1;
    const auto chunks = [&] { return divide_up(*length, int64_t{shape.each} * shape.lanes); };
    const int64_t bits = std::max(held.bits, 32);
    const int64_t most = std::min(kHeldBits / bits, kRegisterBits / (bits + held.shared_bits));
    const int64_t most_in_warp = std::min(most, kHeldInWarp);
    while (shape.each < kWarp && chunks() > 1 && chunks() * shape.lanes > most_in_warp) shape.each *= 2;
    while (shape.each < kMostThreads && chunks() > 1 && chunks() * shape.lanes > most) shape.each *= 2;
    shape.threads = std::max(kThreads, shape.each);
    if (chunks() * shape.lanes <= std::max<int64_t>(most, shape.lanes)) {
      shape.chunks = chunks();
      shape.exact = *length % (int64_t{shape.each} * shape.lanes) == 0;
      return shape;
    }
  }
  shape.each = guessed > kWarpRow ? 2 * kThreads : kWarp;
  shape.threads = std::max(kThreads, shape.each);
  return shape;
}

class RowEmitter {
 public:
  RowEmitter(KernelBuilder& builder, const Op& group, const ReductionPlan& plan, const IterationSpace& space, int parts)
      : builder_(builder),
        plan_(plan),
        space_(space),
        emit_(builder, group),
        parts_(parts),
        index_(space.axes.size()),
        held_(held_values(group, plan)) {
    for (int axis : space.loops()) (plan.is_reduced(space, axis) ? reduced_ : kept_).push_back(axis);
    int64_t length = 1;
    for (int axis : reduced_) length *= guess(extent(axis));
    const auto known = reduced_.size() == 1 ? value_of(extent(reduced_[0])) : std::nullopt;
    shape_ = shape_of(group, length, known, extent(reduced_.back()), held_);
  }

  const std::vector<int>& kept() const { return kept_; }
  // One pass that a thread walks over, of which nothing but the results is kept.
  bool can_be_cut() const { return shape_.chunks == 0 && plan_.passes.size() == 1 && plan_.full_results.empty(); }
  Dim tasks() const {
    DimPool& dims = builder_.module.dims;
    return dims.ceildiv(dims.product(kept_extents()), dims.constant(rows_of_block()));
  }
  // Packets of a row, and how few a part of it may have: some for each thread.
  Dim length() const { return builder_.module.dims.product(packets_of_row()); }
  int64_t least() const { return int64_t{8} * shape_.each; }

  LoweredVariant emit(Dim when) {
    builder_.threads = shape_.threads;
    const std::vector<Dim> extents = {builder_.dim(parts_), tasks()};
    const std::vector<Expr> at_task = builder_.split_task(extents);
    part_ = at_task[0], rows_ = at_task[1];
    if (shape_.chunks == 0) range_ = range_of_task();
    for (size_t pass = 0; pass < plan_.passes.size(); ++pass) reduce(pass);
    if (!plan_.kept_results.empty()) store_kept();
    if (!plan_.full_results.empty()) store_full();
    LoweredVariant variant = builder_.finish(builder_.module.dims.product(extents), when);
    variant.kernel.schedule = shape_.text();
    return variant;
  }

 private:
  int rows_of_block() const { return shape_.threads / shape_.each; }
  Dim extent(int axis) const { return space_.axes[axis].loop_extent; }
  std::vector<Dim> kept_extents() const {
    std::vector<Dim> extents;
    for (int axis : kept_) extents.push_back(extent(axis));
    return extents;
  }

  std::vector<Dim> packets_of_row() const {
    std::vector<Dim> extents;
    for (int axis : reduced_) extents.push_back(extent(axis));
    extents.back() = builder_.module.dims.floordiv(extents.back(), builder_.dim(shape_.lanes));
    return extents;
  }

  FlatRange range_of_task() {
    if (parts_ == 1) return {packets_of_row(), integer(0), builder_.parameter(length())};
    const PartRange part = range_of_part(builder_, part_, parts_, length());
    return {packets_of_row(), part.begin, part.end};
  }

  // A Thread loop whose body stands at the thread's own row. Threads beyond the last row read that one, as what they
  // combine must not depend on a condition, in which registers would be alive twice; they do not store.
  enum class Beyond { ReadsLast, DoesNothing };
  void threads(Beyond beyond, const std::function<void(Block&)>& body) {
    for_each_thread(builder_, [&](Block& own, const Expr& thread) {
      const Dim rows = builder_.module.dims.product(kept_extents());
      const bool whole = known_multiple(rows, rows_of_block());
      lane_ = mod(thread, integer(shape_.each));
      Expr row = add(mul(rows_, integer(rows_of_block())), floordiv(thread, integer(shape_.each)));
      if (!whole && beyond == Beyond::ReadsLast) row = min(row, sub(builder_.parameter(rows), integer(1)));
      row = own.let("row", row);
      Block rest;
      {
        GroupEmitter::Scope scope(emit_, rest);
        const std::vector<Expr> parts = split_index(builder_, rest, row, kept_extents());
        for (size_t i = 0; i < kept_.size(); ++i) index_[kept_[i]] = parts[i];
        for (int axis : reduced_) index_[axis] = integer(0);
        body(rest);
      }
      if (whole || beyond == Beyond::ReadsLast)
        own.add(block(rest.take()));
      else
        own.add(if_then(less(row, builder_.parameter(rows)), rest.take()));
    });
  }

  // Loops over the thread's part of the row.
  void walk(Block& outer, Beyond beyond, const std::function<void(Block&, int sum)>& body) {
    if (shape_.chunks > 0)
      walk_held(outer, beyond, [&](Block& inner) { body(inner, 0); });
    else
      walk_all(outer, body);
  }
  int sums_of_thread() const { return can_be_cut() ? kInFlight : 1; }

  // Threads beyond the end of the row read its last packet, which counts for nothing (`counts_`).
  void walk_held(Block& outer, Beyond beyond, const std::function<void(Block&)>& body) {
    const Var chunk = make_var("c", {}, 0, shape_.chunks - 1);
    chunk_ = variable(chunk);
    Block inner;
    const Expr x = inner.let(
        "x", add(mul(lane_, integer(shape_.lanes)), mul(chunk_, integer(int64_t{shape_.each} * shape_.lanes))));
    index_[reduced_[0]] = x;
    if (shape_.exact) {
      body(inner);
    } else {
      const Expr length = builder_.literal(extent(reduced_[0]));
      if (beyond == Beyond::ReadsLast) {
        counts_ = inner.let("counts", less(x, length));
        index_[reduced_[0]] = inner.let("place", min(x, sub(length, integer(shape_.lanes))));
        body(inner);
      } else {
        Block inside;
        body(inside);
        inner.add(if_then(less(x, length), inside.take()));
      }
    }
    outer.add(for_loop(chunk, integer(0), integer(shape_.chunks), 1, LoopKind::Unrolled, inner.take()));
  }

  // Packets along all reduced axes as one.
  void walk_all(Block& outer, const std::function<void(Block&, int sum)>& body) {
    const FlatTurns turns{.thread = lane_, .threads = shape_.each, .at_once = sums_of_thread()};
    walk_flat(builder_, outer, range_, turns, [&](Block& inner, int sum, const std::vector<Expr>& place) {
      for (size_t i = 0; i < reduced_.size(); ++i) index_[reduced_[i]] = place[i];
      index_[reduced_.back()] = mul(place.back(), integer(shape_.lanes));
      body(inner, sum);
    });
  }

  Coords here() { return space_.coords(index_, reduced_.back(), shape_.lanes); }
  Coords kept_here() {
    for (int axis : reduced_) index_[axis] = integer(0);
    return plan_.kept(space_.coords(index_, -1, 1));
  }

  void reduce(size_t pass_index) {
    const ReductionPlan::Pass& pass = plan_.passes[pass_index];
    std::vector<Buffer> totals;
    if (shape_.chunks > 0)
      for (const Value* value : held_.computed[pass_index])
        fragments_[value] =
            builder_.body.fragment("held", compute_dtype(value->type.dtype), shape_.chunks * shape_.lanes);
    for (const Op* op : pass.reductions) totals.push_back(builder_.body.fragment("total", combined_type(*op), 1));
    threads(Beyond::ReadsLast, [&](Block& outer) {
      std::vector<Buffer> sums;
      for (const Op* op : pass.reductions) {
        const Expr identity = identity_of(op->kind, op->type().dtype);
        const loops::ExprType type = {identity->type.dtype, static_cast<uint16_t>(shape_.lanes)};
        sums.push_back(outer.local("sum", type, sums_of_thread()));
        for (int sum = 0; sum < sums_of_thread(); ++sum)
          outer.add(store(sums.back(), integer(sum), splat_to(identity, shape_.lanes)));
      }
      walk(outer, Beyond::ReadsLast, [&](Block& inner, int sum) {
        GroupEmitter::Scope scope(emit_, inner);
        if (shape_.chunks > 0)
          for (const Value* value : held_.computed[pass_index]) compute_held(inner, value);
        for (size_t i = 0; i < sums.size(); ++i) {
          const Op& op = *pass.reductions[i];
          Expr element = emit_.value(op.operand(0), here());
          if (counts_) {
            const Expr identity = splat_to(identity_of(op.kind, op.type().dtype), shape_.lanes);
            element = select(splat_to(counts_, shape_.lanes), element, identity);
          }
          inner.add(store(sums[i], integer(sum), apply(combining_op(op.kind), {load(sums[i], integer(sum)), element})));
        }
      });
      for (size_t i = 0; i < sums.size(); ++i) {
        const ScalarOp combining = combining_op(pass.reductions[i]->kind);
        Expr all = load(sums[i], integer(0));
        for (int sum = 1; sum < sums_of_thread(); ++sum) all = apply(combining, {all, load(sums[i], integer(sum))});
        outer.add(store(totals[i], integer(0), loops::reduce(combining, all)));
      }
    });
    if (shape_.chunks > 0)
      for (const Value* value : held_.computed[pass_index]) bind_held(value);
    totals_ = totals;
    for (size_t i = 0; i < totals.size(); ++i) {
      const Op& op = *pass.reductions[i];
      builder_.body.add(combine(totals[i], combining_op(op.kind), shape_.each));
      emit_.bind(op.result(), [this, &op, total = totals[i]](const Coords&) {
        return finished_reduction(builder_, plan_, op, load(total, integer(0)));
      });
    }
  }

  Expr place_in_fragment() const { return mul(chunk_, integer(shape_.lanes)); }

  void compute_held(Block& block, const Value* value) {
    const Expr computed = block.let("held", emit_.value(value, here()));
    block.add(store(fragments_.at(value), place_in_fragment(), computed));
    bind_here(value, [computed] { return computed; });
  }

  void bind_held(const Value* value) {
    bind_here(value, [this, value] { return load(fragments_.at(value), place_in_fragment(), shape_.lanes); });
  }

  // Elsewhere in the row it is computed: it may be needed at moved coordinates, too.
  void bind_here(const Value* value, const std::function<Expr()>& held) {
    emit_.bind(value, [this, value, held](const Coords& coords) {
      if (same_coords(coords, here())) return held();
      const std::function<Expr()> kept = held;
      RowEmitter* self = this;
      const Value* moved = value;
      emit_.unbind(moved);
      Expr elsewhere = self->emit_.value(moved, coords);
      self->bind_here(moved, kept);
      return elsewhere;
    });
  }

  void store_kept() {
    threads(Beyond::DoesNothing, [&](Block& own) {
      Block first;
      {
        GroupEmitter::Scope scope(emit_, first);
        if (parts_ > 1)
          store_found(first);
        else
          for (uint32_t result : plan_.kept_results) store_located(emit_, plan_, result, kept_here(), false);
      }
      own.add(if_then(equal(lane_, integer(0)), first.take()));
    });
  }

  void store_found(Block& block) {
    const FoundInParts found(builder_, plan_, space_, kept_, true);
    for (size_t i = 0; i < totals_.size(); ++i)
      block.add(store(found.of(i), found.place(part_, index_), load(totals_[i], integer(0))));
  }

  void store_full() {
    threads(Beyond::DoesNothing, [&](Block& own) {
      walk(own, Beyond::DoesNothing, [&](Block& inner, int) {
        GroupEmitter::Scope scope(emit_, inner);
        for (uint32_t result : plan_.full_results) store_located(emit_, plan_, result, here(), true);
      });
    });
  }

  KernelBuilder& builder_;
  const ReductionPlan& plan_;
  const IterationSpace& space_;
  GroupEmitter emit_;
  const int parts_;
  FlatRange range_;             // of the task, in packets
  Expr part_, rows_;            // of the task; its block of rows
  std::vector<Buffer> totals_;  // of the last pass
  std::vector<Expr> index_;
  std::vector<int> reduced_, kept_;
  const HeldValues held_;
  std::map<const Value*, Buffer> fragments_;
  RowShape shape_;
  Expr lane_, chunk_;  // of the thread within its row; of what it holds
  Expr counts_;        // is what it holds of the row? null: always
};

// Is a block of channels partly beyond their end?
bool has_block_tail(const Type& type) {
  const Layout& layout = type.layout;
  return layout.blocked_axis >= 0 && !known_multiple(type.shape[layout.blocked_axis], layout.block);
}

}  // namespace

LoweredGroup lower_reduction(Context& context, const Op& group) {
  const auto plan = plan_reductions(context.module.dims, group);
  if (!plan) return lower_plain(context, group);
  const IterationSpace space = reduction_space(context, group, *plan);
  if (takes_columns(*plan, space)) return lower_columns(context, group, *plan, space);
  const std::vector<int> loops = space.loops();
  if (loops.empty() || !plan->is_reduced(space, loops.back()) || has_block_tail(plan->full))
    return lowering::lower_reduction(context, group);
  const auto emit = [&](int parts, Dim when) {
    KernelBuilder builder(context.module, context.target(), "row");
    return RowEmitter(builder, group, *plan, space, parts).emit(when);
  };
  KernelBuilder builder(context.module, context.target(), "row");
  const RowEmitter whole(builder, group, *plan, space, 1);
  const ReductionParts parts =
      whole.can_be_cut() ? parts_of(context, whole.tasks(), whole.length(), whole.least()) : ReductionParts{};
  return lower_in_parts(context, group, *plan, space, whole.kept(), 1, parts, emit);
}

}  // namespace lapidary::lowering::gpu
