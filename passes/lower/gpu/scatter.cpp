// Updates put into a tensor at indices, on a GPU: those of one element in their order, so that sums have the same bits
// in every run, of f32 those of a CPU. Sums of narrower floats are rounded once a run where the CPU's are at every
// update.
//
//   ordered  the updates of a line are sorted by where they go, each by counting those that come before it; then the
//            first of those that go to one place takes all of them, a thread for each packet of columns
//   lines    a thread for each line goes over its updates: few of them, or lines that fill the device
//
// A line is what has indices of its own: all of the tensor, or what lies along the indexed axis. Counting compares each
// update with each, so of many a run of up to kMostOfRun is sorted by itself, and the runs are put into the tensor one
// after the other, each in a round of the step: some 2 ns an update and 5 us a round, as reckoned, not measured.
//
// Example, updates [U, 768] summed into [D, 768] at indices [U]:
//   places   task t: place[t] = index, or -1 where it is out of range
//   order    a warp for four t, over all s: less = #{place[s] < place[t]}, before = #{s < t: equal}, equal = #{equal}
//            order[less + before] = t, first[t] = less, count[t] = before ? 0 : equal
//   ordered  task (t, c), count[t] > 0, columns 4 c ..:
//            y[place[t]] = x[place[t]] + updates[order[first[t]]] + updates[order[first[t] + 1]] + …
#include "passes/lower/scatter.h"

#include <fmt/format.h>

#include <array>
#include <functional>

#include "passes/lower/gpu/gpu.h"
#include "passes/lower/gpu/packets.h"
#include "passes/lower/gpu/threads.h"
#include "passes/lower/register_tile.h"

namespace lapidary::lowering::gpu {

using namespace loops;

namespace {

constexpr int kThreads = 256, kWarp = 32;
constexpr int kAtOnce = 8;   // numbers, and updates, that a thread asks for before it needs the first
constexpr int kTargets = 4;  // updates that a warp counts for
constexpr int64_t kOfBlock = kThreads / kWarp * kTargets;
constexpr int64_t kFewUpdates = 16;  // of a line: no more than that are done soon enough by one thread
constexpr int64_t kManyLines = 4096;
constexpr int64_t kMostOfRun = 8192;

enum Scratch : uint32_t { kPlaces, kOrder, kFirst, kCounts };

Expr number(int64_t value, DType dtype = DType::I32) { return constant(Scalar::of_integer(dtype, value)); }
Expr both_hold(const Expr& a, const Expr& b) { return apply(ScalarOp::And, {a, b}); }
Expr index_of(const Expr& loaded) { return convert(loaded, DType::I64); }

class ScatterLowering {
 public:
  ScatterLowering(Context& context, const Op& group)
      : context_(context),
        dims_(context.module.dims),
        group_(group),
        op_(anchor_of(group)),
        updates_(op_.operand(2)->type.shape),
        axis_(static_cast<size_t>(op_.params.integer("axis"))),
        elements_(op_.params.integer("elements") != 0),
        reduction_(op_.params.text("reduction")),
        combine_(parse_scalar_op(reduction_)),
        updates_of_line_(updates_[axis_]),
        runs_(dims_.ceildiv(updates_of_line_, dims_.constant(kMostOfRun))),
        run_(dims_.ceildiv(updates_of_line_, dims_.max(runs_, dims_.constant(1)))),
        beside_(updates_) {
    beside_[axis_] = dims_.constant(1);
    lines_ = elements_ ? dims_.product(beside_) : dims_.constant(1);
    const auto extent = lapidary::value_of(op_.type().shape[axis_]);
    place_type_ = extent && *extent <= INT32_MAX ? DType::I32 : DType::I64;
  }

  LoweredGroup lower() {
    const Dim is_ordered =
        dims_.mul(dims_.sub(dims_.constant(1), has_few_updates()), dims_.sub(dims_.constant(1), has_many_lines()));
    const auto known = lapidary::value_of(is_ordered);
    LoweredGroup lowered;
    lowered.steps.push_back(scatter_data_step(context_, group_, op_));
    LoweredStep last;
    if (known != 0) {
      const Dim when = known ? nullptr : is_ordered;
      slots_ = dims_.mul(lines_, updates_of_line_);
      if (when) slots_ = dims_.select(when, slots_, dims_.constant(0));
      for (const DType dtype : {place_type_, DType::I32, DType::I32, DType::I32})
        lowered.scratch.push_back(dims_.mul(slots_, dims_.constant(bit_width(dtype) / 8)));
      lowered.steps.push_back(places(when));
      lowered.steps.push_back(order(when));
      last.variants.push_back(ordered(when));
    }
    if (known != 1) last.variants.push_back(lines());
    lowered.steps.push_back(std::move(last));
    return lowered;
  }

