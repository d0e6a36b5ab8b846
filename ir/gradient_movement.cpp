// Gradients of what moves elements: each goes back to where its element came from, and what was read several times gets
// the sum.
#include <algorithm>

#include "ir/differentiate.h"
#include "ir/error.h"
#include "ir/shape_rules.h"

namespace lapidary {

namespace {

std::vector<int64_t> inverse(const std::vector<int64_t>& perm) {
  std::vector<int64_t> result(perm.size());
  for (size_t i = 0; i < perm.size(); ++i) result[static_cast<size_t>(perm[i])] = static_cast<int64_t>(i);
  return result;
}

// Along axes that the operand lacks or has one element of, the sum. Where only a run can tell whether an extent of F
// was spread to T, [T] is taken as [T/F, F] and the first of the two is summed: all of it if F is 1, nothing if it is
// T.
void broadcast(Gradients& gradients, const Op& op) {
  GraphBuilder& b = gradients.build;
  DimPool& dims = b.module.dims;
  const Shape &from = op.operand(0)->type.shape, &to = op.type().shape;
  const std::vector<int64_t>& axes = op.params.integers("axes");
  Shape split;
  std::vector<int64_t> summed;
  for (int64_t axis = 0; axis < static_cast<int64_t>(to.size()); ++axis) {
    const Dim spread = to[static_cast<size_t>(axis)];
    const auto found = std::ranges::find(axes, axis);
    const Dim extent = found == axes.end() ? b.dim(1) : from[static_cast<size_t>(found - axes.begin())];
    const bool kept = found != axes.end() && known_equal(extent, spread);
    if (!kept) summed.push_back(static_cast<int64_t>(split.size()));
    if (!kept && value_of(extent) != 1) split.push_back(dims.floordiv(spread, dims.max(extent, b.dim(1))));
    split.push_back(value_of(extent) == 1 ? spread : extent);
  }
  Value* g = b.reshape(gradients.of(op.result()), split);
  gradients.add(op.operand(0), b.reshape(b.reduce(OpKind::ReduceSum, g, summed), from));
}

void reshape(Gradients& gradients, const Op& op) {
  gradients.add(op.operand(0), gradients.build.reshape(gradients.of(op.result()), op.operand(0)->type.shape));
}

void transpose(Gradients& gradients, const Op& op) {
  gradients.add(op.operand(0),
                gradients.build.transpose(gradients.of(op.result()), inverse(op.params.integers("perm"))));
}

// The same elements from last to first along an axis.
Value* reversed(GraphBuilder& b, Value* x, int axis) {
  const int rank = x->type.rank();
  Shape starts(static_cast<size_t>(rank), b.dim(0));
  std::vector<int64_t> steps(static_cast<size_t>(rank), 1);
  starts[axis] = b.module.dims.sub(x->type.shape[axis], b.dim(1));
  steps[axis] = -1;
  return b.slice(x, starts, steps, x->type.shape);
}

// Element i at i · step, zeros between and behind: [.., n, ..] → [.., n · step, ..].
Value* spread(GraphBuilder& b, Value* x, int axis, int64_t step) {
  Shape wide = x->type.shape, lo(static_cast<size_t>(x->type.rank()) + 1, b.dim(0)), hi = lo;
  wide[axis] = b.module.dims.mul(wide[axis], b.dim(step));
  hi[static_cast<size_t>(axis) + 1] = b.dim(step - 1);
  return b.reshape(b.pad(b.expand_axes(x, {axis + 1}), lo, hi), wide);
}

void slice(Gradients& gradients, const Op& op) {
  GraphBuilder& b = gradients.build;
  DimPool& dims = b.module.dims;
  Value* g = gradients.of(op.result());
  const Shape &from = op.operand(0)->type.shape, &sizes = op.params.dims("sizes");
  const std::vector<int64_t>& steps = op.params.integers("steps");
  Shape lo = op.params.dims("starts"), hi;
  for (int axis = 0; axis < g->type.rank(); ++axis) {
    if (steps[axis] < 0) {
      g = reversed(b, g, axis);
      const Dim last = dims.mul(dims.sub(sizes[axis], dims.constant(1)), dims.constant(steps[axis]));
      lo[axis] = dims.add(lo[axis], last);
    }
    if (std::abs(steps[axis]) != 1) g = spread(b, g, axis, std::abs(steps[axis]));
    hi.push_back(dims.sub(dims.sub(from[axis], lo[axis]), g->type.shape[axis]));
  }
  gradients.add(op.operand(0), b.pad(g, lo, hi));
}

void concat(Gradients& gradients, const Op& op) {
  GraphBuilder& b = gradients.build;
  const int axis = static_cast<int>(op.params.integer("axis"));
  Dim start = b.dim(0);
  for (Value* part : op.operands) {
    const Dim extent = part->type.shape[axis];
    if (gradients.wants(part)) gradients.add(part, b.slice_axis(gradients.of(op.result()), axis, start, extent));
    start = b.module.dims.add(start, extent);
  }
}

Value* zeros_like(GraphBuilder& b, const Value* x) { return b.splat(x->type.dtype, x->type.shape, 0); }

// Sums the slices of `g` along `axis` into zeros of x's shape, at these indices.
Value* scattered(GraphBuilder& b, const Value* x, Value* indices, Value* g, int axis, bool elements) {
  return b.scatter(zeros_like(b, x), indices, g, axis, elements, "add");
}

void gather(Gradients& gradients, const Op& op) {
  GraphBuilder& b = gradients.build;
  Value *data = op.operand(0), *g = gradients.of(op.result());
  const int axis = static_cast<int>(op.params.integer("axis"));
  Value* indices = counted_from_the_front(b, op, op.operand(1), data->type.shape[axis]);
  const Dim count = b.module.dims.product(indices->type.shape);
  Shape flat = data->type.shape;
  flat[axis] = count;
  gradients.add(data, scattered(b, data, b.reshape(indices, {count}), b.reshape(g, flat), axis, false));
}

void gather_elements(Gradients& gradients, const Op& op) {
  GraphBuilder& b = gradients.build;
  Value* data = op.operand(0);
  const int axis = static_cast<int>(op.params.integer("axis"));
  Value* indices = counted_from_the_front(b, op, op.operand(1), data->type.shape[axis]);
  gradients.add(data, scattered(b, data, indices, gradients.of(op.result()), axis, true));
}

// What lies along an axis at an element's place in the padded tensor: -1 for none.
Value* source_of_padding(GraphBuilder& b, const std::string& mode, Dim extent, Dim lo, Dim padded) {
  Value* at = b.sub(b.iota(DType::I64, {padded}, 0), b.dims_tensor({lo}, {}));
  Value *last = b.dims_tensor({b.module.dims.sub(extent, b.dim(1))}, {}), *first = b.like(at, 0);
  if (mode == "edge") return b.scalar_op(ScalarOp::Min, {b.scalar_op(ScalarOp::Max, {at, first}), last});
  if (mode == "wrap") return b.scalar_op(ScalarOp::FloorMod, {at, b.dims_tensor({extent}, {})});
  LPD_CHECK(mode == "reflect", "padding of mode '{}'", mode);
  Value* period = b.scalar_op(ScalarOp::Max, {b.mul(last, b.like(last, 2)), b.like(last, 1)});
  Value* phase = b.scalar_op(ScalarOp::FloorMod, {at, period});
  return b.scalar_op(ScalarOp::Min, {phase, b.sub(period, phase)});
}

void pad(Gradients& gradients, const Op& op) {
  GraphBuilder& b = gradients.build;
  DimPool& dims = b.module.dims;
  Value *x = op.operand(0), *g = gradients.of(op.result());
  const Shape &lo = op.params.dims("lo"), &hi = op.params.dims("hi");
  const std::string& mode = op.params.text("mode");
  if (mode == "constant") {
    Shape less_lo, less_hi;
    for (Dim dim : lo) less_lo.push_back(dims.sub(dims.constant(0), dim));
    for (Dim dim : hi) less_hi.push_back(dims.sub(dims.constant(0), dim));
    Value* inner = b.pad(g, less_lo, less_hi);
    gradients.add(x, inner);
    if (op.operands.size() < 2 || !gradients.wants(op.operand(1))) return;
    const std::vector<int64_t> all = all_axes(g);
    Value* outside = b.sub(b.reduce(OpKind::ReduceSum, g, all), b.reduce(OpKind::ReduceSum, inner, all));
    return gradients.add(op.operand(1), b.reshape(outside, op.operand(1)->type.shape));
  }
  for (int axis = 0; axis < g->type.rank(); ++axis) {
    if (value_of(lo[axis]) == 0 && value_of(hi[axis]) == 0) continue;
    Shape narrow = g->type.shape;
    narrow[axis] = x->type.shape[axis];
    Value* source = source_of_padding(b, mode, x->type.shape[axis], lo[axis], g->type.shape[axis]);
    g = b.scatter(b.splat(g->type.dtype, narrow, 0), source, g, axis, false, "add");
  }
  gradients.add(x, g);
}

// Of updates that are added: the gradient at their places. Those that replace what is there cut its gradient off.
void scatter(Gradients& gradients, const Op& op) {
  GraphBuilder& b = gradients.build;
  Value *data = op.operand(0), *indices = op.operand(1), *updates = op.operand(2), *g = gradients.of(op.result());
  const int axis = static_cast<int>(op.params.integer("axis"));
  const bool elements = op.params.integer("elements") != 0;
  const std::string& reduction = op.params.text("reduction");
  if (reduction != "add" && reduction != "none")
    throw Error(Fault::Unsupported,
                fmt::format("{}: the gradient of a scatter that is a {}", b.module.describe(op.origin), reduction));
  const auto at = [&](Value* of) {
    return elements ? b.gather_elements(of, indices, axis) : b.gather(of, indices, axis);
  };
  if (reduction == "none") {  // of several updates of one place the last one counts: which is seen by its number
    const DType dtype = g->type.dtype;
    Value* numbers = b.add(b.iota(DType::I32, updates->type.shape, axis), b.like(b.scalar(DType::I32, 0), 1));
    Value* kept = b.scatter(b.splat(DType::I32, data->type.shape, 0), indices, numbers, axis, elements, "none");
    Value* untouched = b.scalar_op(ScalarOp::Equal, {kept, b.like(kept, 0)});
    if (gradients.wants(data)) gradients.add(data, b.select(untouched, g, b.splat(dtype, data->type.shape, 0)));
    Value* counts = b.scalar_op(ScalarOp::Equal, {at(kept), numbers});
    if (gradients.wants(updates))
      gradients.add(updates, b.select(counts, at(g), b.splat(dtype, updates->type.shape, 0)));
    return;
  }
  gradients.add(data, g);
  if (gradients.wants(updates)) gradients.add(updates, at(g));
}

void top_k(Gradients& gradients, const Op& op) {
  Value* x = op.operand(0);
  gradients.add(x, scattered(gradients.build, x, op.result(1), gradients.of(op.result(0)),
                             static_cast<int>(op.params.integer("axis")), true));
}

}  // namespace

Value* counted_from_the_front(GraphBuilder& b, const Op& op, Value* indices, Dim extent) {
  if (op.params.integer_or("inside", 0) != 0) return indices;
  Value* below = b.scalar_op(ScalarOp::Less, {indices, b.like(indices, 0)});
  return b.select(below, b.add(indices, b.dims_tensor({extent}, {}, indices->type.dtype)), indices);
}

GradientRule movement_rule(const Op& op) {
  switch (op.kind) {
    case OpKind::Broadcast:
      return broadcast;
    case OpKind::Reshape:
      return reshape;
    case OpKind::Transpose:
      return transpose;
    case OpKind::Slice:
      return slice;
    case OpKind::Concat:
      return concat;
    case OpKind::Pad:
      return pad;
    case OpKind::Gather:
      return gather;
    case OpKind::GatherElements:
      return gather_elements;
    case OpKind::Scatter:
      return scatter;
    case OpKind::TopK:
      return top_k;
    default:
      LPD_UNREACHABLE("{} is of another file", name_of(op.kind));
  }
}

}  // namespace lapidary
