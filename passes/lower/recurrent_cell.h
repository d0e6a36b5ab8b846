// One layer of RNN, GRU or LSTM cells on its way to kernels: what the schedules of a CPU and of a GPU share, which is
// all but the products. States lie in scratch, rows of `pitch` a direction and batch row: h alternates between two
// halves of the first, c stays in place; a GRU whose reset gate acts before the product has z and r∘h there.
#pragma once

#include "ir/composites.h"
#include "passes/lower/family.h"
#include "passes/lower/group_emitter.h"
#include "passes/lower/recurrent_units.h"

namespace lapidary::lowering {

// The vectors of one batch row and one vector of units, after the products.
struct UnitPlace {
  loops::Expr row, unit;  // unit: of lane 0
  loops::Expr state;      // where it is in one half of the states
  loops::Expr mask;       // of the units there are; null: all
};

class RecurrentCell {
 protected:
  RecurrentCell(Context& context, const Op& group, int lanes);

  using Expr = loops::Expr;
  using Sums = std::function<Expr(int gate)>;
  // The sums of `count` gates over rows of `states` from `base` on, handed to `update`.
  using Update = void (RecurrentCell::*)(Block&, const Sums&, const UnitPlace&);
  virtual void products(Block&, int first_gate, int count, const loops::Buffer& states, Expr base, Update) = 0;

  // Steps before and behind the recurrence, and its scratch.
  std::vector<Dim> scratch();
  LoweredStep initial_state();
  LoweredStep final_state();
  bool gives_states() const;

  // The recurrence's kernel: states, and for the task of `direction_` in `round` where it stands; then its products.
  void open_states(KernelBuilder&, GroupEmitter&);
  void take_round(const Expr& round);
  Dim rounds() { return dims_.mul(time_, dims_.constant(two_rounds_ ? 2 : 1)); }
  Dim flops();

  Module& module_;
  DimPool& dims_;
  const Target& target_;
  const Op& group_;
  const Op& op_;
  const int lanes_;  // units side by side
  const std::string cell_;
  const int64_t gates_;
  const bool two_rounds_;
  Dim time_, batch_, direction_size_, state_;
  int64_t directions_, hidden_, pitch_;
  const Value *c0_ = nullptr, *r_bias_ = nullptr, *lengths_ = nullptr;
  // of the recurrence's kernel
  KernelBuilder* builder_ = nullptr;
  GroupEmitter* emit_ = nullptr;
  loops::Buffer h_, c_, z_, kept_;
  Expr t_, direction_, own_, from_, to_;  // own, from and to: where the direction's states begin

 private:
  Dim bytes_of_states(int64_t count) { return dims_.mul(state_, dims_.constant(count * 4)); }
  LoweredStep for_units(const char* schedule, int64_t units, const RecurrentUnits::Body&);
  RecurrentUnits units() const { return {group_, directions_, batch_, hidden_, lanes_}; }
  Expr from_input(int gate, const UnitPlace&);
  Expr activated(Block&, ScalarOp activation, Expr sum, Expr input);
  void update(Block&, const Sums&, const UnitPlace&);
  void lstm(Block&, const Sums&, const UnitPlace&);
  void gru_linear(Block&, const Sums&, const UnitPlace&);
  void reset(Block&, const Sums&, const UnitPlace&);
  void gru_candidate(Block&, const Sums&, const UnitPlace&);
  Expr mixed(const Expr& z, const Expr& n, const UnitPlace&);
  void finish(Block&, const UnitPlace&, Expr hidden, Expr cell);
  void store_result(int index, const Coords&, const Expr& value);
};

}  // namespace lapidary::lowering
