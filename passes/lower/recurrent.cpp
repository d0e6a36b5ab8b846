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

#include "passes/lower/contraction_form.h"
#include "passes/lower/recurrent_cell.h"
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

class RecurrentLowering : RecurrentCell {
 public:
  RecurrentLowering(Context& context, const Op& group)
      : RecurrentCell(context, group, context.target().f32_lanes()), blocks_(pitch_ / kPanel) {}

  LoweredGroup lower() {
    LoweredGroup result;
    result.scratch = scratch();
    constant_r_ = constant_behind(module_, group_, op_.operand(1));
    if (!constant_r_) {
      packed_r_ = static_cast<uint32_t>(result.scratch.size());
      result.scratch.push_back(dims_.constant(4 * directions_ * gates_ * hidden_ * blocks_ * kPanel));
      result.steps.push_back(pack_gates());
    }
    result.steps.push_back(initial_state());
    result.steps.push_back(recurrence());
    if (gives_states()) result.steps.push_back(final_state());
    return result;
  }

 private:
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
    weights_ = constant_r_ ? builder.weight(packed_gates(module_.constants, *constant_r_, directions_, gates_, hidden_,
                                                         blocks_, two_rounds_))
                           : builder.scratch(packed_r_, DType::F32, false);
    open_states(builder, emit);
    const std::vector<Expr> axes = builder.split_task({rounds(), dims_.constant(directions_), dims_.constant(blocks_)});
    direction_ = axes[1], unit_block_ = axes[2];
    take_round(axes[0]);
    LoweredStep step = single_step(builder.finish(dims_.constant(directions_ * blocks_), nullptr, rounds()));
    step.flops = flops();
    return step;
  }

  // For every batch row the sums of `count` gates over `states` (rows from `base` on), handed to `update`.
  void products(Block& body, int first_gate, int count, const Buffer& states, Expr base, Update update) override {
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
            states, weights_,
            [=, this](Expr i, Expr k) { return add(add(base, mul(add(row, i), integer(pitch_))), k); },
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
            UnitPlace place{add(row, i), add(mul(unit_block_, integer(kPanel)), mul(v, integer(lanes_))), nullptr,
                            nullptr};
            if (hidden_ % kPanel) place.mask = first_lanes(sub(integer(hidden_), place.unit), lanes_);
            place.state = part.let("at", add(mul(place.row, integer(pitch_)), place.unit));
            (this->*update)(
                part, [&](int gate) { return gates.value(i, add(integer(int64_t{gate} * (kPanel / lanes_)), v)); },
                place);
          });
        });
      });
    });
  }

  const int64_t blocks_;  // of kPanel units
  std::optional<ConstantId> constant_r_;
  uint32_t packed_r_ = 0;  // scratch that holds a live r
  Buffer weights_;
  Expr unit_block_;
};

}  // namespace

LoweredGroup lower_recurrent(Context& context, const Op& group) { return RecurrentLowering(context, group).lower(); }

}  // namespace lapidary::lowering
