#include "passes/lower/recurrent_cell.h"

#include "passes/lower/register_tile.h"

namespace lapidary::lowering {

using namespace loops;

namespace {

Expr tanh_of(const Expr& x) { return apply(ScalarOp::Tanh, {x}); }

}  // namespace

RecurrentCell::RecurrentCell(Context& context, const Op& group, int lanes)
    : module_(context.module),
      dims_(module_.dims),
      target_(context.target()),
      group_(group),
      op_(anchor_of(group)),
      lanes_(lanes),
      cell_(op_.params.text("cell")),
      gates_(composites::gates_of(cell_)),
      two_rounds_(cell_ == "gru") {
  if (op_.type(0).dtype != DType::F32) unsupported(module_, group, "a recurrence over another type than float");
  const Shape& xw = op_.operand(0)->type.shape;
  time_ = xw[0], batch_ = xw[1];
  directions_ = *lapidary::value_of(op_.operand(2)->type.shape[0]);
  hidden_ = *lapidary::value_of(op_.operand(2)->type.shape[2]);
  pitch_ = pitch_of_units(hidden_, lanes);
  direction_size_ = dims_.mul(batch_, dims_.constant(pitch_));
  state_ = dims_.mul(direction_size_, dims_.constant(directions_));
  int next = 3;
  if (cell_ == "lstm") c0_ = op_.operand(next++);
  if (cell_ == "gru_linear") r_bias_ = op_.operand(next++);
  if (op_.params.integer("lengths")) lengths_ = op_.operand(next++);
}

std::vector<Dim> RecurrentCell::scratch() {
  std::vector<Dim> bytes = {bytes_of_states(2)};
  if (c0_) bytes.push_back(bytes_of_states(1));
  if (two_rounds_) bytes.insert(bytes.end(), 2, bytes_of_states(1));
  return bytes;
}

Dim RecurrentCell::flops() {
  return dims_.product(std::vector<Dim>{dims_.constant(2 * gates_ * directions_ * hidden_ * hidden_), time_, batch_});
}

LoweredStep RecurrentCell::for_units(const char* schedule, int64_t count, const RecurrentUnits::Body& body) {
  return units().for_each(module_, target_, "recurrent", schedule, count, body);
}

// h(0) and c(0) into the scratch, zero beyond the hidden size.
LoweredStep RecurrentCell::initial_state() {
  return for_units(
      "initial", pitch_,
      [&](GroupEmitter& emit, Block& block, const std::vector<Expr>& axes, const Expr& row, const Expr& unit) {
        KernelBuilder& builder = emit.builder;
        const Expr base = mul(row, integer(pitch_));
        std::vector<std::pair<Buffer, const Value*>> states = {{builder.scratch(0, DType::F32, true), op_.operand(2)}};
        if (c0_) states.push_back({builder.scratch(1, DType::F32, true), c0_});
        const Expr left = sub(integer(hidden_), unit);
        const Coords coords = units().at_state(axes, unit);
        for (const auto& [buffer, value] : states) {
          Block inside, beyond;
          {
            GroupEmitter::Scope inner(emit, inside);
            inside.add(loops::store(buffer, add(base, unit), splat_to(emit.value(value, coords), lanes_)));
          }
          beyond.add(loops::store(buffer, add(base, unit), real(0, lanes_)));
          block.add(if_then(less(integer(0), left), inside.take(), beyond.take()));
        }
      });
}

bool RecurrentCell::gives_states() const {
  return !op_.result(1)->uses.empty() || (c0_ && !op_.result(2)->uses.empty());
}

// The states after the last step, as results.
LoweredStep RecurrentCell::final_state() {
  return for_units(
      "final", hidden_,
      [&](GroupEmitter& emit, Block& block, const std::vector<Expr>& axes, const Expr& row, const Expr& unit) {
        KernelBuilder& builder = emit.builder;
        const Expr base = mul(row, integer(pitch_));
        struct State {
          const Value* result;
          Buffer buffer;
          Expr begin;
        };
        const Expr last = mul(mod(builder.parameter(time_), integer(2)), builder.parameter(state_));
        std::vector<State> states;
        if (!op_.result(1)->uses.empty())
          states.push_back({op_.result(1), builder.scratch(0, DType::F32, false), add(last, base)});
        if (c0_ && !op_.result(2)->uses.empty())
          states.push_back({op_.result(2), builder.scratch(1, DType::F32, false), base});
        GroupEmitter::Scope scope(emit, block);
        const Coords coords = units().at_state(axes, unit);
        for (const State& state : states)
          emit.store_results(state.result, coords, load(state.buffer, add(state.begin, unit), lanes_));
      });
}

void RecurrentCell::open_states(KernelBuilder& builder, GroupEmitter& emit) {
  builder_ = &builder, emit_ = &emit;
  h_ = builder.scratch(0, DType::F32, true, true);
  if (c0_) c_ = builder.scratch(1, DType::F32, true, true);
  if (two_rounds_) z_ = builder.scratch(1, DType::F32, true, true), kept_ = builder.scratch(2, DType::F32, true, true);
}

void RecurrentCell::take_round(const Expr& round) {
  Block& body = builder_->body;
  const Expr step = two_rounds_ ? body.let("step", floordiv(round, integer(2))) : round;
  const Expr state = builder_->parameter(state_), backwards = sub(sub(builder_->parameter(time_), integer(1)), step);
  const int64_t direction = op_.params.integer("direction");
  t_ = direction == composites::kForward   ? step
       : direction == composites::kReverse ? backwards
                                           : select(equal(direction_, integer(0)), step, backwards);
  t_ = body.let("t", t_);
  own_ = body.let("own", mul(direction_, builder_->parameter(direction_size_)));
  const Expr from = mul(mod(step, integer(2)), state);
  to_ = body.let("to", add(sub(state, from), own_));
  from_ = body.let("from", add(from, own_));
  if (!two_rounds_) return products(body, 0, static_cast<int>(gates_), h_, from_, &RecurrentCell::update);
  Block first, second;
  products(first, 0, 2, h_, from_, &RecurrentCell::reset);
  products(second, 2, 1, kept_, own_, &RecurrentCell::gru_candidate);
  body.add(if_then(equal(mod(round, integer(2)), integer(0)), first.take(), second.take()));
}

Expr RecurrentCell::from_input(int gate, const UnitPlace& place) {
  return emit_->value(
      op_.operand(0),
      {{at(t_), at(place.row), at(direction_), along(add(integer(gate * hidden_), place.unit))}, lanes_, place.mask});
}
Expr RecurrentCell::activated(Block& block, ScalarOp activation, Expr sum, Expr input) {
  return block.let("gate", apply(activation, {add(std::move(sum), std::move(input))}));
}

void RecurrentCell::update(Block& block, const Sums& sum, const UnitPlace& place) {
  if (cell_ == "lstm") return lstm(block, sum, place);
  if (cell_ == "gru_linear") return gru_linear(block, sum, place);
  Expr gate = add(sum(0), from_input(0, place));
  finish(block, place, cell_ == "rnn" ? tanh_of(gate) : max(gate, real(0, lanes_)), nullptr);
}

// c' = σ(f)·c + σ(i)·tanh(g), h' = σ(o)·tanh(c')
void RecurrentCell::lstm(Block& block, const Sums& sum, const UnitPlace& place) {
  auto gate = [&](int index, ScalarOp activation) {
    return activated(block, activation, sum(index), from_input(index, place));
  };
  Expr in = gate(0, ScalarOp::Sigmoid), out = gate(1, ScalarOp::Sigmoid), forget = gate(2, ScalarOp::Sigmoid),
       cell = gate(3, ScalarOp::Tanh);
  Expr next = block.let("c", loops::fma(forget, load(c_, add(own_, place.state), lanes_), mul(in, cell)));
  if (op_.params.has("gates")) {
    const std::vector<Expr> gates = {in, out, forget, cell};
    for (int index = 0; index < 4; ++index) {
      const Coord unit = along(add(integer(index * hidden_), place.unit));
      store_result(3, {{at(t_), at(place.row), at(direction_), unit}, lanes_, place.mask}, gates[index]);
    }
    store_result(4, {{at(t_), at(direction_), at(place.row), along(place.unit)}, lanes_, place.mask}, next);
  }
  finish(block, place, mul(out, tanh_of(next)), next);
}

// n = tanh(x + r·(h·rᵀ + bias)), h' = n + z·(h - n)
void RecurrentCell::gru_linear(Block& block, const Sums& sum, const UnitPlace& place) {
  Expr z = activated(block, ScalarOp::Sigmoid, sum(0), from_input(0, place));
  Expr r = activated(block, ScalarOp::Sigmoid, sum(1), from_input(1, place));
  Expr bias = emit_->value(r_bias_, {{at(direction_), along(place.unit)}, lanes_, place.mask});
  Expr n = block.let("n", tanh_of(loops::fma(r, add(sum(2), bias), from_input(2, place))));
  finish(block, place, mixed(z, n, place), nullptr);
}

// The first round: z, and r∘h.
void RecurrentCell::reset(Block& block, const Sums& sum, const UnitPlace& place) {
  Expr z = activated(block, ScalarOp::Sigmoid, sum(0), from_input(0, place));
  Expr r = activated(block, ScalarOp::Sigmoid, sum(1), from_input(1, place));
  Expr where = block.let("own_at", add(own_, place.state));
  block.add(loops::store(z_, where, z));
  block.add(loops::store(kept_, where, mul(r, load(h_, add(from_, place.state), lanes_))));
}

void RecurrentCell::gru_candidate(Block& block, const Sums& sum, const UnitPlace& place) {
  Expr n = block.let("n", tanh_of(add(sum(0), from_input(2, place))));
  finish(block, place, mixed(load(z_, add(own_, place.state), lanes_), n, place), nullptr);
}

Expr RecurrentCell::mixed(const Expr& z, const Expr& n, const UnitPlace& place) {
  return loops::fma(z, sub(load(h_, add(from_, place.state), lanes_), n), n);
}

// Stores the next states and y; past a sequence's length the states stay and y is 0.
void RecurrentCell::finish(Block& block, const UnitPlace& place, Expr hidden, Expr cell) {
  hidden = block.let("h", hidden);
  Expr y = hidden;
  if (lengths_) {
    Expr length = convert(emit_->value(lengths_, {{at(place.row)}}), DType::I64);
    Expr inside = splat(block.let("inside", less(t_, length)), lanes_);
    y = block.let("y", select(inside, hidden, real(0, lanes_)));
    hidden = select(inside, hidden, load(h_, add(from_, place.state), lanes_));
    if (cell) cell = select(inside, cell, load(c_, add(own_, place.state), lanes_));
  }
  if (cell) block.add(loops::store(c_, add(own_, place.state), cell));
  block.add(loops::store(h_, add(to_, place.state), hidden));
  store_result(0, {{at(t_), at(direction_), at(place.row), along(place.unit)}, lanes_, place.mask}, y);
}

void RecurrentCell::store_result(int index, const Coords& coords, const Expr& value) {
  if (!op_.result(index)->uses.empty()) emit_->store_results(op_.result(index), coords, value);
}

}  // namespace lapidary::lowering
