// An LSTM layer's way back through time on its way to kernels: what the schedules of a CPU and of a GPU share, which is
// all but the product of da(t+1) with r. A round of the step is a time step, from the last to the first. In scratch lie
// r, packed as the product wants it; da of the step before and of this one, in turns, rows of four times `pitch` for
// each direction and batch row; and dc, which stays in place.
#pragma once

#include "ir/composites.h"
#include "passes/lower/family.h"
#include "passes/lower/group_emitter.h"
#include "passes/lower/recurrent_units.h"

namespace lapidary::lowering {

class RecurrentGradientCell {
 protected:
  using Expr = loops::Expr;

  RecurrentGradientCell(Context& context, const Op& group, int lanes);
  LoweredGroup lowered(LoweredStep pack, LoweredStep recurrence);

  // The recurrence's kernel: states, and for the task of `direction_` in `round` where it stands.
  void open_states(KernelBuilder&, GroupEmitter&);
  void take_round(const Expr& round);
  // Of these units of a batch row, from da(t+1)·r. mask: of the units there are; null: all.
  void update(Block&, const Expr& row, const Expr& unit, const Expr& mask, const Expr& sum);

  static constexpr int kGates = 4;
  enum Operand { kR, kDy, kDh, kDc, kGatesKept, kCellsKept, kC0 };
  enum Scratch : uint32_t { kPacked, kStates, kCells };

  Module& module_;
  DimPool& dims_;
  const Target& target_;
  const Op& group_;
  const Op& op_;
  const int lanes_;  // units side by side
  const int64_t directions_, hidden_, pitch_;
  Dim time_, batch_, rows_;  // rows_: of the batch in all directions
  // of the recurrence's kernel
  KernelBuilder* builder_ = nullptr;
  GroupEmitter* emit_ = nullptr;
  loops::Buffer packed_, states_;
  Expr direction_, from_, to_;  // from and to: where the direction's rows of da begin

 private:
  LoweredStep for_units(const char* schedule, int64_t units, const RecurrentUnits::Body&);
  LoweredStep initial_state();
  LoweredStep final_state();
  RecurrentUnits units() const { return {group_, directions_, batch_, hidden_, lanes_}; }
  Expr cells_before(const Expr& row, const Coord& unit, const Expr& mask);

  loops::Buffer dc_;
  Expr round_, t_, goes_down_;
};

}  // namespace lapidary::lowering
