#include "passes/lower/recurrent_gradient_cell.h"

#include "passes/lower/register_tile.h"

namespace lapidary::lowering {

using namespace loops;

namespace {

Expr minus(const Expr& x, const Expr& y) { return apply(ScalarOp::Sub, {x, y}); }

}  // namespace

RecurrentGradientCell::RecurrentGradientCell(Context& context, const Op& group, int lanes)
    : module_(context.module),
      dims_(module_.dims),
      target_(context.target()),
      group_(group),
      op_(anchor_of(group)),
      lanes_(lanes),
      directions_(*lapidary::value_of(op_.operand(kC0)->type.shape[0])),
      hidden_(*lapidary::value_of(op_.operand(kC0)->type.shape[2])),
      pitch_(pitch_of_units(hidden_, lanes)) {
  time_ = op_.operand(kDy)->type.shape[0], batch_ = op_.operand(kDy)->type.shape[2];
  rows_ = dims_.mul(batch_, dims_.constant(directions_));
}

LoweredGroup RecurrentGradientCell::lowered(LoweredStep pack, LoweredStep recurrence) {
  const auto floats = [&](int64_t count) { return dims_.constant(4 * count); };
  LoweredGroup result;
  result.scratch = {floats(directions_ * pitch_ * kGates * pitch_), dims_.mul(rows_, floats(2 * kGates * pitch_)),
                    dims_.mul(rows_, floats(pitch_))};
  pack.flops = dims_.constant(0);
  recurrence.flops =
      dims_.product(std::vector<Dim>{dims_.constant(2 * kGates * directions_ * hidden_ * hidden_), time_, batch_});
  result.steps.push_back(std::move(pack));
  result.steps.push_back(initial_state());
  result.steps.push_back(std::move(recurrence));
  if (!op_.result(1)->uses.empty()) result.steps.push_back(final_state());
  return result;
}

LoweredStep RecurrentGradientCell::for_units(const char* schedule, int64_t count, const RecurrentUnits::Body& body) {
  return units().for_each(module_, target_, "recurrent_gradient", schedule, count, body);
}

// Behind the last step da is 0, and dc what is given.
LoweredStep RecurrentGradientCell::initial_state() {
  return for_units(
      "initial", kGates * pitch_,
      [&](GroupEmitter& emit, Block& block, const std::vector<Expr>& axes, const Expr& row, const Expr& unit) {
        const Buffer states = emit.builder.scratch(kStates, DType::F32, true),
                     dc = emit.builder.scratch(kCells, DType::F32, true);
        block.add(loops::store(states, add(mul(row, integer(kGates * pitch_)), unit), real(0, lanes_)));
        const Expr place = add(mul(row, integer(pitch_)), unit);
        Block given, beyond;
        {
          GroupEmitter::Scope scope(emit, given);
          const Expr value = emit.value(op_.operand(kDc), units().at_state(axes, unit));
          given.add(loops::store(dc, place, splat_to(value, lanes_)));
        }
        if (pitch_ > hidden_) {
          Block padding;
          padding.add(loops::store(dc, place, real(0, lanes_)));
          beyond.add(if_then(less(unit, integer(pitch_)), padding.take()));
        }
        block.add(if_then(less(unit, integer(hidden_)), given.take(), beyond.take()));
      });
}

// dc before the first step, as the result.
LoweredStep RecurrentGradientCell::final_state() {
  return for_units(
      "final", hidden_,
      [&](GroupEmitter& emit, Block& block, const std::vector<Expr>& axes, const Expr& row, const Expr& unit) {
        const Buffer dc = emit.builder.scratch(kCells, DType::F32, false);
        GroupEmitter::Scope scope(emit, block);
        emit.store_results(op_.result(1), units().at_state(axes, unit),
                           loops::load(dc, add(mul(row, integer(pitch_)), unit), lanes_));
      });
}

void RecurrentGradientCell::open_states(KernelBuilder& builder, GroupEmitter& emit) {
  builder_ = &builder, emit_ = &emit;
  packed_ = builder.scratch(kPacked, DType::F32, false);
  states_ = builder.scratch(kStates, DType::F32, true, true);
  dc_ = builder.scratch(kCells, DType::F32, true, true);
}

void RecurrentGradientCell::take_round(const Expr& round) {
  Block& body = builder_->body;
  round_ = round;
  const Expr last = sub(builder_->parameter(time_), integer(1));
  const int64_t direction = op_.params.integer("direction");
  goes_down_ = integer(direction == composites::kReverse ? 0 : 1);  // does it go to earlier steps?
  if (direction == composites::kBothDirections) goes_down_ = body.let("down", sub(integer(1), direction_));
  t_ = body.let("t", select(equal(goes_down_, integer(1)), sub(last, round), round));
  const Expr half = builder_->parameter(rows_), own = mul(direction_, builder_->parameter(batch_));
  const Expr odd = body.let("odd", mod(round, integer(2)));
  from_ = body.let("from", add(own, mul(odd, half)));
  to_ = body.let("to", add(own, mul(sub(integer(1), odd), half)));
}

// c before this step.
Expr RecurrentGradientCell::cells_before(const Expr& row, const Coord& unit, const Expr& mask) {
  Block& block = emit_->block();
  const Expr last = sub(builder_->parameter(time_), integer(1));
  const Expr neighbour = sub(add(t_, integer(1)), mul(goes_down_, integer(2)));
  const Expr before = block.let("before", max(integer(0), min(last, neighbour)));
  const Expr kept = emit_->value(op_.operand(kCellsKept), {{at(before), at(direction_), at(row), unit}, lanes_, mask});
  const Expr first = emit_->value(op_.operand(kC0), {{at(direction_), at(row), unit}, lanes_, mask});
  const Expr is_first = splat_to(equal(round_, last), lanes_);
  return block.let("c_before", select(is_first, splat_to(first, lanes_), splat_to(kept, lanes_)));
}

void RecurrentGradientCell::update(Block& block, const Expr& row, const Expr& unit, const Expr& mask, const Expr& sum) {
  GroupEmitter::Scope scope(*emit_, block);
  const Expr one = real(1, lanes_);
  const auto let = [&](const char* name, const Expr& value) { return block.let(name, value); };
  const auto value = [&](Operand index, std::vector<Coord> axes) {
    return splat_to(emit_->value(op_.operand(index), {std::move(axes), lanes_, mask}), lanes_);
  };
  const auto of_unit = [&](int gate) { return along(add(integer(gate * hidden_), unit)); };
  const auto kept = [&](int gate) { return value(kGatesKept, {at(t_), at(row), at(direction_), of_unit(gate)}); };
  const Expr i = kept(0), o = kept(1), f = kept(2), z = kept(3);
  const Expr bent =
      let("bent", apply(ScalarOp::Tanh, {value(kCellsKept, {at(t_), at(direction_), at(row), along(unit)})}));
  const Expr is_last = splat_to(equal(round_, integer(0)), lanes_);
  const Expr own = let("own", add(mul(add(mul(direction_, builder_->parameter(batch_)), row), integer(pitch_)), unit));
  const Expr dh_given = select(is_last, value(kDh, {at(direction_), at(row), along(unit)}), real(0, lanes_));
  const Expr dy = value(kDy, {at(t_), at(direction_), at(row), along(unit)});
  const Expr dh = let("dh", add(add(sum, dy), dh_given));
  const Expr of_c = mul(o, minus(one, mul(bent, bent)));
  const Expr dc = let("dc", loops::fma(dh, of_c, load(dc_, own, lanes_)));
  const Expr before = cells_before(row, along(unit), mask);
  const auto slope = [&](const Expr& gate) { return mul(gate, minus(one, gate)); };
  const Expr da[kGates] = {mul(mul(dc, z), slope(i)), mul(mul(dh, bent), slope(o)), mul(mul(dc, before), slope(f)),
                           mul(mul(dc, i), minus(one, mul(z, z)))};
  const Expr line = let("line", add(mul(add(to_, row), integer(kGates * pitch_)), unit));
  for (int gate = 0; gate < kGates; ++gate) {
    const Expr of_gate = let("da", da[gate]);
    block.add(loops::store(states_, add(line, integer(gate * pitch_)), of_gate));
    emit_->store_results(op_.result(0), {{at(t_), at(row), at(direction_), of_unit(gate)}, lanes_, mask}, of_gate);
  }
  block.add(loops::store(dc_, own, mul(dc, f)));
}

}  // namespace lapidary::lowering