 private:
  // --- 1 or 0
  Dim has_few_updates() { return dims_.less(updates_of_line_, dims_.constant(kFewUpdates + 1)); }
  Dim has_many_lines() { return dims_.less(dims_.constant(kManyLines - 1), lines_); }

  // --- where an update's numbers are
  Expr begin_of_line(KernelBuilder& builder, const std::vector<Expr>& update) const {
    Expr line = integer(0);
    for (size_t i = 0; elements_ && i < update.size(); ++i)
      if (i != axis_) line = add(mul(line, builder.parameter(updates_[i])), update[i]);
    return builder.body.let("line", mul(line, builder.parameter(updates_of_line_)));
  }

  Buffer of_updates(KernelBuilder& builder, Scratch what, bool written) const {
    return builder.scratch(what, what == kPlaces ? place_type_ : DType::I32, written);
  }

  Expr beyond_all_places() const { return number(place_type_ == DType::I32 ? INT32_MAX : INT64_MAX, place_type_); }

  // With nothing of the group's own to compute or read but indices.
  LoweredStep numbers_step(LoweredVariant variant, int64_t numbers) {
    LoweredStep step = single_step(std::move(variant));
    step.flops = dims_.constant(0), step.bytes = dims_.mul(slots_, dims_.constant(numbers * 4));
    return step;
  }

  LoweredStep places(Dim when) {
    KernelBuilder builder(context_.module, context_.target(), "scatter", "places");
    builder.for_gpu = true;
    GroupEmitter emit(builder, group_);
    GroupEmitter::Scope scope(emit, builder.body);
    Shape extents = updates_;
    for (size_t i = 0; !elements_ && i < extents.size(); ++i)
      if (i != axis_) extents[i] = dims_.constant(1);
    const std::vector<Expr> update = builder.split_task(extents);
    Coords coords;
    for (const Expr& index : update) coords.axes.push_back(at(index));
    const ScatterPlace place = scatter_place(emit, builder.body, op_, coords);
    builder.body.add(store(of_updates(builder, kPlaces, true), add(begin_of_line(builder, update), update[axis_]),
                           convert(select(place.inside, place.index, integer(-1)), place_type_)));
    return numbers_step(builder.finish(dims_.product(extents), when), 2);
  }

