// What recurs of an RNN, GRU or LSTM layer: gates(t) = xw(t) + h(t-1)·rᵀ, then the cell's update, for every time step
// and direction. The input's product with w for all steps is an ordinary contraction before it.
//
// One step of the program in `time` rounds: a round is one time step, its tasks are blocks of 16 units of each
// direction, and the team's barrier between rounds is the recurrence. A task owns all gates of its units: r lies as
// [D][H/16][H][gates][16], so one pass over it, 64 bytes a gate and k, feeds an accumulator a gate for each batch row,
// and activations and update happen in registers. h alternates between two halves of a scratch buffer, c stays in
// place. A GRU whose reset gate acts before the product (linear_before_reset = 0) takes two rounds a step: z and r∘h
// first, into scratch, then the candidate from all of r∘h.
// Small batches stream r from cache once a step: that bandwidth is the limit, and each core keeps its share of r
// (DeepCPU, Zhang et al. 2018).
#include <algorithm>

#include "ir/composites.h"
#include "ir/error.h"
#include "passes/lower/contraction_form.h"
#include "passes/lower/family.h"
#include "passes/lower/register_tile.h"

namespace lapidary::lowering {

using namespace loops;

namespace {

constexpr int kUnroll = 4;

// r [D, G·H, H] as [D][ceil(H/16)][H][G][16], or with the gates apart as [D][ceil(H/16)][G][H][16].
ConstantId packed_gates(ConstantTable& constants, ConstantId r, int64_t directions, int64_t gates, int64_t hidden,
                        int64_t blocks, bool apart) {
  const auto apply = [&](Transform transform) { r = constants.transformed(r, std::move(transform)); };
  apply({.kind = Transform::Kind::Reshape, .shape = {directions, gates, hidden, hidden}});
  if (blocks * kPanel != hidden)
    apply({.kind = Transform::Kind::Pad, .shape = {directions, gates, blocks * kPanel, hidden}});
  apply({.kind = Transform::Kind::Reshape, .shape = {directions, gates, blocks, kPanel, hidden}});
  apply({.kind = Transform::Kind::Transpose,
         .axes = apart ? std::vector<int64_t>{0, 2, 1, 4, 3} : std::vector<int64_t>{0, 2, 4, 1, 3}});
  return r;
}

// The vectors of one batch row and one vector of units, after the products.
struct UnitPlace {
  Expr t, direction, row, unit;  // unit: of lane 0
  Expr state;                    // where it is in one half of the states
  Expr mask;                     // of the units there are; null: all
};

class RecurrentLowering {
 public:
  RecurrentLowering(Context& context, const Op& group, const Op& op)
      : module_(context.module),
        dims_(module_.dims),
        target_(context.target()),
        group_(group),
        op_(op),
        lanes_(target_.f32_lanes()),
        cell_(op.params.text("cell")),
        gates_(composites::gates_of(cell_)),
        two_rounds_(cell_ == "gru") {
    const Shape& xw = op.operand(0)->type.shape;
    time_ = xw[0], batch_ = xw[1];
    directions_ = *lapidary::value_of(op.operand(2)->type.shape[0]);
    hidden_ = *lapidary::value_of(op.operand(2)->type.shape[2]);
    blocks_ = (hidden_ + kPanel - 1) / kPanel;
    direction_size_ = dims_.mul(batch_, dims_.constant(blocks_ * kPanel));
    state_ = dims_.mul(direction_size_, dims_.constant(directions_));
    int next = 3;
    if (cell_ == "lstm") c0_ = op.operand(next++);
    if (cell_ == "gru_linear") r_bias_ = op.operand(next++);
    if (op.params.integer("lengths")) lengths_ = op.operand(next++);
  }

  LoweredGroup lower() {
    LoweredGroup result;
    result.scratch = {bytes_of_states(2)};  // h twice, then c, or z and r∘h
    if (c0_) result.scratch.push_back(bytes_of_states(1));
    if (two_rounds_) result.scratch.insert(result.scratch.end(), 2, bytes_of_states(1));
    constant_r_ = constant_behind(module_, group_, op_.operand(1));
    if (!constant_r_) {
      packed_r_ = static_cast<uint32_t>(result.scratch.size());
      result.scratch.push_back(dims_.constant(4 * directions_ * gates_ * hidden_ * blocks_ * kPanel));
      result.steps.push_back(pack_gates());
    }
    result.steps.push_back(initial_state());
    result.steps.push_back(recurrence());
    if (!op_.result(1)->uses.empty() || (c0_ && !op_.result(2)->uses.empty())) result.steps.push_back(final_state());
    return result;
  }

