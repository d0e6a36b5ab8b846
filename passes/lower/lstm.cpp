// The recurrent part of an LSTM layer: gates(t) = xw(t) + h(t-1)·rᵀ, then the cell update, for every time step. The
// input's product with w for all steps is an ordinary contraction before it.
//
// One step of the program in `time` rounds: a round is one time step, its tasks are blocks of 16 units, and the team's
// barrier between rounds is the recurrence. A task owns the four gates of its units: r lies as [H/16][H][4][16], so one
// pass over it, 256 bytes a k, feeds four accumulators for each batch row, and activations and cell update happen in
// registers. h alternates between two halves of a scratch buffer, c stays in place.
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

constexpr int kGates = 4;   // input, output, forget, cell: ONNX's order
constexpr int kUnroll = 4;

// r [4H, H] as [ceil(H/16)][H][4][16].
ConstantId packed_recurrence(ConstantTable& constants, ConstantId r, int64_t hidden, int64_t blocks) {
  r = constants.transformed(r, {.kind = Transform::Kind::Reshape, .shape = {kGates, hidden, hidden}});
  if (blocks * kPanel != hidden) r = constants.transformed(r, {.kind = Transform::Kind::Pad, .shape = {kGates, blocks * kPanel, hidden}});
  r = constants.transformed(r, {.kind = Transform::Kind::Reshape, .shape = {kGates, blocks, kPanel, hidden}});
  return constants.transformed(r, {.kind = Transform::Kind::Transpose, .axes = {1, 3, 0, 2}});
}

class LstmLowering {
 public:
  LstmLowering(Context& context, const Op& group, const Op& lstm)
      : module_(context.module), dims_(module_.dims), target_(context.target()), group_(group), op_(lstm), lanes_(target_.f32_lanes()) {
    time_ = lstm.operand(0)->type.shape[0];
    batch_ = lstm.operand(0)->type.shape[1];
    hidden_ = *lapidary::value_of(lstm.operand(2)->type.shape[1]);
    blocks_ = (hidden_ + kPanel - 1) / kPanel;
    state_ = dims_.mul(batch_, dims_.constant(blocks_ * kPanel));
  }

  LoweredGroup lower() {
    LoweredGroup result;
    result.scratch = {dims_.mul(state_, dims_.constant(2 * 4)), dims_.mul(state_, dims_.constant(4))};   // h twice, c
    result.steps.push_back(initial_state());
    result.steps.push_back(recurrence());
    if (!op_.result(1)->uses.empty() || !op_.result(2)->uses.empty()) result.steps.push_back(final_state());
    return result;
  }

 private:
  // h(0) and c(0) into the scratch, zero beyond the hidden size; one task a batch row.
  LoweredStep initial_state() {
    KernelBuilder builder(module_, target_, "lstm", "initial");
    GroupEmitter emit(builder, group_);
    Expr row = builder.split_task({batch_})[0];
    Buffer h = builder.scratch(0, DType::F32, true), c = builder.scratch(1, DType::F32, true);
    Expr base = mul(row, integer(blocks_ * kPanel));
    serial(builder.body, "u", integer(0), integer(blocks_ * kPanel), lanes_, [&](Block& block, Expr unit) {
      GroupEmitter::Scope scope(emit, block);
      Expr left = sub(integer(hidden_), unit);
      Coords coords{{at(row), along(unit)}, lanes_, first_lanes(left, lanes_)};
      auto start = [&](const Buffer& buffer, int operand) {
        Block inside, beyond;
        {
          GroupEmitter::Scope inner(emit, inside);
          inside.add(loops::store(buffer, add(base, unit), emit.value(op_.operand(operand), coords)));
        }
        beyond.add(loops::store(buffer, add(base, unit), real(0, lanes_)));
        block.add(if_then(less(integer(0), left), inside.take(), beyond.take()));
      };
      start(h, 2);
      start(c, 3);
    });
    LoweredStep step = single_step(builder.finish(batch_));
    step.flops = dims_.constant(0);   // all of them are the recurrence's
    return step;
  }

