// The k greatest or least of each line along one axis, in order; a line is a task. Two ways, by k:
//
//   select  k up to 64: the best so far are kept in order in scratch. Whole vectors that hold nothing better than the
//           last of them are passed over, which on data in random order are almost all; what is better moves in, the
//           others one down.
//   merge   more: what is better than the k-th so far is gathered in scratch; whenever 2k are, a merge sort between two
//           halves of scratch, bottom up, finds the k to keep. A line that is not longer is sorted whole.
//
// The order is total: NaN is the greatest, and of equal elements the first comes first.
#include "passes/lower/map_kernel.h"
#include "passes/lower/register_tile.h"

namespace lapidary::lowering {

using namespace loops;

namespace {

constexpr int64_t kMostSelected = 64;
constexpr int64_t kMostDoublings = 40;  // of runs while merging: lines are shorter than 2^40

Expr and_of(const Expr& a, const Expr& b) { return apply(ScalarOp::And, {a, b}); }
Expr or_of(const Expr& a, const Expr& b) { return apply(ScalarOp::Or, {a, b}); }
Expr not_of(const Expr& a) { return apply(ScalarOp::Not, {a}); }

// A number that loops change: a Local of one element.
class Variable {
 public:
  Variable(Block& block, const char* name, const Expr& start) : buffer_(block.local(name, start->type, 1)) {
    set(block, start);
  }
  Expr get(Block& block) const { return block.let(buffer_->name, load(buffer_, integer(0))); }
  void set(Block& block, const Expr& value) const { block.add(store(buffer_, integer(0), value)); }

 private:
  Buffer buffer_;
};

// What both ways share: the task's line, and the order of its elements.
class Line {
 public:
  Line(Context& context, const Op& group, const char* schedule)
      : group_(group),
        op_(anchor_of(group)),
        axis_(static_cast<size_t>(op_.params.integer("axis"))),
        largest_(op_.params.integer("largest") != 0),
        builder(context.module, context.target(), "top_k", schedule),
        emit(builder, group) {
    tasks_ = op_.operand(0)->type.shape;
    extent_dim = tasks_[axis_], k_dim = op_.params.dim("k");
    tasks_[axis_] = builder.dim(1);
    place_ = builder.split_task(tasks_);
    extent = builder.parameter(extent_dim), k = builder.parameter(k_dim);
  }

 private:
  const Op& group_;
  const Op& op_;
  const size_t axis_;
  const bool largest_;
  std::vector<Dim> tasks_;
  std::vector<Expr> place_;  // of the task, by axis

 public:
  KernelBuilder builder;
  GroupEmitter emit;
  Dim extent_dim = nullptr, k_dim = nullptr;
  Expr extent, k;

  DType dtype() const { return compute_dtype(op_.type().dtype); }

  Expr element(Block& block, Coord position, int lanes = 1, Expr mask = nullptr) {
    GroupEmitter::Scope scope(emit, block);
    return block.let("x", emit.value(op_.operand(0), at(std::move(position), lanes, std::move(mask))));
  }

  void store_result(Block& block, const Expr& position, const Expr& value, const Expr& place) {
    GroupEmitter::Scope scope(emit, block);
    const auto& yielded = group_.regions[0]->results();
    for (uint32_t i = 0; i < yielded.size(); ++i)
      emit.store(i, at(lowering::at(position), 1, nullptr), yielded[i]->index == 0 ? value : place);
  }

  // Does a come before b by their values alone?
  Expr ahead(const Expr& a, const Expr& b) const {
    const Expr &high = largest_ ? a : b, &low = largest_ ? b : a;
    Expr result = less(low, high);
    if (!is_float(dtype())) return result;
    return or_of(result, and_of(apply(ScalarOp::IsNan, {high}), not_of(apply(ScalarOp::IsNan, {low}))));
  }

  LoweredVariant finish(Dim when) { return builder.finish(builder.module.dims.product(tasks_), when); }

