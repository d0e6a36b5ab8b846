// Convolutions in groups and transposed ones on a GPU, as products for each group: rows are output pixels, columns a
// group's output channels, and the depth runs over taps and the group's input channels, weights where they lie.
//
// A transposed one is gathered: output p gets x[i] · w[t] wherever p = i · stride + t - pad. Of a stride s, the outputs
// p = s q + f of each phase f meet every s-th tap only, t = (f + pad) mod s + s j at input i = q + (f + pad) div s - j;
// phases are products of their own, so that none of what is multiplied is nothing. Where outputs are no whole runs of
// phases, or taps are dilated, all taps are tried, and those that meet no input are masked.
//
// Example, 2 taps, stride 2, no pad, [N, C, W] → [N, O, 2 W]: two products [N W, C] · [C, O], one for each tap.
#include <algorithm>

#include "passes/lower/convolution.h"
#include "passes/lower/gpu/group_coords.h"
#include "passes/lower/gpu/product.h"
#include "passes/lower/lanes.h"

namespace lapidary::lowering::gpu {

using namespace loops;

namespace {

using Parts = ProductForm::Parts;

struct GroupedConvolution {
  Module& module;
  const ConvForm& form;
  bool channels_last;
  Dim group_channels = module.dims.floordiv(form.channels, module.dims.constant(form.group));
  Dim group_outputs = module.dims.floordiv(form.outputs, module.dims.constant(form.group));

  const Type& input() const { return form.conv->operand(0)->type; }
  Dim number(int64_t value) const { return module.dims.constant(value); }

  int64_t phases(int axis) const {
    const bool whole = form.transposed && form.dilations[axis] == 1 && lapidary::value_of(form.pads[axis]) &&
                       known_multiple(form.conv->type().shape[2 + axis], form.strides[axis]);
    return whole ? form.strides[axis] : 1;
  }
  int64_t taps(int axis) const { return (form.kernel[axis] + phases(axis) - 1) / phases(axis); }

  // (group, phases…); (image, pixels of a phase…); (taps…, channels), or (channels, taps…).
  std::vector<Dim> batch() const {
    std::vector<Dim> extents = {number(form.group)};
    for (int axis = 0; axis < form.spatial; ++axis) extents.push_back(number(phases(axis)));
    return extents;
  }
  std::vector<Dim> rows() const {
    std::vector<Dim> extents = {input().shape[0]};
    for (int axis = 0; axis < form.spatial; ++axis)
      extents.push_back(module.dims.floordiv(form.conv->type().shape[2 + axis], number(phases(axis))));
    return extents;
  }
  std::vector<Dim> depth() const {
    std::vector<Dim> extents;
    for (int axis = 0; axis < form.spatial; ++axis) extents.push_back(number(taps(axis)));
    extents.insert(channels_last ? extents.end() : extents.begin(), group_channels);
    return extents;
  }

  // Where a tap of an output lies in the input, which tap it is, and whether there is such a thing; null: always.
  struct Tap {
    Expr pixel, tap, exists;
  };
  Tap tap_at(GroupEmitter& emit, int axis, const Parts& batch, const Expr& pixel, const Parts& depth) const {
    const Expr step = base_of(emit, depth[static_cast<size_t>(axis + (channels_last ? 0 : 1))]);
    const Expr pad = emit.builder.literal(form.pads[axis]), stride = integer(form.strides[axis]);
    const Expr offset = mul(step, integer(form.dilations[axis]));
    if (!form.transposed) return {sub(add(mul(pixel, stride), offset), pad), step, nullptr};
    if (phases(axis) == 1) {
      const Expr distance = sub(add(pixel, pad), offset), place = floordiv(distance, stride);
      if (form.strides[axis] == 1) return {distance, step, nullptr};
      return {place, step, equal(mul(place, stride), distance)};
    }
    const Expr ahead = add(base_of(emit, batch[static_cast<size_t>(1 + axis)]), pad);
    const Expr tap = add(mod(ahead, stride), mul(step, stride));
    const bool all = form.kernel[axis] % form.strides[axis] == 0;
    return {sub(add(pixel, floordiv(ahead, stride)), step), tap, all ? nullptr : less(tap, integer(form.kernel[axis]))};
  }

  const Coord& channel(const Parts& depth) const { return channels_last ? depth.back() : depth[0]; }

