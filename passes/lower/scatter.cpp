// Updates put into a tensor at indices: the data are copied to the result, then a second step goes over the updates in
// order.
//
// A line is a position on the axes beside the indexed one; lines never meet, so they are the tasks, and where the
// indexed axis is not the last one the lanes run along the last: as many lines at once. When there are too few lines
// for a team, each task owns a range of the indexed axis too, reads all indices and takes what falls into its range:
// updates of one element keep their order, whatever the number of threads.
//
//   data [D, 768], indices [U]     tasks: 3 chunks of 256 columns, or those times ranges of D
//   data [D], indices [U]          tasks: ranges of D
//
// An index that is out of range sets a flag and is left out.
#include "passes/lower/scatter.h"

#include "ir/error.h"
#include "passes/lower/map_kernel.h"
#include "passes/lower/register_tile.h"

namespace lapidary::lowering {

using namespace loops;

namespace {

constexpr int64_t kChunk = 256;        // elements of the last axis in a task
constexpr int64_t kFewTasks = 16;      // fewer, and the indexed axis is cut into ranges
constexpr int64_t kLeastRange = 1024;  // of the indexed axis: below, reading all indices again does not pay

Expr within(const Expr& index, const Expr& low, const Expr& high) {
  const int lanes = index->type.lanes;
  return apply(ScalarOp::And,
               {apply(ScalarOp::LessEqual, {splat_to(low, lanes), index}), less(index, splat_to(high, lanes))});
}

class ScatterLowering {
 public:
  ScatterLowering(Context& context, const Op& group, const Op& op)
      : dims_(context.module.dims),
        group_(group),
        op_(op),
        axis_(static_cast<int>(op.params.integer("axis"))),
        rank_(op.type().rank()),
        combine_(parse_scalar_op(op.params.text("reduction"))),
        builder_(context.module, context.target(), "scatter", op.params.text("reduction")),
        emit_(builder_, group) {}

  LoweredStep lower() {
    const Shape& updates = op_.operand(2)->type.shape;
    const bool vectors = axis_ != rank_ - 1;
    lanes_ = vectors ? builder_.target.f32_lanes() : 1;
    std::vector<Dim> tasks;
    for (int i = 0; i < rank_; ++i) tasks.push_back(i == axis_ ? dims_.constant(1) : updates[static_cast<size_t>(i)]);
    if (vectors) tasks.back() = dims_.ceildiv(updates.back(), dims_.constant(kChunk));
    Dim extent = op_.type().shape[static_cast<size_t>(axis_)];
    Dim few = dims_.less(dims_.product(tasks), dims_.constant(kFewTasks));
    Dim ranges = dims_.min(dims_.constant(kFewTasks),
                           dims_.max(dims_.constant(1), dims_.floordiv(extent, dims_.constant(kLeastRange))));
    tasks[static_cast<size_t>(axis_)] = dims_.select(few, ranges, dims_.constant(1));
    place_ = builder_.split_task(tasks);
    result_ = combine_ ? builder_.result_read_back(group_.result()) : builder_.result(group_.result());
    find_range(tasks[static_cast<size_t>(axis_)], extent);
    Expr count = builder_.parameter(updates[static_cast<size_t>(axis_)]);
    serial(builder_.body, "u", integer(0), count, 1, [&](Block& block, Expr update) { one_update(block, update); });
    LoweredStep step = single_step(builder_.finish(dims_.product(tasks)));
    step.grain = 1;
    const auto total = lapidary::value_of(dims_.product(updates));
    step.serial = total && *total <= 4 * kLeastRange;
    return step;
  }

 private:
  void find_range(Dim pieces, Dim extent) {
    first_ = integer(0), end_ = builder_.parameter(extent);
    if (lapidary::value_of(pieces) == 1) return;
    Expr size = builder_.parameter(dims_.ceildiv(extent, pieces));
    Expr piece = place_[static_cast<size_t>(axis_)];
    first_ = builder_.body.let("first", mul(piece, size));
    end_ = builder_.body.let("end", loops::min(add(first_, size), end_));
    ranged_ = true;
  }