 private:
  Dim bytes_of_states(int64_t count) { return dims_.mul(state_, dims_.constant(count * 4)); }
  Expr row_size() const { return integer(blocks_ * kPanel); }
  Expr mask_at(const Expr& unit) const {
    return hidden_ % kPanel ? first_lanes(sub(integer(hidden_), unit), lanes_) : nullptr;
  }

  // h(0) and c(0) into the scratch, zero beyond the hidden size; one task a direction and batch row.
  LoweredStep initial_state() {
    KernelBuilder builder(module_, target_, "recurrent", "initial");
    GroupEmitter emit(builder, group_);
    std::vector<Expr> axes = builder.split_task({dims_.constant(directions_), batch_});
    Expr base =
        builder.body.let("base", add(mul(axes[0], builder.parameter(direction_size_)), mul(axes[1], row_size())));
    std::vector<std::pair<Buffer, const Value*>> states = {{builder.scratch(0, DType::F32, true), op_.operand(2)}};
    if (c0_) states.push_back({builder.scratch(1, DType::F32, true), c0_});
    serial(builder.body, "u", integer(0), row_size(), lanes_, [&](Block& block, Expr unit) {
      Expr left = sub(integer(hidden_), unit);
      Coords coords{{at(axes[0]), at(axes[1]), along(unit)}, lanes_, first_lanes(left, lanes_)};
      for (const auto& [buffer, value] : states) {
        Block inside, beyond;
        {
          GroupEmitter::Scope inner(emit, inside);
          inside.add(loops::store(buffer, add(base, unit), emit.value(value, coords)));
        }
        beyond.add(loops::store(buffer, add(base, unit), real(0, lanes_)));
        block.add(if_then(less(integer(0), left), inside.take(), beyond.take()));
      }
    });
    LoweredStep step = single_step(builder.finish(dims_.mul(dims_.constant(directions_), batch_)));
    step.flops = dims_.constant(0);  // all of them are the recurrence's
    return step;
  }

  // A live r in the form of packed_gates; one task a direction and block of units.
  LoweredStep pack_gates() {
    KernelBuilder builder(module_, target_, "recurrent", "pack gates");
    GroupEmitter emit(builder, group_);
    const std::vector<Expr> axes = builder.split_task({dims_.constant(directions_), dims_.constant(blocks_)});
    Buffer packed = builder.scratch(packed_r_, DType::F32, true);
    Expr panel = builder.body.let("panel", add(mul(axes[0], integer(blocks_)), axes[1]));
    serial(builder.body, "k", integer(0), integer(hidden_), 1, [&](Block& block, Expr k) {
      serial(block, "g", integer(0), integer(gates_), 1, [&](Block& inner, Expr gate) {
        Expr line = two_rounds_ ? add(mul(add(mul(panel, integer(gates_)), gate), integer(hidden_)), k)
                                : add(mul(add(mul(panel, integer(hidden_)), k), integer(gates_)), gate);
        unrolled(inner, "j", kPanel / lanes_, [&](Block& into, Expr j) {
          Expr unit = into.let("unit", add(mul(axes[1], integer(kPanel)), mul(j, integer(lanes_))));
          Expr place = add(mul(line, integer(kPanel)), mul(j, integer(lanes_))), left = sub(integer(hidden_), unit);
          Block some, none;
          {
            GroupEmitter::Scope scope(emit, some);
            const Coords coords{{at(axes[0]), along(add(mul(gate, integer(hidden_)), unit)), at(k)},
                                lanes_,
                                hidden_ % kPanel ? first_lanes(left, lanes_) : nullptr};
            some.add(loops::store(packed, place, emit.value(op_.operand(1), coords)));
          }
          none.add(loops::store(packed, place, real(0, lanes_)));
          into.add(if_then(less(integer(0), left), some.take(), none.take()));
        });
      });
    });
    LoweredStep step = single_step(builder.finish(dims_.constant(directions_ * blocks_)));
    step.flops = dims_.constant(0);  // all of them are the recurrence's
    return step;
  }