  LoweredStep order(Dim when) {
    KernelBuilder builder(context_.module, context_.target(), "scatter", "order");
    builder.threads = kThreads;
    const std::vector<Dim> tasks = {lines_, runs_, dims_.ceildiv(run_, dims_.constant(kOfBlock))};
    const std::vector<Expr> task = builder.split_task(tasks);
    const Expr updates = builder.parameter(updates_of_line_), of_run = builder.parameter(run_);
    const Expr line = builder.body.let("line", mul(task[0], updates));
    const Expr begin = builder.body.let("begin", mul(task[1], of_run));
    const Expr end = builder.body.let("end", min(add(begin, of_run), updates));
    const Buffer places = of_updates(builder, kPlaces, false);
    const Buffer counts = builder.body.fragment("counts", DType::I32, int64_t{3} * kTargets);
    const auto target = [&](const Expr& thread, int i) {
      return add(add(begin, mul(task[2], integer(kOfBlock))),
                 add(mul(floordiv(thread, integer(kWarp)), integer(kTargets)), integer(i)));
    };
    for_each_thread(builder, [&](Block& own, const Expr& thread) {
      std::array<Expr, kTargets> at, place;
      for (int i = 0; i < kTargets; ++i) {
        const Expr t = own.let("t", min(target(thread, i), sub(end, integer(1))));
        place[i] = own.let("place", load(places, add(line, t)));
        at[i] = own.let("t", convert(t, DType::I32));
      }
      for (int64_t i = 0; i < counts->size; ++i) own.add(store(counts, integer(i), number(0)));
      const Var others = make_var("s", {}, 0, INT64_MAX / 1024);
      Block step;
      std::array<Expr, kAtOnce> from, found;
      for (int i = 0; i < kAtOnce; ++i) {
        const Expr s = step.let("s", add(variable(others), integer(int64_t{i} * kWarp)));
        const Expr there = load(places, add(line, min(s, sub(end, integer(1)))));
        found[i] = step.let("found", select(less(s, end), there, beyond_all_places()));
        from[i] = step.let("s", convert(s, DType::I32));
      }
      const auto count_if = [&](int which, const Expr& holds) {
        step.add(store(counts, integer(which), add(load(counts, integer(which)), convert(holds, DType::I32))));
      };
      for (int other = 0; other < kAtOnce; ++other)
        for (int i = 0; i < kTargets; ++i) {
          const Expr is_equal = step.let("equal", equal(found[other], place[i]));
          count_if(3 * i, less(found[other], place[i]));
          count_if(3 * i + 1, both_hold(is_equal, less(from[other], at[i])));
          count_if(3 * i + 2, is_equal);
        }
      own.add(for_loop(others, own.let("first", add(begin, mod(thread, integer(kWarp)))), end, int64_t{kWarp} * kAtOnce,
                       LoopKind::Serial, step.take()));
    });
    builder.body.add(combine(counts, ScalarOp::Add, kWarp));
    const Buffer sorted = of_updates(builder, kOrder, true), first = of_updates(builder, kFirst, true),
                 to_do = of_updates(builder, kCounts, true);
    for_each_thread(builder, [&](Block& own, const Expr& thread) {
      for (int i = 0; i < kTargets; ++i) {
        const Expr at = own.let("t", target(thread, i));
        const Expr is_mine = both_hold(equal(mod(thread, integer(kWarp)), integer(i)), less(at, end));
        Block mine;
        const auto found = [&](int which) { return load(counts, integer(int64_t{3} * i + which)); };
        const Expr before = mine.let("before", add(begin, index_of(found(0))));
        const Expr rank = mine.let("rank", add(add(line, before), index_of(found(1))));
        const Expr place = load(places, add(line, at)), is_inside = less(number(-1, place_type_), place);
        const Expr takes_all = both_hold(equal(found(1), number(0)), is_inside);
        mine.add(store(sorted, rank, convert(at, DType::I32)));
        mine.add(store(first, add(line, at), convert(before, DType::I32)));
        mine.add(store(to_do, add(line, at), select(takes_all, found(2), number(0))));
        own.add(if_then(is_mine, mine.take()));
      }
    });
    return numbers_step(builder.finish(dims_.product(tasks), when), 5);
  }

  bool in_rounds() const { return lapidary::value_of(runs_) != 1; }

  // What an element is before a run of updates: the data's, or what the runs before have left.
  Expr value_before(GroupEmitter& emit, const Coords& to) const {
    if (!in_rounds()) return emit.value(op_.operand(0), to);
    const Buffer result = emit.builder.result_read_back(group_.result());
    return splat_to(emit.load(result, emit.address(group_.result()->type, to), to), to.lanes);
  }

  using UpdateAt = std::function<Expr(Block&, const Expr& position)>;
  // With so many updates, in their order.
  Expr combined_with(const Expr& value, Block& block, const Expr& count, const UpdateAt& update_at) const {
    const Buffer total = block.local("total", value->type, 1);
    block.add(store(total, integer(0), value));
    const auto add_some = [&](const Expr& first, const Expr& end, int some) {
      serial(block, "j", first, end, some, [&](Block& inner, const Expr& j) {
        std::vector<Expr> updates;
        for (int i = 0; i < some; ++i) updates.push_back(update_at(inner, add(j, integer(i))));
        for (const Expr& update : updates)
          inner.add(store(total, integer(0), apply(*combine_, {load(total, integer(0), value->type.lanes), update})));
      });
    };
    const Expr whole = block.let("whole", mul(floordiv(count, integer(kAtOnce)), integer(kAtOnce)));
    add_some(integer(0), whole, kAtOnce);
    add_some(whole, count, 1);
    return block.let("value", load(total, integer(0), value->type.lanes));
  }