  LoweredStep recurrence() {
    KernelBuilder builder(module_, target_, "lstm", "step");
    GroupEmitter emit(builder, group_);
    std::optional<ConstantId> r = constant_behind(module_, group_, op_.operand(1));
    if (!r) unsupported(module_, group_, "an LSTM whose recurrent weights are computed at run time");
    Buffer weights = builder.weight(packed_recurrence(module_.constants, *r, hidden_, blocks_));
    Buffer h = builder.scratch(0, DType::F32, true, true), c = builder.scratch(1, DType::F32, true, true);
    Block& body = builder.body;
    std::vector<Expr> axes = builder.split_task({time_, dims_.constant(blocks_)});
    Expr step = axes[0], unit_block = axes[1], state = builder.parameter(state_), row_size = integer(blocks_ * kPanel);
    Expr t = op_.params.integer("reverse") ? body.let("t", sub(sub(builder.parameter(time_), integer(1)), step)) : step;
    Expr from = body.let("from", mul(mod(step, integer(2)), state)), to = body.let("to", sub(state, from));
    Expr r_base = body.let("r", mul(unit_block, integer(hidden_ * kGates * kPanel)));
    RowSplit split = split_rows(dims_, batch_, max_rows(target_, kGates));
    Expr height = builder.literal(split.height), longer = builder.parameter(split.longer);
    serial(body, "tile", integer(0), builder.parameter(split.tiles), 1, [&](Block& loop, Expr tile) {
      Expr rows = loop.let("rows", add(height, select(less(tile, longer), integer(1), integer(0))));
      Expr first = loop.let("row", add(mul(tile, height), min(tile, longer)));
      for_height(loop, split, rows, first, [&](Block& block, int count, Expr row) {
        TileShape shape{.rows = count, .panels = kGates, .lanes = lanes_};
        if (count * shape.vectors() < 8) shape.phases = 2;
        RegisterTile gates(block, shape);
        RegisterTile::Operands operands{h, weights,
            [=](Expr i, Expr k) { return add(add(from, mul(add(row, i), row_size)), k); },
            [=, this](Expr j, Expr k) { return add(add(r_base, mul(k, integer(kGates * kPanel))), mul(j, integer(lanes_))); }};
        gates.multiply(block, operands, integer(hidden_), kUnroll);
        gates.join_phases(block);
        unrolled(block, "i", count, [&](Block& inner, Expr i) {
          unrolled(inner, "v", kPanel / lanes_, [&](Block& part, Expr v) {
            update(emit, part, gates, i, v, t, add(row, i), add(mul(unit_block, integer(kPanel)), mul(v, integer(lanes_))), c, h, to);
          });
        });
      });
    });
    LoweredStep lowered = single_step(builder.finish(dims_.constant(blocks_), nullptr, time_));
    lowered.flops = dims_.product(std::vector<Dim>{dims_.constant(2 * kGates * hidden_ * hidden_), time_, batch_});
    return lowered;
  }

  // c' = σ(f)·c + σ(i)·tanh(g), h = σ(o)·tanh(c') for the lanes from `unit` on.
  void update(GroupEmitter& emit, Block& block, const RegisterTile& gates, Expr i, Expr v, Expr t, Expr row, Expr unit,
              const Buffer& c, const Buffer& h, Expr to) {
    GroupEmitter::Scope scope(emit, block);
    Expr mask = hidden_ % kPanel ? first_lanes(sub(integer(hidden_), unit), lanes_) : nullptr;
    auto gate = [&](int index, ScalarOp activation) {
      Expr sum = gates.value(i, add(integer(int64_t{index} * (kPanel / lanes_)), v));
      Expr x = emit.value(op_.operand(0), {{at(t), at(row), along(add(integer(index * hidden_), unit))}, lanes_, mask});
      return block.let("gate", apply(activation, {add(sum, x)}));
    };
    Expr in = gate(0, ScalarOp::Sigmoid), out = gate(1, ScalarOp::Sigmoid), forget = gate(2, ScalarOp::Sigmoid), cell = gate(3, ScalarOp::Tanh);
    Expr at_state = block.let("at", add(mul(row, integer(blocks_ * kPanel)), unit));
    Expr next = block.let("c", loops::fma(forget, load(c, at_state, lanes_), mul(in, cell)));
    Expr hidden = block.let("h", mul(out, apply(ScalarOp::Tanh, {next})));
    block.add(loops::store(c, at_state, next));
    block.add(loops::store(h, add(to, at_state), hidden));
    if (!op_.result(0)->uses.empty()) emit.store_results(op_.result(0), {{at(t), at(row), along(unit)}, lanes_, mask}, hidden);
  }

  // The states after the last step, as results.
  LoweredStep final_state() {
    KernelBuilder builder(module_, target_, "lstm", "final");
    GroupEmitter emit(builder, group_);
    Expr row = builder.split_task({batch_})[0];
    Buffer h = builder.scratch(0, DType::F32, false), c = builder.scratch(1, DType::F32, false);
    Expr last = mul(mod(builder.parameter(time_), integer(2)), builder.parameter(state_));
    serial(builder.body, "u", integer(0), integer(hidden_), lanes_, [&](Block& block, Expr unit) {
      GroupEmitter::Scope scope(emit, block);
      Expr from = block.let("from", add(mul(row, integer(blocks_ * kPanel)), unit));
      Coords coords{{at(row), along(unit)}, lanes_, first_lanes(sub(integer(hidden_), unit), lanes_)};
      if (!op_.result(1)->uses.empty()) emit.store_results(op_.result(1), coords, load(h, add(last, from), lanes_));
      if (!op_.result(2)->uses.empty()) emit.store_results(op_.result(2), coords, load(c, from, lanes_));
    });
    LoweredStep step = single_step(builder.finish(batch_));
    step.flops = dims_.constant(0);   // all of them are the recurrence's
    return step;
  }

  Module& module_;
  DimPool& dims_;
  const Target& target_;
  const Op& group_;
  const Op& op_;
  int lanes_;
  Dim time_, batch_, state_;
  int64_t hidden_, blocks_;
};

}  // namespace

LoweredGroup lower_lstm(Context& context, const Op& group) {
  auto anchor = group.regions[0]->ops.begin();
  std::advance(anchor, group.params.integer("anchor"));
  const Op& lstm = *anchor;
  if (lstm.type(0).dtype != DType::F32) unsupported(context.module, group, "an LSTM over another type than float");
  return LstmLowering(context, group, lstm).lower();
}

}  // namespace lapidary::lowering