  LoweredStep recurrence() {
    KernelBuilder builder(module_, target_, "recurrent", cell_);
    GroupEmitter emit(builder, group_);
    builder_ = &builder, emit_ = &emit;
    weights_ = constant_r_ ? builder.weight(packed_gates(module_.constants, *constant_r_, directions_, gates_, hidden_,
                                                         blocks_, two_rounds_))
                           : builder.scratch(packed_r_, DType::F32, false);
    h_ = builder.scratch(0, DType::F32, true, true);
    if (c0_) c_ = builder.scratch(1, DType::F32, true, true);
    if (two_rounds_)
      z_ = builder.scratch(1, DType::F32, true, true), kept_ = builder.scratch(2, DType::F32, true, true);
    Block& body = builder.body;
    Dim rounds = dims_.mul(time_, dims_.constant(two_rounds_ ? 2 : 1));
    std::vector<Expr> axes = builder.split_task({rounds, dims_.constant(directions_), dims_.constant(blocks_)});
    Expr round = axes[0], step = two_rounds_ ? body.let("step", floordiv(round, integer(2))) : round;
    direction_ = axes[1], unit_block_ = axes[2];
    Expr state = builder.parameter(state_), backwards = sub(sub(builder.parameter(time_), integer(1)), step);
    const int64_t direction = op_.params.integer("direction");
    t_ = direction == composites::kForward   ? step
         : direction == composites::kReverse ? backwards
                                             : select(equal(direction_, integer(0)), step, backwards);
    t_ = body.let("t", t_);
    own_ = body.let("own", mul(direction_, builder.parameter(direction_size_)));
    Expr from = mul(mod(step, integer(2)), state);
    to_ = body.let("to", add(sub(state, from), own_));
    from_ = body.let("from", add(from, own_));
    if (two_rounds_) {
      Block first, second;
      products(first, 0, 2, h_, from_, &RecurrentLowering::reset);
      products(second, 2, 1, kept_, own_, &RecurrentLowering::gru_candidate);
      body.add(if_then(equal(mod(round, integer(2)), integer(0)), first.take(), second.take()));
    } else {
      products(body, 0, static_cast<int>(gates_), h_, from_, &RecurrentLowering::update);
    }
    LoweredStep lowered = single_step(builder.finish(dims_.constant(directions_ * blocks_), nullptr, rounds));
    lowered.flops =
        dims_.product(std::vector<Dim>{dims_.constant(2 * gates_ * directions_ * hidden_ * hidden_), time_, batch_});
    return lowered;
  }

  using Sums = std::function<Expr(int gate)>;
  using Update = void (RecurrentLowering::*)(Block&, const Sums&, const UnitPlace&);

  // For every batch row the sums of `count` gates over `states` (rows from `base` on), handed to `update`.
  void products(Block& body, int first_gate, int count, const Buffer& states, Expr base, Update update) {
    const int64_t gate_stride = two_rounds_ ? hidden_ * kPanel : kPanel,
                  depth_stride = two_rounds_ ? kPanel : gates_ * kPanel;
    Expr place = add(mul(direction_, integer(blocks_)), unit_block_);
    Expr r_base = body.let("r", add(mul(place, integer(hidden_ * gates_ * kPanel)), integer(first_gate * gate_stride)));
    RowSplit split = split_rows(dims_, batch_, max_rows(target_, count));
    Expr height = builder_->literal(split.height), longer = builder_->parameter(split.longer);
    serial(body, "tile", integer(0), builder_->parameter(split.tiles), 1, [&](Block& loop, Expr tile) {
      Expr rows = loop.let("rows", add(height, select(less(tile, longer), integer(1), integer(0))));
      Expr first = loop.let("row", add(mul(tile, height), min(tile, longer)));
      for_height(loop, split, rows, first, [&](Block& block, int tall, Expr row) {
        TileShape shape{.rows = tall, .panels = count, .lanes = lanes_};
        if (tall * shape.vectors() < 8) shape.phases = 2;
        RegisterTile gates(block, shape);
        RegisterTile::Operands operands{
            states, weights_, [=, this](Expr i, Expr k) { return add(add(base, mul(add(row, i), row_size())), k); },
            [=, this](Expr j, Expr k) {
              Expr column = mul(j, integer(lanes_));  // of the gates' panels, one behind the other
              Expr gate = floordiv(column, integer(kPanel));
              return add(add(r_base, mul(k, integer(depth_stride))),
                         add(mul(gate, integer(gate_stride)), mod(column, integer(kPanel))));
            }};
        gates.multiply(block, operands, integer(hidden_), kUnroll);
        gates.join_phases(block);
        unrolled(block, "i", tall, [&](Block& inner, Expr i) {
          unrolled(inner, "v", kPanel / lanes_, [&](Block& part, Expr v) {
            GroupEmitter::Scope scope(*emit_, part);
            UnitPlace place{t_,          direction_,
                            add(row, i), add(mul(unit_block_, integer(kPanel)), mul(v, integer(lanes_))),
                            nullptr,     nullptr};
            place.mask = mask_at(place.unit);
            place.state = part.let("at", add(mul(place.row, row_size()), place.unit));
            (this->*update)(
                part, [&](int gate) { return gates.value(i, add(integer(int64_t{gate} * (kPanel / lanes_)), v)); },
                place);
          });
        });
      });
    });
  }