 private:
  Coords at(Coord position, int lanes, Expr mask) const {
    Coords coords;
    for (const Expr& place : place_) coords.axes.push_back(lowering::at(place));
    coords.axes[axis_] = std::move(position);
    coords.lanes = lanes;
    coords.mask = std::move(mask);
    return coords;
  }
};

// --- select ------------------------------------------------------------------------------------------------------

Expr any_lane(const Expr& condition) {
  const auto number = [&](int64_t value) {
    return splat_to(constant(Scalar::of_integer(DType::I32, value)), condition->type.lanes);
  };
  return less(constant(Scalar::of_integer(DType::I32, 0)),
              reduce(ScalarOp::Max, select(condition, number(1), number(0))));
}

LoweredVariant lower_select(Context& context, const Op& group, Dim when) {
  Line line(context, group, "select");
  const Buffer values = line.builder.stage("values", line.dtype(), line.k_dim);
  const Buffer places = line.builder.stage("places", DType::I64, line.k_dim);
  const int lanes = context.target().f32_lanes();
  const Expr last = sub(line.k, integer(1));
  // Puts element `place` among the `held` best, unless they are k and all ahead of it.
  const auto insert = [&](Block& block, const Expr& value, const Expr& place) {
    Expr held = block.let("held", loops::min(place, line.k));
    Expr is_full = block.let("full", apply(ScalarOp::LessEqual, {line.k, place}));
    Expr worst = block.let("worst", load(values, last, 1, and_of(is_full, less(integer(0), line.k))));
    Block enters;
    const Variable moving(enters, "moving", value), moving_place(enters, "moving_place", place);
    serial(enters, "i", integer(0), held, 1, [&](Block& inner, Expr i) {
      Expr a = moving.get(inner), a_place = moving_place.get(inner);
      Expr b = inner.let("b", load(values, i)), b_place = inner.let("b_place", load(places, i));
      Expr first = or_of(line.ahead(a, b), and_of(not_of(line.ahead(b, a)), less(a_place, b_place)));
      first = inner.let("first", first);
      inner.add(store(values, i, select(first, a, b)));
      inner.add(store(places, i, select(first, a_place, b_place)));
      moving.set(inner, select(first, b, a));
      moving_place.set(inner, select(first, b_place, a_place));
    });
    Block grows;
    grows.add(store(values, held, moving.get(grows)));
    grows.add(store(places, held, moving_place.get(grows)));
    enters.add(if_then(not_of(is_full), grows.take()));
    block.add(
        if_then(and_of(less(integer(0), line.k), or_of(not_of(is_full), line.ahead(value, worst))), enters.take()));
  };
  const bool tail = !known_multiple(line.extent_dim, lanes);
  vector_loop(line.builder.body, integer(0), line.extent, lanes, tail,
              [&](Block& block, const Expr& first, const Expr& mask) {
                Expr x = line.element(block, along(first), lanes, mask);
                Expr is_full = block.let("full", apply(ScalarOp::LessEqual, {line.k, first}));
                Expr worst = load(values, last, 1, and_of(is_full, less(integer(0), line.k)));
                Expr better = line.ahead(x, splat(block.let("worst", worst), lanes));
                if (mask) better = and_of(better, mask);
                Block inner;
                serial(inner, "u", first, mask ? line.extent : add(first, integer(lanes)), 1,
                       [&](Block& one, Expr place) { insert(one, line.element(one, at(place)), place); });
                block.add(if_then(or_of(not_of(is_full), any_lane(better)), inner.take()));
              });
  serial(line.builder.body, "i", integer(0), line.k, 1,
         [&](Block& block, Expr i) { line.store_result(block, i, load(values, i), load(places, i)); });
  return line.finish(when);
}

// --- merge -------------------------------------------------------------------------------------------------------

// Candidates in scratch, in two halves of which one is in use.
class Candidates {
 public:
  Candidates(Line& line, Block& body, Dim capacity)
      : line_(line), half_(body, "half", integer(0)), held_(body, "held", integer(0)) {
    Dim twice = line.builder.module.dims.mul(capacity, line.builder.dim(2));
    values_ = line.builder.stage("values", line.dtype(), twice);
    places_ = line.builder.stage("places", DType::I64, twice);
    capacity_ = line.builder.parameter(capacity);
  }

  Expr held(Block& block) const { return held_.get(block); }
  void keep(Block& block, const Expr& count) const { held_.set(block, count); }
  Expr value(Block& block, const Expr& i) const { return load(values_, add(half_.get(block), i)); }
  Expr place(Block& block, const Expr& i) const { return load(places_, add(half_.get(block), i)); }

  void append(Block& block, const Expr& value, const Expr& place) const {
    Expr count = held_.get(block), to = block.let("to", add(half_.get(block), count));
    block.add(store(values_, to, value));
    block.add(store(places_, to, place));
    held_.set(block, add(count, integer(1)));
  }

  // Into their order, by runs that double.
  void sort(Block& body) const {
    Expr count = body.let("count", held_.get(body));
    serial(body, "doubling", integer(0), integer(kMostDoublings), 1, [&](Block& block, Expr doubling) {
      Expr run = block.let("run", apply(ScalarOp::ShiftLeft, {integer(1), doubling}));
      Block merges;
      Expr from = half_.get(merges), to = merges.let("to", sub(capacity_, from)),
           span = merges.let("span", add(run, run));
      Expr pairs = apply(ScalarOp::Div, {add(count, sub(span, integer(1))), span});
      serial(merges, "pair", integer(0), merges.let("pairs", pairs), 1, [&](Block& inner, Expr pair) {
        merge_pair(inner, inner.let("begin", mul(pair, span)), run, count, from, to);
      });
      half_.set(merges, to);
      block.add(if_then(less(run, count), merges.take()));
    });
  }

