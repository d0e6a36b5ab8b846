// What recurs of an RNN, GRU or LSTM layer on a GPU. A time step is a launch (a round of the step, see
// ../recurrent.cpp), as its products need all of the step before; in it a warp has one unit of a direction and a few
// batch rows. Its lanes go along h, 16 bytes of each gate's row of r and of each state at a time, and what they have
// summed is combined; then a lane for each batch row does the cell's update. r is read where it lies: 4 H² floats of an
// LSTM, once for every few rows, out of the cache on the chip, by all multiprocessors together; that, and the launch,
// is what a step costs.
//
// Example, lstm of H = 512, two directions, batch 2 by blocks of 4 warps:  task: direction, 4 units, 4 batch rows
//   lane l: s[g, b] = Σ r[g H + unit, 4 l + 128 c ..] · h[b, 4 l + 128 c ..], c < 4    combine s add 32
//   lane l < 2: c' = …, h'[l, unit] = …
#include <fmt/format.h>

#include <algorithm>

#include "passes/lower/gpu/gpu.h"
#include "passes/lower/gpu/warp_products.h"
#include "passes/lower/recurrent_cell.h"

namespace lapidary::lowering::gpu {

using namespace loops;

namespace {

constexpr int kWarps = 4;
constexpr int64_t kMostRows = 4;  // of the batch, of a warp

class RecurrentLowering : RecurrentCell {
 public:
  RecurrentLowering(Context& context, const Op& group) : RecurrentCell(context, group, 1) {
    while (packet_ > 1 && hidden_ % packet_ != 0) packet_ /= 2;
  }

  LoweredGroup lower() {
    LoweredGroup result;
    result.scratch = scratch();
    result.steps.push_back(initial_state());
    LoweredStep step;
    const Dim single = dims_.less(batch_, dims_.constant(2));
    if (lapidary::value_of(single) != 0)
      step.variants.push_back(recurrence(1, lapidary::value_of(single) ? nullptr : single));
    if (lapidary::value_of(single) != 1) step.variants.push_back(recurrence(kMostRows, nullptr));
    step.flops = flops();
    result.steps.push_back(std::move(step));
    if (gives_states()) result.steps.push_back(final_state());
    return result;
  }

 private:
  LoweredVariant recurrence(int64_t rows, Dim when) {
    KernelBuilder builder(module_, target_, "recurrent", fmt::format("{} rows={} lanes={}", cell_, rows, packet_));
    GroupEmitter emit(builder, group_);
    builder.threads = kWarps * kWarp;
    rows_ = rows;
    open_states(builder, emit);
    const std::vector<Dim> tasks = {dims_.constant(directions_), dims_.constant((hidden_ + kWarps - 1) / kWarps),
                                    dims_.ceildiv(batch_, dims_.constant(rows))};
    const std::vector<Expr> axes = builder.split_task({rounds(), tasks[0], tasks[1], tasks[2]});
    direction_ = axes[1];
    first_unit_ = builder.body.let("unit", mul(axes[2], integer(kWarps)));
    first_row_ = builder.body.let("row", mul(axes[3], integer(rows)));
    take_round(axes[0]);
    return builder.finish(dims_.product(tasks), when, rounds());
  }

  void threads(Block& body, const std::function<void(Block&, const Expr& unit, const Expr& lane)>& each) {
    const Var thread = make_var("thread", {}, 0, builder_->threads - 1);
    Block own;
    const Expr unit = own.let("unit", add(first_unit_, floordiv(variable(thread), integer(kWarp))));
    each(own, unit, own.let("lane", mod(variable(thread), integer(kWarp))));
    body.add(for_loop(thread, integer(0), integer(builder_->threads), 1, LoopKind::Thread, own.take()));
  }

  // Warps beyond the last unit, and rows beyond the last one, do that one over, and store nothing.
  void products(Block& body, int first_gate, int count, const Buffer& states, Expr base, Update update) override {
    const Buffer sums = body.fragment("sums", DType::F32, count * rows_);
    threads(body, [&](Block& own, const Expr& unit, const Expr& lane) {
      sum(own, sums, {first_gate, count, states, base}, own.let("known", min(unit, integer(hidden_ - 1))), lane);
    });
    body.add(combine(sums, ScalarOp::Add, kWarp));
    threads(body, [&](Block& own, const Expr& unit, const Expr& lane) {
      const Expr row = own.let("row", add(first_row_, lane));
      Block there;
      {
        GroupEmitter::Scope scope(*emit_, there);
        const Expr state = there.let("at", add(mul(row, integer(pitch_)), unit));
        const auto of_gate = [&](int gate) { return there.let("sum", of_lane(sums, gate * rows_, rows_, lane)); };
        (this->*update)(there, of_gate, {row, unit, state, nullptr});
      }
      const Expr is_row = both(less(lane, integer(rows_)), less(row, builder_->parameter(batch_)));
      own.add(if_then(hidden_ % kWarps ? both(is_row, less(unit, integer(hidden_))) : is_row, there.take()));
    });
  }

  struct Factors {
    int first_gate, count;
    Buffer states;
    Expr base;
  };

  // The lane's part of every gate's product with every row, into `sums`.
  void sum(Block& own, const Buffer& sums, const Factors& of, const Expr& unit, const Expr& lane) {
    std::vector<Expr> begins;
    for (int64_t i = 0; i < rows_; ++i) {
      Expr row = add(first_row_, integer(i));
      if (i > 0) row = min(row, sub(builder_->parameter(batch_), integer(1)));
      begins.push_back(own.let("begin", add(of.base, mul(row, integer(pitch_)))));
    }
    const auto state = [&](Block& block, const Expr& k, int64_t row) {
      return block.let("h", load(of.states, add(begins[static_cast<size_t>(row)], k), packet_));
    };
    const auto weight = [&](Block& block, const Expr& k, int gate) {
      GroupEmitter::Scope scope(*emit_, block);
      const Expr line = add(unit, integer((of.first_gate + gate) * hidden_));
      return emit_->value(op_.operand(1), {{at(direction_), at(line), packet_ > 1 ? along(k) : at(k)}, packet_});
    };
    sum_products(
        own, sums, lane,
        {.extent = hidden_, .packet = packet_, .rows = rows_, .lines = of.count, .vector = state, .line = weight});
  }

  int packet_ = 4;    // neighbours a lane loads at once
  int64_t rows_ = 1;  // of the batch, of a warp
  Expr first_unit_, first_row_;
};

}  // namespace

LoweredGroup lower_recurrent(Context& context, const Op& group) { return RecurrentLowering(context, group).lower(); }

}  // namespace lapidary::lowering::gpu