  Expr from_input(int gate, const UnitPlace& place) {
    return emit_->value(op_.operand(0), {{at(place.t), at(place.row), at(place.direction),
                                          along(add(integer(gate * hidden_), place.unit))},
                                         lanes_,
                                         place.mask});
  }
  Expr activated(Block& block, ScalarOp activation, Expr sum, Expr input) {
    return block.let("gate", apply(activation, {add(std::move(sum), std::move(input))}));
  }
  static Expr sigmoid_of(const Expr& x) { return apply(ScalarOp::Sigmoid, {x}); }
  static Expr tanh_of(const Expr& x) { return apply(ScalarOp::Tanh, {x}); }

  void update(Block& block, const Sums& sum, const UnitPlace& place) {
    if (cell_ == "lstm") return lstm(block, sum, place);
    if (cell_ == "gru_linear") return gru_linear(block, sum, place);
    Expr gate = add(sum(0), from_input(0, place));
    finish(block, place, cell_ == "rnn" ? tanh_of(gate) : max(gate, real(0, lanes_)), nullptr);
  }

  // c' = σ(f)·c + σ(i)·tanh(g), h' = σ(o)·tanh(c')
  void lstm(Block& block, const Sums& sum, const UnitPlace& place) {
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
        store_result(3, {{at(place.t), at(place.row), at(place.direction), unit}, lanes_, place.mask}, gates[index]);
      }
      store_result(4, {{at(place.t), at(place.direction), at(place.row), along(place.unit)}, lanes_, place.mask}, next);
    }
    finish(block, place, mul(out, tanh_of(next)), next);
  }

  // n = tanh(x + r·(h·rᵀ + bias)), h' = n + z·(h - n)
  void gru_linear(Block& block, const Sums& sum, const UnitPlace& place) {
    Expr z = activated(block, ScalarOp::Sigmoid, sum(0), from_input(0, place));
    Expr r = activated(block, ScalarOp::Sigmoid, sum(1), from_input(1, place));
    Expr bias = emit_->value(r_bias_, {{at(place.direction), along(place.unit)}, lanes_, place.mask});
    Expr n = block.let("n", tanh_of(loops::fma(r, add(sum(2), bias), from_input(2, place))));
    finish(block, place, mixed(z, n, place), nullptr);
  }

  // The first round: z, and r∘h.
  void reset(Block& block, const Sums& sum, const UnitPlace& place) {
    Expr z = activated(block, ScalarOp::Sigmoid, sum(0), from_input(0, place));
    Expr r = activated(block, ScalarOp::Sigmoid, sum(1), from_input(1, place));
    Expr where = block.let("own_at", add(own_, place.state));
    block.add(loops::store(z_, where, z));
    block.add(loops::store(kept_, where, mul(r, load(h_, add(from_, place.state), lanes_))));
  }

  void gru_candidate(Block& block, const Sums& sum, const UnitPlace& place) {
    Expr n = block.let("n", tanh_of(add(sum(0), from_input(2, place))));
    finish(block, place, mixed(load(z_, add(own_, place.state), lanes_), n, place), nullptr);
  }