  Coords input_at(GroupEmitter& emit, const Parts& batch, const Parts& row, const Parts& depth) const {
    Coords coords;
    coords.axes = {row[0], of_all_groups(emit, batch[0], channel(depth), group_channels, form.group)};
    for (int axis = 0; axis < form.spatial; ++axis) {
      const Tap tap = tap_at(emit, axis, batch, base_of(emit, row[1 + axis]), depth);
      const Coord place = at(tap.pixel);
      coords.axes.push_back(place);
      coords.guard = both(coords.guard, tap.exists);
      if (reaches_out(axis))
        coords.guard =
            both(coords.guard, in_range(place, integer(0), emit.builder.literal(input().shape[2 + axis]), 1));
    }
    return coords;
  }
  bool reaches_out(int axis) const {
    const bool unpadded =
        lapidary::value_of(form.pads[axis]) == 0 && lapidary::value_of(form.pads[form.spatial + axis]) == 0;
    return !unpadded || (form.transposed && (taps(axis) > 1 || phases(axis) != form.strides[axis] ||
                                             form.conv->params.integers("output_padding")[axis] != 0));
  }

  // [O, C / group, taps…], of a transposed one [C, O / group, taps…].
  Coords weight_at(GroupEmitter& emit, const Parts& batch, const Parts& depth, const Coord& output) const {
    Coords coords;
    if (form.transposed)
      coords.axes = {of_all_groups(emit, batch[0], channel(depth), group_channels, form.group), output};
    else
      coords.axes = {of_all_groups(emit, batch[0], output, group_outputs, form.group), channel(depth)};
    for (int axis = 0; axis < form.spatial; ++axis) {
      const Tap tap = tap_at(emit, axis, batch, integer(0), depth);
      coords.axes.push_back(at(form.kernel[axis] == 1 ? integer(0) : tap.tap));  // others are masked
      if (phases(axis) > 1) coords.guard = both(coords.guard, tap.exists);
    }
    return coords;
  }

  Coords result_at(GroupEmitter& emit, const Parts& batch, const Parts& row, const Coord& output) const {
    Coords coords;
    coords.axes = {row[0], of_all_groups(emit, batch[0], output, group_outputs, form.group)};
    for (int axis = 0; axis < form.spatial; ++axis)
      coords.axes.push_back(phases(axis) == 1 ? row[1 + axis]
                                              : at(add(mul(base_of(emit, row[1 + axis]), integer(phases(axis))),
                                                       base_of(emit, batch[static_cast<size_t>(1 + axis)]))));
    return coords;
  }
};

}  // namespace

LoweredGroup lower_grouped_convolution(Context& context, const Op& group, const ConvForm& form) {
  const Op& conv = *form.conv;
  const Value* x = conv.operand(0);
  DimPool& dims = context.module.dims;
  const bool taps_known = std::ranges::all_of(form.kernel, [](int64_t taps) { return taps > 0; });
  const Layout& layout = group.type(0).layout;
  const bool in_blocks = layout.blocked_axis == 1 && group.results.size() == 1;
  const bool whole_blocks = !in_blocks || form.group == 1 || known_multiple(form.outputs, layout.block);
  if (x->producer || !taps_known || !whole_blocks || !results_follow(group, &conv) || !is_float(x->type.dtype) ||
      conv.params.integer_or("fill", 0) != 0)
    return lower_plain(context, group);
  const Layout& input = group.operand(static_cast<int>(x->index))->type.layout;
  const GroupedConvolution c{context.module, form, input.blocked_axis == 1 && input.last};
  ProductForm product;
  product.batch = c.batch();
  product.rows.extents = c.rows();
  product.columns.extents = {c.group_outputs};
  product.depth.extents = c.depth();
  if (in_blocks && form.group == 1)
    product.stored_columns =
        dims.mul(dims.ceildiv(form.outputs, dims.constant(layout.block)), dims.constant(layout.block));
  product.a_at = [&](GroupEmitter& emit, const Parts& batch, const Parts& row, const Parts& depth) {
    return c.input_at(emit, batch, row, depth);
  };
  product.b_at = [&](GroupEmitter& emit, const Parts& batch, const Parts& depth, const Parts& column) {
    return c.weight_at(emit, batch, depth, column[0]);
  };
  product.result_at = [&](GroupEmitter& emit, const Parts& batch, const Parts& row, const Parts& column) {
    return c.result_at(emit, batch, row, column[0]);
  };
  return lower_as_product(context, group, conv, product);
}

}  // namespace lapidary::lowering::gpu
