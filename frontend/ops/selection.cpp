// Operators whose result is as large as the data say: what is selected is counted, the host reads the count, and then it
// is an extent like any other.
#include "frontend/ops/common.h"

namespace lapidary::frontend {
namespace {

using Values = std::vector<Value*>;
constexpr Interval kCounts{0, INT64_C(1) << 40};

// The positions of the true elements of a mask of rank 1.
Value* positions(GraphBuilder& b, Value* mask) {
  Value* count = b.reduce(OpKind::ReduceSum, b.convert(mask, DType::I64), {0});
  return b.true_positions(mask, b.to_host(count, kCounts)->elements.at(0));
}

Value* flat(GraphBuilder& b, Value* x) { return b.reshape(x, {b.module.dims.product(x->type.shape)}); }

// The coordinates of the elements that are not 0, a row for each axis.
Values non_zero(Node& node) {
  GraphBuilder& b = node.build;
  DimPool& dims = node.dims();
  Value* x = flat(b, node.input(0));
  const Shape shape = node.type(0).shape;
  Value* mask = x->type.dtype == DType::Bool
                    ? x
                    : b.scalar_op(ScalarOp::NotEqual, {x, zero(node, x)});
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

constexpr OpEntry kOps[] = {{"Compress", compress}, {"NonZero", non_zero}};

}  // namespace

std::span<const OpEntry> selection_ops() { return kOps; }

}  // namespace lapidary::frontend