  Expr mixed(const Expr& z, const Expr& n, const UnitPlace& place) {
    return loops::fma(z, sub(load(h_, add(from_, place.state), lanes_), n), n);
  }

  // Stores the next states and y; past a sequence's length the states stay and y is 0.
  void finish(Block& block, const UnitPlace& place, Expr hidden, Expr cell) {
    hidden = block.let("h", hidden);
    Expr y = hidden;
    if (lengths_) {
      Expr length = convert(emit_->value(lengths_, {{at(place.row)}}), DType::I64);
      Expr inside = splat(block.let("inside", less(place.t, length)), lanes_);
      y = block.let("y", select(inside, hidden, real(0, lanes_)));
      hidden = select(inside, hidden, load(h_, add(from_, place.state), lanes_));
      if (cell) cell = select(inside, cell, load(c_, add(own_, place.state), lanes_));
    }
    if (cell) block.add(loops::store(c_, add(own_, place.state), cell));
    block.add(loops::store(h_, add(to_, place.state), hidden));
    store_result(0, {{at(place.t), at(place.direction), at(place.row), along(place.unit)}, lanes_, place.mask}, y);
  }

  void store_result(int index, const Coords& coords, const Expr& value) {
    if (!op_.result(index)->uses.empty()) emit_->store_results(op_.result(index), coords, value);
  }

  // The states after the last step, as results.
  LoweredStep final_state() {
    KernelBuilder builder(module_, target_, "recurrent", "final");
    GroupEmitter emit(builder, group_);
    std::vector<Expr> axes = builder.split_task({dims_.constant(directions_), batch_});
    Expr base =
        builder.body.let("base", add(mul(axes[0], builder.parameter(direction_size_)), mul(axes[1], row_size())));
    Expr last = mul(mod(builder.parameter(time_), integer(2)), builder.parameter(state_));
    struct State {
      const Value* result;
      Buffer buffer;
      Expr begin;
    };
    std::vector<State> states;
    if (!op_.result(1)->uses.empty())
      states.push_back({op_.result(1), builder.scratch(0, DType::F32, false), add(last, base)});
    if (c0_ && !op_.result(2)->uses.empty())
      states.push_back({op_.result(2), builder.scratch(1, DType::F32, false), base});
    serial(builder.body, "u", integer(0), integer(hidden_), lanes_, [&](Block& block, Expr unit) {
      GroupEmitter::Scope scope(emit, block);
      Coords coords{{at(axes[0]), at(axes[1]), along(unit)}, lanes_, first_lanes(sub(integer(hidden_), unit), lanes_)};
      for (const State& state : states)
        emit.store_results(state.result, coords, load(state.buffer, add(state.begin, unit), lanes_));
    });
    LoweredStep step = single_step(builder.finish(dims_.mul(dims_.constant(directions_), batch_)));
    step.flops = dims_.constant(0);  // all of them are the recurrence's
    return step;
  }

  Module& module_;
  DimPool& dims_;
  const Target& target_;
  const Op& group_;
  const Op& op_;
  int lanes_;
  const std::string cell_;
  const int64_t gates_;
  const bool two_rounds_;
  Dim time_, batch_, direction_size_, state_;
  int64_t directions_, hidden_, blocks_;
  const Value *c0_ = nullptr, *r_bias_ = nullptr, *lengths_ = nullptr;
  // of the recurrence's kernel
  KernelBuilder* builder_ = nullptr;
  GroupEmitter* emit_ = nullptr;
  std::optional<ConstantId> constant_r_;
  uint32_t packed_r_ = 0;  // scratch that holds a live r
  Buffer weights_, h_, c_, z_, kept_;
  Expr t_, direction_, unit_block_, own_, from_, to_;  // own, from and to: where the direction's states begin
};

}  // namespace

LoweredGroup lower_recurrent(Context& context, const Op& group) {
  const Op& recurrence = anchor_of(group);
  if (recurrence.type(0).dtype != DType::F32)
    unsupported(context.module, group, "a recurrence over another type than float");
  return RecurrentLowering(context, group, recurrence).lower();
}

}  // namespace lapidary::lowering
