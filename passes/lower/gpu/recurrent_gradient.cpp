// An LSTM layer's way back through time on a GPU (see ../recurrent_gradient_cell.h). As in the layer's own kernel
// (recurrent.cpp) a time step is a launch, and in it a warp has one unit of a direction and a few batch rows: its lanes
// go along da(t+1), all gates of all units, and along the unit's column of r, which was laid out as a line before.
// Then a lane for each batch row makes da(t) of the sum. A block's warps share the rows of da, and read 4·H floats
// each of r.
#include <fmt/format.h>

#include "passes/lower/gpu/gpu.h"
#include "passes/lower/gpu/warp_products.h"
#include "passes/lower/recurrent_gradient_cell.h"

namespace lapidary::lowering::gpu {

using namespace loops;

namespace {

constexpr int kWarps = 8;
constexpr int64_t kMostRows = 4;  // of the batch, of a warp
constexpr int kPacket = 4;        // floats of a lane: four gates' floats are always whole packets

class RecurrentGradientLowering : RecurrentGradientCell {
 public:
  RecurrentGradientLowering(Context& context, const Op& group) : RecurrentGradientCell(context, group, 1) {}

  LoweredGroup lower() {
    LoweredStep step;
    const Dim single = dims_.less(batch_, dims_.constant(2));
    if (lapidary::value_of(single) != 0)
      step.variants.push_back(recurrence(1, lapidary::value_of(single) ? nullptr : single));
    if (lapidary::value_of(single) != 1) step.variants.push_back(recurrence(kMostRows, nullptr));
    return lowered(pack(), std::move(step));
  }

 private:
  int64_t depth() const { return kGates * hidden_; }

  // r [D, 4·H, H] as [D, H, 4·H].
  LoweredStep pack() {
    KernelBuilder builder(module_, target_, "recurrent_gradient", "pack");
    GroupEmitter emit(builder, group_);
    builder.for_gpu = true;
    const std::vector<Dim> extents = {dims_.constant(directions_), dims_.constant(hidden_), dims_.constant(depth())};
    const std::vector<Expr> axes = builder.split_task(extents);
    const Buffer packed = builder.scratch(kPacked, DType::F32, true);
    GroupEmitter::Scope scope(emit, builder.body);
    const Expr place = add(mul(add(mul(axes[0], integer(hidden_)), axes[1]), integer(depth())), axes[2]);
    builder.body.add(
        loops::store(packed, place, emit.value(op_.operand(kR), {{at(axes[0]), at(axes[2]), at(axes[1])}})));
    return single_step(builder.finish(dims_.product(extents)));
  }

  LoweredVariant recurrence(int64_t rows, Dim when) {
    KernelBuilder builder(module_, target_, "recurrent_gradient", fmt::format("lstm rows={}", rows));
    GroupEmitter emit(builder, group_);
    builder.threads = kWarps * kWarp;
    open_states(builder, emit);
    const std::vector<Dim> tasks = {dims_.constant(directions_), dims_.constant((hidden_ + kWarps - 1) / kWarps),
                                    dims_.ceildiv(batch_, dims_.constant(rows))};
    const std::vector<Expr> axes = builder.split_task({time_, tasks[0], tasks[1], tasks[2]});
    direction_ = axes[1];
    first_unit_ = builder.body.let("unit", mul(axes[2], integer(kWarps)));
    first_row_ = builder.body.let("row", mul(axes[3], integer(rows)));
    take_round(axes[0]);
    step(rows);
    return builder.finish(dims_.product(tasks), when, time_);
  }

  void threads(const std::function<void(Block&, const Expr& unit, const Expr& lane)>& each) {
    const Var thread = make_var("thread", {}, 0, builder_->threads - 1);
    Block own;
    const Expr unit = own.let("unit", add(first_unit_, floordiv(variable(thread), integer(kWarp))));
    each(own, unit, own.let("lane", mod(variable(thread), integer(kWarp))));
    builder_->body.add(for_loop(thread, integer(0), integer(builder_->threads), 1, LoopKind::Thread, own.take()));
  }

  // Warps beyond the last unit, and rows beyond the last one, do that one over, and store nothing.
  void step(int64_t rows) {
    const Buffer sums = builder_->body.fragment("sums", DType::F32, rows);
    threads([&](Block& own, const Expr& unit, const Expr& lane) { sum(own, sums, rows, unit, lane); });
    builder_->body.add(combine(sums, ScalarOp::Add, kWarp));
    threads([&](Block& own, const Expr& unit, const Expr& lane) {
      const Expr row = own.let("row", add(first_row_, lane));
      Block there;
      update(there, row, unit, nullptr, there.let("sum", of_lane(sums, 0, rows, lane)));
      const Expr is_row = both(less(lane, integer(rows)), less(row, builder_->parameter(batch_)));
      own.add(if_then(hidden_ % kWarps ? both(is_row, less(unit, integer(hidden_))) : is_row, there.take()));
    });
  }

  void sum(Block& own, const Buffer& sums, int64_t rows, const Expr& unit, const Expr& lane) {
    const Expr known = min(unit, integer(hidden_ - 1));
    const Expr line = own.let("r", mul(add(mul(direction_, integer(hidden_)), known), integer(depth())));
    std::vector<Expr> begins;
    for (int64_t i = 0; i < rows; ++i) {
      Expr row = add(first_row_, integer(i));
      if (i > 0) row = min(row, sub(builder_->parameter(batch_), integer(1)));
      begins.push_back(own.let("begin", mul(add(from_, row), integer(depth()))));
    }
    sum_products(own, sums, lane,
                 {.extent = depth(),
                  .packet = kPacket,
                  .rows = rows,
                  .lines = 1,
                  .vector =
                      [&](Block& block, const Expr& k, int64_t row) {
                        return block.let("da", load(states_, add(begins[static_cast<size_t>(row)], k), kPacket));
                      },
                  .line = [&](Block& block, const Expr& k,
                              int) { return block.let("r", load(packed_, add(line, k), kPacket)); }});
  }

  Expr first_unit_, first_row_;
};

}  // namespace

LoweredGroup lower_recurrent_gradient(Context& context, const Op& group) {
  return RecurrentGradientLowering(context, group).lower();
}

}  // namespace lapidary::lowering::gpu