 private:
  void merge_pair(Block& block, const Expr& begin, const Expr& run, const Expr& count, const Expr& from,
                  const Expr& to) const {
    Expr middle = block.let("middle", loops::min(add(begin, run), count));
    Expr end = block.let("end", loops::min(add(middle, run), count));
    const Variable left(block, "left", begin), right(block, "right", middle);
    serial(block, "o", begin, end, 1, [&](Block& inner, Expr o) {
      Expr i = left.get(inner), j = right.get(inner);
      Expr has_left = inner.let("has_left", less(i, middle)), has_right = inner.let("has_right", less(j, end));
      Expr a = inner.let("a", load(values_, add(from, i), 1, has_left));
      Expr b = inner.let("b", load(values_, add(from, j), 1, has_right));
      Expr later = inner.let("later", and_of(has_right, or_of(not_of(has_left), line_.ahead(b, a))));
      inner.add(store(values_, add(to, o), select(later, b, a)));
      Expr source = inner.let("source", add(from, select(later, j, i)));
      inner.add(store(places_, add(to, o), load(places_, source)));
      left.set(inner, select(later, i, add(i, integer(1))));
      right.set(inner, select(later, add(j, integer(1)), j));
    });
  }

  Line& line_;
  const Variable half_, held_;
  Buffer values_, places_;
  Expr capacity_;
};

LoweredVariant lower_merge(Context& context, const Op& group) {
  Line line(context, group, "merge");
  DimPool& dims = context.module.dims;
  Block& body = line.builder.body;
  const int lanes = context.target().f32_lanes();
  Dim twice = dims.add(dims.mul(line.k_dim, dims.constant(2)), dims.constant(lanes));
  const Candidates candidates(line, body, dims.min(twice, line.extent_dim));
  const Expr room = line.builder.parameter(dims.add(dims.mul(line.k_dim, dims.constant(2)), dims.constant(1)));
  const Variable is_full(body, "full", constant(Scalar::of_bool(false)));
  const Variable worst(body, "worst", constant(convert(Scalar::of_integer(DType::I64, 0), line.dtype())));
  const bool tail = !known_multiple(line.extent_dim, lanes);
  vector_loop(body, integer(0), line.extent, lanes, tail, [&](Block& block, const Expr& first, const Expr& mask) {
    Expr x = line.element(block, along(first), lanes, mask);
    Expr full = is_full.get(block), bound = worst.get(block);
    Expr better = line.ahead(x, splat(bound, lanes));
    if (mask) better = and_of(better, mask);
    Block inner;
    serial(inner, "u", first, mask ? line.extent : add(first, integer(lanes)), 1, [&](Block& one, Expr place) {
      Expr value = line.element(one, at(place));
      Block enters;
      candidates.append(enters, value, place);
      one.add(if_then(or_of(not_of(full), line.ahead(value, bound)), enters.take()));
    });
    Block sorts;
    candidates.sort(sorts);
    candidates.keep(sorts, line.k);
    is_full.set(sorts, constant(Scalar::of_bool(true)));
    worst.set(sorts, candidates.value(sorts, sub(line.k, integer(1))));
    inner.add(if_then(apply(ScalarOp::LessEqual, {room, candidates.held(inner)}), sorts.take()));
    block.add(if_then(or_of(not_of(full), any_lane(better)), inner.take()));
  });
  candidates.sort(body);
  serial(body, "i", integer(0), line.k, 1, [&](Block& block, Expr i) {
    line.store_result(block, i, candidates.value(block, i), candidates.place(block, i));
  });
  return line.finish(nullptr);
}

}  // namespace

LoweredGroup lower_top_k(Context& context, const Op& group) {
  DimPool& dims = context.module.dims;
  Dim k = anchor_of(group).params.dim("k");
  Dim few = dims.less(k, dims.constant(kMostSelected + 1));
  LoweredStep step;
  if (lapidary::value_of(few) != 0)
    step.variants.push_back(lower_select(context, group, lapidary::value_of(few) ? nullptr : few));
  if (lapidary::value_of(few) != 1) step.variants.push_back(lower_merge(context, group));
  LoweredGroup lowered;
  lowered.steps.push_back(std::move(step));
  return lowered;
}

}  // namespace lapidary::lowering