  // The value of all of a run's updates of a place, by the task of their first; a round for each run.
  LoweredVariant ordered(Dim when) {
    const bool in_packets = !elements_ && axis_ + 1 != updates_.size();
    const int lanes = in_packets ? packet_lanes(group_, updates_.back()) : 1;
    KernelBuilder builder(context_.module, context_.target(), "scatter",
                          fmt::format("{} ordered lanes={}", reduction_, lanes));
    builder.for_gpu = true;
    GroupEmitter emit(builder, group_);
    std::vector<Dim> extents = updates_;
    extents.back() = dims_.floordiv(extents.back(), dims_.constant(lanes));
    extents[axis_] = run_;
    const Dim tasks = dims_.product(extents);
    extents.insert(extents.begin(), runs_);
    std::vector<Expr> update = builder.split_task(extents);
    const Expr begin_of_run = in_rounds() ? mul(update[0], builder.parameter(run_)) : integer(0);
    update.erase(update.begin());
    update.back() = mul(update.back(), integer(lanes));
    update[axis_] = builder.body.let("u", add(begin_of_run, update[axis_]));
    const Expr line = begin_of_line(builder, update);
    const auto of_task = [&](Scratch what) {
      return index_of(load(of_updates(builder, what, false), add(line, update[axis_])));
    };
    const auto coords_at = [&](const Expr& along_axis) {
      Coords coords;
      coords.lanes = lanes;
      for (size_t i = 0; i < update.size(); ++i)
        coords.axes.push_back(i == axis_                            ? at(along_axis)
                              : lanes > 1 && i + 1 == update.size() ? along(update[i])
                                                                    : at(update[i]));
      return coords;
    };
    Block of_run, there;
    const Expr count = of_run.let("count", of_task(kCounts));
    {
      GroupEmitter::Scope scope(emit, there);
      const Expr begin = there.let("begin", add(line, of_task(kFirst)));
      const Coords to = coords_at(there.let("place", of_task(kPlaces)));
      const auto update_at = [&](Block& block, const Expr& position) {
        GroupEmitter::Scope inner(emit, block);
        const Expr from = block.let("from", index_of(load(of_updates(builder, kOrder, false), add(begin, position))));
        return block.let("update", emit.value(op_.operand(2), coords_at(from)));
      };
      emit.store(0, to,
                 combine_ ? combined_with(value_before(emit, to), there, count, update_at)
                          : update_at(there, sub(count, integer(1))));
    }
    of_run.add(if_then(less(integer(0), count), there.take()));
    const Expr is_there = less(update[axis_], builder.parameter(updates_of_line_));
    builder.body.add(in_rounds() ? if_then(is_there, of_run.take()) : block(of_run.take()));
    return builder.finish(tasks, when, in_rounds() ? runs_ : nullptr);
  }

  LoweredVariant lines() {
    KernelBuilder builder(context_.module, context_.target(), "scatter", reduction_ + " lines");
    builder.for_gpu = true;
    GroupEmitter emit(builder, group_);
    const std::vector<Expr> line = builder.split_task(beside_);
    const Buffer result = combine_ ? builder.result_read_back(group_.result()) : builder.result(group_.result());
    serial(builder.body, "u", integer(0), builder.parameter(updates_of_line_), 1,
           [&](Block& block, const Expr& update) {
             GroupEmitter::Scope scope(emit, block);
             Coords from;
             for (const Expr& index : line) from.axes.push_back(at(index));
             from.axes[axis_] = at(update);
             const ScatterPlace place = scatter_place(emit, block, op_, from);
             Coords to = from;
             to.axes[axis_] = at(place.index);
             Block hit;
             {
               GroupEmitter::Scope inner(emit, hit);
               scatter_update(emit, hit, op_, result, from, to);
             }
             block.add(if_then(place.inside, hit.take()));
           });
    return builder.finish(dims_.product(beside_));
  }

  Context& context_;
  DimPool& dims_;
  const Op& group_;
  const Op& op_;
  const Shape& updates_;
  const size_t axis_;
  const bool elements_;
  const std::string reduction_;
  const std::optional<ScalarOp> combine_;
  const Dim updates_of_line_, runs_, run_;  // runs of a line, updates of a run
  Shape beside_;                            // the extents beside the indexed axis
  Dim lines_ = nullptr, slots_ = nullptr;
  DType place_type_;
};

}  // namespace

LoweredGroup lower_scatter(Context& context, const Op& group) { return ScatterLowering(context, group).lower(); }

}  // namespace lapidary::lowering::gpu
