// Determinants and inverses of the last two axes, by elimination with partial pivoting. The steps are written out, so
// matrices are small: of a size known now.
#include "frontend/ops/common.h"

namespace lapidary::frontend {
namespace {

using Values = std::vector<Value*>;
constexpr int64_t kMostRows = 32;

struct Elimination {
  Node& node;
  GraphBuilder& b;
  int row_axis, column_axis;

  explicit Elimination(Node& node) : node(node), b(node.build), row_axis(node.rank() - 2), column_axis(row_axis + 1) {}

  Dim dim(int64_t value) { return node.dims().constant(value); }
  int64_t extent(Value* x, int axis) { return *value_of(x->type.shape[axis]); }
  Value* place(int64_t index) { return b.scalar(Scalar::of_integer(DType::I64, index)); }
  // Rows and columns [from, from + count) of the matrices.
  Value* rows(Value* x, int64_t from, int64_t count) { return b.slice_axis(x, row_axis, dim(from), dim(count)); }
  Value* columns(Value* x, int64_t from, int64_t count) { return b.slice_axis(x, column_axis, dim(from), dim(count)); }

  int64_t size() {
    if (node.rank() < 2) fail("input has rank {}, expected 2 or more", node.rank());
    const Shape& shape = node.type(0).shape;
    std::optional<int64_t> n = value_of(shape[row_axis]), m = value_of(shape[column_axis]);
    if (!n || !m) unsupported("matrices of a size known only at run time");
    if (*n != *m) fail("matrices of {} rows and {} columns", *n, *m);
    if (*n > kMostRows) unsupported("matrices of {} rows, more than {}", *n, kMostRows);
    return *n;
  }

  // The row among those from `k` on with the largest element of column k, i64 [.., 1, 1].
  Value* pivot_row(Value* x, int64_t k) {
    Value* size = b.scalar_op(ScalarOp::Abs, {rows(columns(x, k, 1), k, extent(x, row_axis) - k)});
    Value* largest = b.scalar_op(ScalarOp::Equal, {size, b.reduce(OpKind::ReduceMax, size, {row_axis}, true)});
    Value* at = b.add(b.iota(DType::I64, size->type.shape, row_axis), place(k));
    Value* none = place(extent(x, row_axis) - 1);  // of NaN
    return b.reduce(OpKind::ReduceMin, b.select(largest, at, none), {row_axis}, true);
  }

  // Rows k and `pivot` change places.
  Value* swapped(Value* x, int64_t k, Value* pivot) {
    Value* at = b.iota(DType::I64, x->type.shape, row_axis);
    auto is = [&](Value* row) { return b.scalar_op(ScalarOp::Equal, {at, row}); };
    Value* from = b.select(is(place(k)), pivot, b.select(is(pivot), place(k), at));
    return b.gather_elements(x, from, row_axis);
  }

  Value* element(Value* x, int64_t row, int64_t column) { return columns(rows(x, row, 1), column, 1); }
};

// The product of the pivots, with a sign for each exchange of rows.
Value* determinant(Node& node, Value* x) {
  Elimination e(node);
  GraphBuilder& b = node.build;
  const int64_t n = e.size();
  Value* product = nullptr;
  for (int64_t left = n; left > 0; --left) {
    Value* row = e.pivot_row(x, 0);
    x = e.swapped(x, 0, row);
    Value* pivot = e.element(x, 0, 0);
    Value* stays = b.scalar_op(ScalarOp::Equal, {row, e.place(0)});
    Value* factor = b.select(stays, pivot, b.neg(pivot));
    product = product ? b.mul(product, factor) : factor;
    if (left == 1) break;
    Value* singular = b.scalar_op(ScalarOp::Equal, {pivot, zero(node, pivot)});
    Value* below = e.columns(e.rows(x, 1, left - 1), 0, 1);
    Value* ratio = b.select(singular, zero(node, below), b.div(below, pivot));
    Value* beside = e.columns(e.rows(x, 0, 1), 1, left - 1);
    x = b.sub(e.columns(e.rows(x, 1, left - 1), 1, left - 1), b.mul(ratio, beside));
  }
  Shape batch(node.type(0).shape.begin(), node.type(0).shape.end() - 2);
  return product ? b.reshape(product, batch) : b.splat(x->type.dtype, batch, 1);
}

Values det(Node& node) {
  return {in_float32(node, node.input(0), [&](Value* x) { return determinant(node, x); })};
}

// [A | 1] → [1 | A⁻¹] (Gauss and Jordan)
Value* inverted(Node& node, Value* a) {
  Elimination e(node);
  GraphBuilder& b = node.build;
  const int64_t n = e.size();
  const Shape& shape = a->type.shape;
  Value* diagonal =
      b.scalar_op(ScalarOp::Equal, {b.iota(DType::I64, shape, e.row_axis), b.iota(DType::I64, shape, e.column_axis)});
  Value* x = b.concat({a, b.convert(diagonal, a->type.dtype)}, e.column_axis);
  for (int64_t k = 0; k < n; ++k) {
    x = e.swapped(x, k, e.pivot_row(x, k));
    Value* row = b.div(e.rows(x, k, 1), e.element(x, k, k));
    Value* is_row = b.scalar_op(ScalarOp::Equal, {b.iota(DType::I64, x->type.shape, e.row_axis), e.place(k)});
    x = b.select(is_row, row, b.sub(x, b.mul(e.columns(x, k, 1), row)));
  }
  return e.columns(x, n, n);
}

Values inverse(Node& node) {
  return {in_float32(node, node.input(0), [&](Value* x) { return inverted(node, x); })};
}

constexpr OpEntry kOps[] = {{"Det", det}, {"Inverse", inverse, "X: T -> Y: T | | T = f16 f32 f64"}};

}  // namespace

std::span<const OpEntry> matrix_ops() { return kOps; }

}  // namespace lapidary::frontend
