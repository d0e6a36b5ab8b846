// Rules on convolutions and pools.
#include <algorithm>

#include "passes/graph/rewrites.h"
#include "passes/graph/walk.h"

namespace lapidary::passes {

namespace {

bool all_one(const std::vector<int64_t>& values) {
  return std::ranges::all_of(values, [](int64_t value) { return value == 1; });
}

bool is_zero(Dim dim) { return value_of(dim) == 0; }

// conv(x, w) of images of one pixel with a kernel of one tap == x·wᵀ: [N, C, 1, 1] is a matrix (squeeze and
// excitation).
Value* conv_of_single_pixels(GraphBuilder& b, Op& op) {
  if (!op.is(OpKind::Conv) || op.params.integer("group") != 1) return nullptr;
  const Shape &x = op.operand(0)->type.shape, &w = op.operand(1)->type.shape, &y = op.type().shape;
  auto ones_from_2 = [](const Shape& shape) {
    return std::all_of(shape.begin() + 2, shape.end(), [](Dim extent) { return value_of(extent) == 1; });
  };
  if (!ones_from_2(x) || !ones_from_2(w) || !std::ranges::all_of(op.params.dims("pads"), is_zero)) return nullptr;
  Value* rows = b.reshape(op.operand(0), {x[0], x[1]});
  Value* columns = b.reshape(op.operand(1), {w[0], w[1]});
  Value* product = b.contract(rows, columns, "mk,nk->mn");
  if (op.operands.size() > 2) product = b.add(product, op.operand(2));
  return b.reshape(product, y);
}

// conv(pad(x, zeros)) == conv(x) with wider pads
Value* conv_of_padded(GraphBuilder& b, Op& op) {
  Op* pad = op.is(OpKind::Conv) ? producer_of_kind(op.operand(0), OpKind::Pad) : nullptr;
  if (!pad || pad->params.text("mode") != "constant" || !pad->result()->has_one_use()) return nullptr;
  if (pad->operands.size() > 1 && number_of(b.module, pad->operand(1)) != 0.0) return nullptr;
  const std::vector<Dim>&lo = pad->params.dims("lo"), &hi = pad->params.dims("hi");
  auto negative = [](Dim extent) { return range(extent).lo < 0; };
  bool spatial_only = is_zero(lo[0]) && is_zero(lo[1]) && is_zero(hi[0]) && is_zero(hi[1]);
  if (!spatial_only || std::ranges::any_of(lo, negative) || std::ranges::any_of(hi, negative)) return nullptr;
  Shape pads = op.params.dims("pads");
  size_t spatial = pads.size() / 2;
  for (size_t axis = 0; axis < spatial; ++axis) {
    pads[axis] = b.module.dims.add(pads[axis], lo[2 + axis]);
    pads[spatial + axis] = b.module.dims.add(pads[spatial + axis], hi[2 + axis]);
  }
  return b.conv(pad->operand(0), op.operand(1), op.operands.size() > 2 ? op.operand(2) : nullptr,
                op.params.integer("group"), op.params.integers("strides"), op.params.integers("dilations"), pads);
}

// average_pool over a window that is the whole image == mean over the spatial axes
Value* pool_of_whole_images(GraphBuilder& b, Op& op) {
  if (!op.is(OpKind::AveragePool) || !std::ranges::all_of(op.params.dims("pads"), is_zero) ||
      !all_one(op.params.integers("dilations")))
    return nullptr;
  const Shape& x = op.operand(0)->type.shape;
  const std::vector<int64_t>& kernel = op.params.integers("kernel");
  std::vector<int64_t> axes;
  for (size_t axis = 0; axis < kernel.size(); ++axis) {
    if (value_of(x[2 + axis]) != kernel[axis] || value_of(op.type().shape[2 + axis]) != 1) return nullptr;
    axes.push_back(static_cast<int64_t>(2 + axis));
  }
  return b.reduce(OpKind::ReduceMean, op.operand(0), axes, true);
}

// average_pool with a window of one tap at every pixel == x
Value* pool_of_one_tap(GraphBuilder&, Op& op) {
  if (!op.is(OpKind::AveragePool) && !op.is(OpKind::MaxPool)) return nullptr;
  bool identity = all_one(op.params.integers("kernel")) && all_one(op.params.integers("strides")) &&
                  op.operand(0)->type == op.type() && std::ranges::all_of(op.params.dims("pads"), is_zero);
  return identity ? op.operand(0) : nullptr;
}

constexpr Rewrite kRewrites[] = {conv_of_single_pixels, conv_of_padded, pool_of_whole_images, pool_of_one_tap};

}  // namespace

std::span<const Rewrite> window_rewrites() { return kRewrites; }

}  // namespace lapidary::passes
