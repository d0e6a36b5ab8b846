// Matrix products by blocks of threads, whatever rows, columns and depth are made of: a contraction's letters, or the
// pixels, channels and taps of a convolution. A block computes a tile, its threads hold it in registers
// (ir/fragment.h), and what follows in the group is applied there before anything is stored.
#pragma once

#include <functional>

#include "passes/lower/gpu/gpu.h"

namespace lapidary::lowering::gpu {

// One of the three: rows, columns, depth. Axes outermost first.
struct ProductAxis {
  std::vector<Dim> extents;
  Dim extent(DimPool& dims) const { return dims.product(extents); }
};

// What a step before writes an operand as (factors.h): lines of so many pieces along k, `pitch` elements each.
struct MadeFactors {
  DType dtype = DType::Undefined;  // of integers: either operand as its own, of this width
  int pieces = 1;
  Dim pitch = nullptr;
  int run() const { return 128 / bit_width(dtype); }  // elements of a packet, aligned
};

struct ProductForm {
  const Op* anchor;  // whose result the tile is
  std::vector<Dim> batch;
  ProductAxis rows, columns, depth;
  const Value *a, *b = nullptr;
  // Coordinates, from those along each axis: of a at (batch, row, depth), of b at (batch, depth, column), of the
  // anchor's result at (batch, row, column). Null guards: what is asked for is always there.
  using Parts = std::vector<Coord>;
  std::function<Coords(GroupEmitter&, const Parts& batch, const Parts& row, const Parts& depth)> a_at;
  std::function<Coords(GroupEmitter&, const Parts& batch, const Parts& depth, const Parts& column)> b_at;
  std::function<Coords(GroupEmitter&, const Parts& batch, const Parts& row, const Parts& column)> result_at;
  // Columns that are stored: those of the blocks that the result's channels lie in; past `columns`, zeros.
  Dim stored_columns = nullptr;  // null: as many as there are
  // What is added to a sum that is finished, at the result's coordinates. Null: nothing.
  std::function<loops::Expr(GroupEmitter&, const Coords&)> bias = nullptr;
  bool splits_unknown_depth = false;  // the depth is long, though only the run knows it, and may be cut into parts
  // In place of b's value, where it is a constant in an order of its own: a row of it for each column.
  std::optional<ConstantId> b_rows = std::nullopt;
  Dim b_pitch = nullptr;  // from one row to the next; what is more than depth are zeros
  // Or an expression of where it is.
  std::function<loops::Expr(KernelBuilder&, const loops::Expr& column, const loops::Expr& k)> b_value = nullptr;
  int b_together = 1;        // neighbours along k that are best made at once
  bool may_be_made = false;  // may a step before make the factors of an operand? Then where in scratch memory they lie
  MadeFactors made = {};
  std::optional<uint32_t> a_made = std::nullopt, b_made = std::nullopt;
};

// Nothing where an operand is no expression of its coordinates, such as the sum of a row. Variants that are given stand
// before those of the product; where the last of them has no condition, it has none.
std::optional<LoweredGroup> lower_product(Context&, const Op& group, const ProductForm&,
                                          std::vector<LoweredVariant> given = {});
// A convolution (convolution.cpp), whose operands and bias are filled in; plain where an index is no expression.
LoweredGroup lower_as_product(Context&, const Op& group, const Op& conv, ProductForm&);

}  // namespace lapidary::lowering::gpu