  // Coordinates of the updates, a vector from `column` on.
  Coords update_at(const Expr& update, const Expr& column, const Expr& mask) const {
    Coords coords;
    coords.lanes = lanes_;
    coords.mask = mask;
    for (int i = 0; i < rank_; ++i)
      coords.axes.push_back(i == axis_                     ? at(update)
                            : lanes_ > 1 && i == rank_ - 1 ? along(column)
                                                           : at(place_[static_cast<size_t>(i)]));
    return coords;
  }

  void one_update(Block& block, const Expr& update) {
    if (lanes_ == 1) return vector(block, update, nullptr, nullptr);
    Expr width = builder_.parameter(op_.operand(2)->type.shape.back());
    Expr begin = mul(place_.back(), integer(kChunk));
    Expr end = block.let("stop", loops::min(add(begin, integer(kChunk)), width));
    vector_loop(block, begin, end, lanes_, true,
                [&](Block& inner, const Expr& column, const Expr& mask) { vector(inner, update, column, mask); });
  }

  void vector(Block& block, const Expr& update, const Expr& column, const Expr& mask) {
    GroupEmitter::Scope scope(emit_, block);
    Coords from = update_at(update, column, mask);
    auto [index, inside] = scatter_place(emit_, block, op_, from);
    const int lanes = index->type.lanes;
    if (ranged_) inside = within(index, first_, end_);
    Coords to = from;
    to.axes[static_cast<size_t>(axis_)] = lanes == 1 ? at(index) : lanewise(index);
    if (lanes == 1) {
      Block hit;
      {
        GroupEmitter::Scope inner(emit_, hit);
        scatter_update(emit_, hit, op_, result_, from, to);
      }
      block.add(if_then(inside, hit.take()));
      return;
    }
    to.mask = both(to.mask, inside);
    scatter_update(emit_, block, op_, result_, from, to);
  }

  DimPool& dims_;
  const Op& group_;
  const Op& op_;
  const int axis_, rank_;
  const std::optional<ScalarOp> combine_;
  KernelBuilder builder_;
  GroupEmitter emit_;
  int lanes_ = 1;
  std::vector<Expr> place_;  // of the task, by axis
  Expr first_, end_;         // of the indexed axis: what the task owns
  bool ranged_ = false;
  Buffer result_;
};

}  // namespace

LoweredStep scatter_data_step(Context& context, const Op& group, const Op& scatter) {
  return map_step(context, group, "scatter", group.type(), [&](GroupEmitter& emit, const Coords& coords) {
    emit.store(0, coords, emit.value(scatter.operand(0), coords));
  });
}

ScatterPlace scatter_place(GroupEmitter& emit, Block& block, const Op& scatter, const Coords& update) {
  const auto axis = static_cast<size_t>(scatter.params.integer("axis"));
  const bool elements = scatter.params.integer("elements") != 0;
  const Coords index_coords = elements ? update : Coords{{update.axes[axis]}};
  Expr index = convert(emit.value_or_scalar(scatter.operand(1), index_coords), DType::I64);
  const int lanes = index->type.lanes;
  const Expr extent = emit.builder.parameter(scatter.type().shape[axis]), zero = splat_to(integer(0), lanes);
  index = block.let("index", select(less(index, zero), add(index, splat_to(extent, lanes)), index));
  const Expr inside = block.let("inside", within(index, integer(0), extent));
  emit.flag_unless(inside, index_coords,
                   fmt::format("{}: an index is out of range", emit.builder.module.describe(scatter.origin)));
  return {index, inside};
}

void scatter_update(GroupEmitter& emit, Block& block, const Op& scatter, const Buffer& result, const Coords& from,
                    const Coords& to) {
  Expr value = emit.value(scatter.operand(2), from);
  const GroupEmitter::Address address = emit.address(emit.group.result()->type, to);
  if (const auto combine = parse_scalar_op(scatter.params.text("reduction")))
    value = apply(*combine, {splat_to(emit.load(result, address, to), to.lanes), value});
  emit.store(result, address, to, block.let("value", value));
}

LoweredGroup lower_scatter(Context& context, const Op& group) {
  const Op& op = anchor_of(group);
  LoweredGroup lowered;
  lowered.steps.push_back(scatter_data_step(context, group, op));
  if (lapidary::value_of(context.module.dims.product(op.operand(2)->type.shape)) != 0)
    lowered.steps.push_back(ScatterLowering(context, group, op).lower());
  return lowered;
}

}  // namespace lapidary::lowering
