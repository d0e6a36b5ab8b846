// Operators whose result is as large as the data say: what is selected is counted, the host reads the count, and then
// it is an extent like any other.
#include <tuple>
#include <utility>

#include "frontend/ops/strings.h"

namespace lapidary::frontend {
namespace {

using Values = std::vector<Value*>;

// What an op of this kind and of one operand already makes of a value: counts of equal masks would not be known to be
// equal.
Value* made_before(Value* from, OpKind kind, const Shape& shape) {
  for (const Use& use : from->uses)
    if (use.op->is(kind) && (kind != OpKind::Reshape || use.op->type().shape == shape)) return use.op->result();
  return nullptr;
}

Value* flat(GraphBuilder& b, Value* x) {
  const Shape shape{b.module.dims.product(x->type.shape)};
  Value* before = made_before(x, OpKind::Reshape, shape);
  return before ? before : b.reshape(x, shape);
}

// The positions of the true elements of a mask of rank 1.
Value* positions(GraphBuilder& b, Value* mask) {
  if (Value* before = made_before(mask, OpKind::TruePositions, {})) return before;
  Value* count = b.reduce(OpKind::ReduceSum, b.convert(mask, DType::I64), {0});
  const Interval counts{0, std::min(kExtents.hi, range(mask->type.shape[0]).hi)};
  return b.true_positions(mask, b.to_host(count, counts)->elements.at(0));
}

// The coordinates of the elements that are not 0, a row for each axis.
Values non_zero(Node& node) {
  GraphBuilder& b = node.build;
  DimPool& dims = node.dims();
  Value* x = flat(b, node.input(0));
  const Shape shape = node.type(0).shape;
  Value* mask = x->type.dtype == DType::Bool ? x : b.scalar_op(ScalarOp::NotEqual, {x, zero(node, x)});
  Value* at = positions(b, mask);
  if (shape.empty()) return {b.splat(DType::I64, {dims.constant(0), at->type.shape[0]}, 0)};
  Values rows;
  Dim below = dims.constant(1);
  for (size_t axis = shape.size(); axis-- > 0; below = dims.mul(below, shape[axis])) {
    Value* coordinate = b.div(at, b.dims_tensor({dims.max(below, dims.constant(1))}, {}));
    if (axis > 0)
      coordinate =
          b.scalar_op(ScalarOp::TruncMod, {coordinate, b.dims_tensor({dims.max(shape[axis], dims.constant(1))}, {})});
    rows.insert(rows.begin(), b.expand_axes(coordinate, {0}));
  }
  return {rows.size() == 1 ? rows[0] : b.concat(rows, 0)};
}

// The slices along an axis, or the elements, for which the condition holds; it may be shorter than the axis.
Values compress(Node& node) {
  GraphBuilder& b = node.build;
  Value *x = node.input(0), *condition = node.input(1);
  if (condition->type.rank() != 1) fail("the condition has rank {}, expected 1", condition->type.rank());
  const bool whole = !node.has("axis");
  if (whole) x = flat(b, x);
  const int axis = whole ? 0 : node.axis("axis", x->type.rank());
  return {b.gather(x, positions(b, condition), axis)};
}

// The k least of a list of rank 1, all of it, and where they were.
std::pair<Value*, Value*> ascending(GraphBuilder& b, Value* x) {
  Op& op = b.create(OpKind::TopK, {x}, {{"axis", int64_t{0}}, {"k", x->type.shape[0]}, {"largest", int64_t{0}}});
  return {op.result(0), op.result(1)};
}

// The order of the slices x[i] of x [n, m], by their first element, then their second, and so on: sorted by the last
// one first, and what is equal keeps its order.
Value* order_of_slices(GraphBuilder& b, Value* x) {
  const Dim count = x->type.shape[0], width = x->type.shape[1];
  const auto sort_by = [&](GraphBuilder& step, std::span<Value* const> at) {
    Value* last = step.dims_tensor({step.module.dims.sub(width, step.dim(1))}, {});
    Value* column = step.gather(at[2], step.sub(last, at[0]), 1, true);
    return std::vector<Value*>{
        step.gather(at[1], ascending(step, step.gather(column, at[1], 0, true)).second, 0, true)};
  };
  return b.loop(width, {b.iota(DType::I64, {count}, 0)}, {x}, false, sort_by)[0];
}

// Sorted, equal slices lie together: the first of each run is one of the result, how far the next run is its count.
Values unique(Node& node) {
  GraphBuilder& b = node.build;
  DimPool& dims = node.dims();
  Value *x = node.input(0), *texts = nullptr;
  const bool slices = node.has("axis") && x->type.rank() != 1;
  const int axis = node.has("axis") ? node.axis("axis", x->type.rank()) : 0;
  std::vector<int64_t> perm = axes_from(0, x->type.rank());  // its own inverse
  if (slices) {
    std::swap(perm[0], perm[static_cast<size_t>(axis)]);
    x = b.transpose(x, perm);
  } else {
    x = flat(b, x);
  }
  Shape shape = x->type.shape;
  if (x->type.dtype == DType::String) texts = std::exchange(x, host_call(node, "rank_texts", {x}, DType::I64));
  const Dim count = shape[0];
  auto number = [&](Dim value) { return b.dims_tensor({value}, {}); };
  auto op = [&](ScalarOp scalar, Value* p, Value* q) { return b.scalar_op(scalar, {p, q}); };
  const Dim zero_dim = b.dim(0), one = b.dim(1);
  Value *values, *order;
  if (slices) {
    x = b.reshape(x, {count, dims.product(std::span(shape).subspan(1))});
    order = order_of_slices(b, x);
    values = b.gather(x, order, 0, true);
  } else {
    std::tie(values, order) = ascending(b, x);
  }
  Value* at = b.iota(DType::I64, {count}, 0);
  Value* before = b.gather(values, op(ScalarOp::Max, b.sub(at, number(one)), number(zero_dim)), 0);
  Value* differs = op(ScalarOp::NotEqual, values, before);
  if (slices) {
    Value* unlike = b.reduce(OpKind::ReduceSum, b.convert(differs, DType::I64), {1});
    differs = op(ScalarOp::Less, number(zero_dim), unlike);
  }
  Value* begins = op(ScalarOp::Or, op(ScalarOp::Equal, at, number(zero_dim)), differs);
  Value* first = positions(b, begins);
  const Dim runs = first->type.shape[0];
  Value* all = b.iota(DType::I64, {runs}, 0);
  Value* last = op(ScalarOp::Equal, all, number(dims.sub(runs, one)));
  Value* following = b.gather(first, op(ScalarOp::Min, b.add(all, number(one)), number(dims.sub(runs, one))), 0);
  Value* counts = b.sub(b.select(last, number(count), following), first);
  Value *result = b.gather(values, first, 0), *places = b.gather(order, first, 0);
  Params sums{{"axis", int64_t{0}}, {"op", std::string(name_of(ScalarOp::Add))}};
  Value* run = b.sub(b.create(OpKind::Scan, {b.convert(begins, DType::I64)}, sums).result(), number(one));
  Value* inverse = b.scatter(b.splat(DType::I64, {count}, 0), order, run, 0, true, "none");
  if (node.integer("sorted") == 0) {  // by first occurrence
    auto [found, by_place] = ascending(b, places);
    Value* rank = b.scatter(b.splat(DType::I64, {runs}, 0), by_place, all, 0, true, "none");
    result = b.gather(result, by_place, 0), counts = b.gather(counts, by_place, 0);
    inverse = b.gather(rank, inverse, 0), places = found;
  }
  if (texts) result = b.gather(texts, places, 0);
  if (slices) {
    shape[0] = runs;
    result = b.transpose(b.reshape(result, shape), perm);
  }
  return {result, places, inverse, counts};
}

// Boxes as least and greatest corners, whichever way they are given.
Value* corners(Node& node, Value* boxes) {
  GraphBuilder& b = node.build;
  const Dim one = node.dims().constant(1);
  auto column = [&](int i) { return b.slice_axis(boxes, 2, node.dims().constant(i), one); };
  auto op = [&](ScalarOp scalar, Value* x, Value* y) { return b.scalar_op(scalar, {x, y}); };
  Values all;
  if (node.integer_or("center_point_box", 0) != 0) {  // x, y, width, height of the centre
    Value *half = b.like(boxes, 0.5), *w = b.mul(column(2), half), *h = b.mul(column(3), half);
    all = {b.sub(column(1), h), b.sub(column(0), w), b.add(column(1), h), b.add(column(0), w)};
  } else {
    all = {op(ScalarOp::Min, column(0), column(2)), op(ScalarOp::Min, column(1), column(3)),
           op(ScalarOp::Max, column(0), column(2)), op(ScalarOp::Max, column(1), column(3))};
  }
  return b.concat(all, 2);
}

// Indices [batch, class, box] of the boxes kept, by batch, class, and score from the greatest on.
Values non_max_suppression(Node& node) {
  GraphBuilder& b = node.build;
  DimPool& dims = node.dims();
  const Shape &boxes = node.type(0).shape, &scores = node.type(1).shape;
  if (boxes.size() != 3 || scores.size() != 3)
    fail("boxes and scores have ranks {} and {}, expected 3", boxes.size(), scores.size());
  if (known_unequal(boxes[2], dims.constant(4))) fail("boxes have {} coordinates, expected 4", to_string(boxes[2]));
  if (!value_of(boxes[2])) unsupported("boxes of an unknown number of coordinates");
  for (int axis : {0, 1}) {
    const Dim other = scores[axis == 0 ? 0 : 2];
    if (known_unequal(boxes[axis], other))
      fail("boxes and scores disagree: {} and {}", to_string(boxes[axis]), to_string(other));
    b.module.check(dims.equal(boxes[axis], other), "boxes and scores must agree");
  }
  auto scalar = [&](int i, double otherwise) {
    return node.input(i) ? b.reshape(node.input(i), {}) : b.scalar(DType::F32, otherwise);
  };
  const Dim most = node.input(2) ? dims.max(node.extent(2), dims.constant(0)) : dims.constant(0);
  Op& sorted =
      b.create(OpKind::TopK, {node.input(1)}, {{"axis", int64_t{2}}, {"k", scores[2]}, {"largest", int64_t{1}}});
  Value *values = sorted.result(0), *order = sorted.result(1);
  Value* allowed = node.input(4) ? b.scalar_op(ScalarOp::Less, {scalar(4, 0), values})
                                 : b.scalar_op(ScalarOp::Equal, {values, values});
  Value* kept =
      b.create(OpKind::Suppress, {corners(node, node.input(0)), order, allowed, scalar(3, 0)}, {{"most", most}})
          .result();
  Value* at = positions(b, flat(b, kept));
  const Dim one = dims.constant(1), classes = dims.max(scores[1], one), count = dims.max(scores[2], one);
  auto number = [&](Dim value) { return b.dims_tensor({value}, {}); };
  Value* line = b.div(at, number(count));
  Values columns = {b.div(line, number(classes)), b.scalar_op(ScalarOp::TruncMod, {line, number(classes)}),
                    b.gather(flat(b, order), at, 0)};
  for (Value*& column : columns) column = b.expand_axes(column, {1});
  return {b.concat(columns, 1)};
}

constexpr OpEntry kOps[] = {
    {"Compress", compress}, {"NonMaxSuppression", non_max_suppression}, {"NonZero", non_zero}, {"Unique", unique}};

}  // namespace

std::span<const OpEntry> selection_ops() { return kOps; }

}  // namespace lapidary::frontend
