// Running sums and the like along one axis. A line is a position on the other axes; lines are the tasks.
//
// Where the axis is not the last one, the lanes run along the last and carry one sum each. Along the last axis itself a
// vector is summed in log2(lanes) rounds of shuffles, and its last lane is carried on:
//
//   x          1 2 3 4        + x shifted by 1   1 3 5 7        + that shifted by 2   1 3 6 10     + carry
#include "passes/lower/map_kernel.h"
#include "passes/lower/op_loops.h"
#include "passes/lower/register_tile.h"

namespace lapidary::lowering {

using namespace loops;

namespace {

constexpr int64_t kStrip = 4;  // vectors of lines that a task sums side by side

class ScanLowering {
 public:
  ScanLowering(Context& context, const Op& group, const Op& op)
      : dims_(context.module.dims),
        op_(op),
        axis_(static_cast<size_t>(op.params.integer("axis"))),
        combine_(*parse_scalar_op(op.params.text("op"))),
        exclusive_(op.params.integer_or("exclusive", 0) != 0),
        reverse_(op.params.integer_or("reverse", 0) != 0),
        builder_(context.module, context.target(), "scan", op.params.text("op")),
        emit_(builder_, group),
        lanes_(context.target().f32_lanes()),
        identity_(splat_to(identity_of(reduction_by(combine_), op.type().dtype), lanes_)) {}

  LoweredStep lower() {
    const Shape& shape = op_.type().shape;
    const bool rows = axis_ + 1 == shape.size();
    std::vector<Dim> tasks = shape;
    tasks[axis_] = dims_.constant(1);
    if (!rows) tasks.back() = dims_.ceildiv(shape.back(), dims_.constant(kStrip * lanes_));
    place_ = builder_.split_task(tasks);
    extent_ = builder_.parameter(shape[axis_]);
    Block& body = builder_.body;
    carry_ = body.local("carry", identity_->type, rows ? 1 : kStrip);
    for (int64_t i = 0; i < (rows ? 1 : kStrip); ++i) body.add(store(carry_, integer(i), identity_));
    if (rows)
      along_row(body);
    else
      across(body, shape.back());
    LoweredStep step = single_step(builder_.finish(dims_.product(tasks)));
    step.grain = grain_for(guess(shape[axis_]) * (rows ? 1 : kStrip * lanes_));
    const auto total = lapidary::value_of(dims_.product(shape));
    step.serial = total && *total <= 4096;
    return step;
  }

 private:
  Expr carried() const { return load(carry_, integer(0)); }
  Expr combined(const Expr& a, const Expr& b) const { return apply(combine_, {a, b}); }

  // One sum in each lane, each of a line of its own; a task has several vectors of them, so that it reads enough of
  // each row for the prefetchers.
  void across(Block& body, Dim width) {
    Expr column = body.let("column", mul(place_.back(), integer(kStrip * lanes_)));
    Expr count = body.let("count", min(sub(builder_.parameter(width), column), integer(kStrip * lanes_)));
    serial(body, "u", integer(0), extent_, 1, [&](Block& row, Expr step) {
      const Expr along_axis = row.let("at", from_front(step));
      vector_loop(row, integer(0), count, lanes_, !known_multiple(width, lanes_),
                  [&](Block& block, const Expr& first, const Expr& mask) {
                    GroupEmitter::Scope scope(emit_, block);
                    Coords coords{coords_at(at(along_axis)), lanes_, mask};
                    coords.axes.back() = along(add(column, first));
                    const Expr vector = floordiv(first, integer(lanes_));
                    Expr before = block.let("before", load(carry_, vector));
                    Expr sum = block.let("sum", combined(before, emit_.value(op_.operand(0), coords)));
                    emit_.store(0, coords, exclusive_ ? before : sum);
                    block.add(store(carry_, vector, sum));
                  });
    });
  }

  void along_row(Block& body) {
    vector_loop(body, integer(0), extent_, lanes_, !known_multiple(op_.type().shape[axis_], lanes_),
                [&](Block& block, const Expr& first, const Expr& mask) {
                  GroupEmitter::Scope scope(emit_, block);
                  Coord position = reverse_ ? along(from_front(first), integer(-1)) : along(first);
                  const Coords coords{coords_at(position), lanes_, mask};
                  Expr x = emit_.value(op_.operand(0), coords);
                  if (mask) x = select(mask, x, identity_);
                  Expr before = block.let("before", carried());
                  for (int shift = 1; shift < lanes_; shift *= 2)
                    x = block.let("x", combined(shifted(identity_, x, shift), x));
                  Expr sum = block.let("sum", combined(before, x));
                  emit_.store(0, coords, exclusive_ ? shifted(before, sum, 1) : sum);
                  block.add(store(carry_, integer(0),
                                  shuffle({sum}, std::vector<int>(static_cast<size_t>(lanes_), lanes_ - 1))));
                });
  }

  // The lanes of x moved up by `shift`; what is left behind comes from `fill`.
  Expr shifted(const Expr& fill, const Expr& x, int shift) const {
    std::vector<int> lanes;
    for (int i = 0; i < lanes_; ++i) lanes.push_back(lanes_ - shift + i);
    return shuffle({fill, x}, lanes);
  }

  Expr from_front(const Expr& step) const { return reverse_ ? sub(sub(extent_, integer(1)), step) : step; }

  std::vector<Coord> coords_at(Coord position) const {
    std::vector<Coord> coords;
    for (const Expr& place : place_) coords.push_back(at(place));
    coords[axis_] = std::move(position);
    return coords;
  }

  DimPool& dims_;
  const Op& op_;
  const size_t axis_;
  const ScalarOp combine_;
  const bool exclusive_, reverse_;
  KernelBuilder builder_;
  GroupEmitter emit_;
  const int lanes_;
  const Expr identity_;
  std::vector<Expr> place_;  // of the task, by axis
  Expr extent_;
  Buffer carry_;  // the sums so far: a lane for each line, or one sum in all
};

}  // namespace

LoweredGroup lower_scan(Context& context, const Op& group) {
  LoweredGroup lowered;
  lowered.steps.push_back(ScanLowering(context, group, anchor_of(group)).lower());
  return lowered;
}

}  // namespace lapidary::lowering
