// The k greatest or least of each line along one axis, in order; a line is a task. Two ways, by k:
//
//   select     k up to 10: the best so far are kept in order in scratch. Whole vectors that hold nothing better than
//              the last of them are passed over, which on data in random order are almost all; what is better moves in,
//              the others one down.
//   threshold  more: see top_k_threshold.cpp.
//
// The order is total: NaN is the greatest, and of equal elements the first comes first.
#include "passes/lower/register_tile.h"
#include "passes/lower/top_k_line.h"

namespace lapidary::lowering {

using namespace loops;

namespace {

constexpr int64_t kMostSelected = 10;

LoweredVariant lower_select(Context& context, const Op& group, Dim when) {
  Line line(context, group, "select");
  line.stand_at(line.builder.body, variable(line.builder.task()));
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

}  // namespace

LoweredGroup lower_top_k(Context& context, const Op& group) {
  DimPool& dims = context.module.dims;
  Dim k = anchor_of(group).params.dim("k");
  Dim few = dims.less(k, dims.constant(kMostSelected + 1));
  LoweredStep step;
  if (lapidary::value_of(few) != 0)
    step.variants.push_back(lower_select(context, group, lapidary::value_of(few) ? nullptr : few));
  if (lapidary::value_of(few) != 1) step.variants.push_back(lower_top_k_threshold(context, group));
  LoweredGroup lowered;
  lowered.steps.push_back(std::move(step));
  return lowered;
}

}  // namespace lapidary::lowering
