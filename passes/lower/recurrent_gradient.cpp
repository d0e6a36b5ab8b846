// An LSTM layer's way back through time (see recurrent_gradient_cell.h): like the layer's own kernel (recurrent.cpp),
// one step of the program in a round for each time step, whose tasks are blocks of 16 units of each direction. A task
// multiplies all of da(t+1), [B, 4·H], by its units' columns of r, packed as [D][H/16][4·H][16], and makes its part of
// da(t) of the sum in registers.
#include <algorithm>

#include "passes/lower/contraction_form.h"
#include "passes/lower/recurrent_gradient_cell.h"
#include "passes/lower/register_tile.h"

namespace lapidary::lowering {

using namespace loops;

namespace {

constexpr int kUnroll = 4;

class RecurrentGradientLowering : RecurrentGradientCell {
 public:
  RecurrentGradientLowering(Context& context, const Op& group)
      : RecurrentGradientCell(context, group, context.target().f32_lanes()), blocks_(pitch_ / kPanel) {}

  LoweredGroup lower() { return lowered(pack(), recurrence()); }

 private:
  // One task a direction, block of units and gate; what is beyond the hidden size is 0.
  LoweredStep pack() {
    KernelBuilder builder(module_, target_, "recurrent_gradient", "pack");
    GroupEmitter emit(builder, group_);
    const std::vector<Dim> extents = {dims_.constant(directions_), dims_.constant(blocks_), dims_.constant(kGates)};
    const std::vector<Expr> axes = builder.split_task(extents);
    const Buffer packed = builder.scratch(kPacked, DType::F32, true);
    const Expr panel = add(mul(axes[0], integer(blocks_)), axes[1]);
    const Expr first = builder.body.let("line", mul(add(mul(panel, integer(kGates)), axes[2]), integer(pitch_)));
    serial(builder.body, "m", integer(0), integer(pitch_), 1, [&](Block& block, Expr from) {
      unrolled(block, "j", kPanel / lanes_, [&](Block& into, Expr j) {
        const Expr unit = into.let("unit", add(mul(axes[1], integer(kPanel)), mul(j, integer(lanes_))));
        const Expr left = sub(integer(hidden_), unit);
        const Expr place = add(mul(add(first, from), integer(kPanel)), mul(j, integer(lanes_)));
        Block some, none;
        {
          GroupEmitter::Scope scope(emit, some);
          const Coords coords{{at(axes[0]), at(add(mul(axes[2], integer(hidden_)), from)), along(unit)},
                              lanes_,
                              hidden_ % kPanel ? first_lanes(left, lanes_) : nullptr};
          some.add(loops::store(packed, place, splat_to(emit.value(op_.operand(kR), coords), lanes_)));
        }
        none.add(loops::store(packed, place, real(0, lanes_)));
        into.add(if_then(both(less(integer(0), left), less(from, integer(hidden_))), some.take(), none.take()));
      });
    });
    return single_step(builder.finish(dims_.product(extents)));
  }

  LoweredStep recurrence() {
    KernelBuilder builder(module_, target_, "recurrent_gradient", "lstm");
    GroupEmitter emit(builder, group_);
    open_states(builder, emit);
    const std::vector<Expr> axes = builder.split_task({time_, dims_.constant(directions_), dims_.constant(blocks_)});
    direction_ = axes[1], block_ = axes[2];
    take_round(axes[0]);
    products();
    return single_step(builder.finish(dims_.constant(directions_ * blocks_), nullptr, time_));
  }

  void products() {
    const int64_t depth = kGates * pitch_;
    const RowSplit split = split_rows(dims_, batch_, max_rows(target_, 1));
    const Expr height = builder_->literal(split.height), longer = builder_->parameter(split.longer);
    const Expr panel = add(mul(direction_, integer(blocks_)), block_);
    const Expr weights = builder_->body.let("r", mul(panel, integer(depth * kPanel)));
    serial(builder_->body, "tile", integer(0), builder_->parameter(split.tiles), 1, [&](Block& loop, Expr tile) {
      const Expr rows = loop.let("rows", add(height, select(less(tile, longer), integer(1), integer(0))));
      const Expr first = loop.let("row", add(mul(tile, height), min(tile, longer)));
      for_height(loop, split, rows, first, [&](Block& block, int tall, Expr row) {
        TileShape shape{.rows = tall, .panels = 1, .lanes = lanes_};
        if (tall * shape.vectors() < 8) shape.phases = 2;
        RegisterTile sums(block, shape);
        const RegisterTile::Operands operands{
            states_, packed_, [&](Expr i, Expr k) { return add(mul(add(from_, add(row, i)), integer(depth)), k); },
            [&](Expr j, Expr k) { return add(add(weights, mul(k, integer(kPanel))), mul(j, integer(lanes_))); }};
        sums.multiply(block, operands, integer(depth), kUnroll);
        sums.join_phases(block);
        unrolled(block, "i", tall, [&](Block& inner, Expr i) {
          unrolled(inner, "v", kPanel / lanes_, [&](Block& part, Expr v) {
            const Expr unit = add(mul(block_, integer(kPanel)), mul(v, integer(lanes_)));
            const Expr mask = hidden_ % kPanel ? first_lanes(sub(integer(hidden_), unit), lanes_) : nullptr;
            update(part, add(row, i), unit, mask, sums.value(i, v));
          });
        });
      });
    });
  }

  const int64_t blocks_;  // of kPanel units
  Expr block_;
};

}  // namespace

LoweredGroup lower_recurrent_gradient(Context& context, const Op& group) {
  return RecurrentGradientLowering(context, group).lower();
}

}  // namespace lapidary::lowering
