// The gradient of a convolution by its weight on a GPU, as a product for each group of channels: rows are output
// channels, columns the input's channels and taps, and the depth runs over the output pixels of all images. That is
// where most of it lies, and only the run knows how many images there are, so the depth is cut into parts.
//
//   dw[o][c, tap] = Σ over (image n, output pixel p) of   dy[n][o][p] · x[n][c][p · stride + tap · dilation - pad]
//
// Columns end with what lies side by side in x: its channels where they come last in memory, else the taps, as in dw.
// Where dw lies as x does, they are all that a pixel has: past the channels there are zeros in both.
#include <algorithm>

#include "passes/lower/gpu/group_coords.h"
#include "passes/lower/gpu/product.h"
#include "passes/lower/lanes.h"

namespace lapidary::lowering::gpu {

using namespace loops;

namespace {

using Parts = ProductForm::Parts;

struct FilterGradient {
  Module& module;
  const Op &group, &op;
  bool channels_last;
  int spatial = op.operand(0)->type.rank() - 2;
  const std::vector<int64_t>&strides = op.params.integers("strides"), &dilations = op.params.integers("dilations");
  const std::vector<Dim>& pads = op.params.dims("pads");
  int64_t groups = op.params.integer("group");
  Dim group_channels = op.type().shape[1],
      group_outputs = module.dims.floordiv(op.type().shape[0], module.dims.constant(groups));

  std::vector<Dim> taps() const { return {op.type().shape.begin() + 2, op.type().shape.end()}; }

  std::vector<Dim> columns() const {
    std::vector<Dim> extents = taps();
    extents.insert(channels_last ? extents.end() : extents.begin(), stored_channels());
    return extents;
  }
  Dim stored_channels() const {
    const Layout& layout = group.type(0).layout;
    if (layout.blocked_axis < 0) return group_channels;
    const Dim block = module.dims.constant(layout.block);
    return module.dims.mul(module.dims.ceildiv(group_channels, block), block);
  }
  const Coord& channel(const Parts& column) const { return channels_last ? column.back() : column[0]; }
  const Coord& tap(const Parts& column, int axis) const {
    return column[static_cast<size_t>(axis + (channels_last ? 0 : 1))];
  }

  // (image, output pixel…).
  std::vector<Dim> depth() const {
    const Shape& dy = op.operand(1)->type.shape;
    std::vector<Dim> extents = {dy[0]};
    extents.insert(extents.end(), dy.begin() + 2, dy.end());
    return extents;
  }

  Coords gradient_at(GroupEmitter& emit, const Parts& batch, const Parts& row, const Parts& depth) const {
    Coords coords;
    coords.axes = {depth[0], of_all_groups(emit, batch[0], row[0], group_outputs, groups)};
    coords.axes.insert(coords.axes.end(), depth.begin() + 1, depth.end());
    return coords;
  }

  Coords input_at(GroupEmitter& emit, const Parts& batch, const Parts& depth, const Parts& column) const {
    Coords coords;
    coords.axes = {depth[0], of_all_groups(emit, batch[0], channel(column), group_channels, groups)};
    for (int axis = 0; axis < spatial; ++axis) {
      const Dim lo = pads[axis], hi = pads[spatial + axis];
      const Expr pixel = mul(base_of(emit, depth[1 + axis]), integer(strides[axis])),
                 offset = mul(base_of(emit, tap(column, axis)), integer(dilations[axis]));
      const Coord place = at(sub(add(pixel, offset), emit.builder.literal(lo)));
      coords.axes.push_back(place);
      if (lapidary::value_of(lo) == 0 && lapidary::value_of(hi) == 0) continue;
      const Expr extent = emit.builder.literal(op.operand(0)->type.shape[2 + axis]);
      coords.guard = both(coords.guard, in_range(place, integer(0), extent, 1));
    }
    return coords;
  }

  Coords result_at(GroupEmitter& emit, const Parts& batch, const Parts& row, const Parts& column) const {
    Coords coords;
    coords.axes = {of_all_groups(emit, batch[0], row[0], group_outputs, groups), channel(column)};
    for (int axis = 0; axis < spatial; ++axis) coords.axes.push_back(tap(column, axis));
    return coords;
  }
};

}  // namespace

LoweredGroup lower_filter_gradient(Context& context, const Op& group) {
  const Op& op = anchor_of(group);
  const Value* x = op.operand(0);
  const auto produced = [](const Value* value) { return value->producer != nullptr; };
  if (std::ranges::any_of(op.operands, produced) || !results_follow(group, &op)) return lower_plain(context, group);
  const Layout& layout = group.operand(static_cast<int>(x->index))->type.layout;
  const FilterGradient gradient{context.module, group, op, layout.blocked_axis == 1 && layout.last};
  ProductForm product;
  product.anchor = &op;
  product.a = op.operand(1);
  product.b = x;
  product.batch = {context.module.dims.constant(gradient.groups)};
  product.rows.extents = {gradient.group_outputs};
  product.columns.extents = gradient.columns();
  product.depth.extents = gradient.depth();
  product.splits_unknown_depth = true;
  product.a_at = [&](GroupEmitter& emit, const Parts& batch, const Parts& row, const Parts& depth) {
    return gradient.gradient_at(emit, batch, row, depth);
  };
  product.b_at = [&](GroupEmitter& emit, const Parts& batch, const Parts& depth, const Parts& column) {
    return gradient.input_at(emit, batch, depth, column);
  };
  product.result_at = [&](GroupEmitter& emit, const Parts& batch, const Parts& row, const Parts& column) {
    return gradient.result_at(emit, batch, row, column);
  };
  std::optional<LoweredGroup> lowered = lower_product(context, group, product);
  return lowered ? std::move(*lowered) : lower_plain(context, group);
}

}  // namespace lapidary::lowering::gpu
