// Convolutions on a GPU as products, the input's windows never stored: rows are output pixels, columns output channels,
// and the depth runs over taps and, innermost, the input's channels, which lie side by side in memory. Taps beyond the
// border are masked, unless the input has a halo. Weights lie in the depth's order, a row for each output channel. Of a
// dense input the depth runs over channels and then taps. Weights that are no constants are read where they lie.
// Depthwise ones are in window.cpp, grouped and transposed ones in grouped_convolution.cpp.
//
// First layers have pixels of few channels. Where strides allow it the depth runs over accesses of 16 bytes of them in
// place of single taps, and the weights have zeros for what lies there beside the taps. Example, 7 taps of pixels of 8
// bytes, strides of 2, 3 before the image: the taps of output x are pixels 2x - 3 … 2x + 3, in the four pairs from
// 2x - 4 on, which are in the image or outside as a whole.
#include "passes/lower/convolution.h"

#include <algorithm>
#include <span>

#include "ir/layout.h"
#include "passes/lower/contraction_form.h"
#include "passes/lower/gpu/product.h"
#include "passes/lower/lanes.h"
#include "passes/lower/work.h"

namespace lapidary::lowering::gpu {

using namespace loops;

namespace {

using Parts = ProductForm::Parts;

struct Convolution {
  Module& module;
  const Op& group;
  ConvForm form;
  bool channels_last;
  std::vector<bool> bordered;  // spatial axes whose halo is narrower than what is read
  int64_t together = 1;        // pixels along the last axis that an access has

  const Value* x() const { return form.conv->operand(0); }

  Dim stored_channels() const {
    const Dim block = module.dims.constant(group.operand(x()->index)->type.layout.block);
    return module.dims.mul(module.dims.ceildiv(form.channels, block), block);
  }

  // Pixels from the first access of a row of taps on before its first tap.
  int64_t ahead() const {
    if (together == 1) return 0;
    return (together - *lapidary::value_of(form.pads[form.spatial - 1]) % together) % together;
  }
  int64_t accesses() const { return (form.kernel.back() + ahead() + together - 1) / together; }

  // (taps…, channels), or (channels, taps…).
  std::vector<Dim> depth() const {
    std::vector<Dim> extents;
    for (int64_t taps : form.kernel) extents.push_back(module.dims.constant(taps));
    if (!channels_last) {
      extents.insert(extents.begin(), form.channels);
      return extents;
    }
    extents.back() = module.dims.constant(accesses());
    extents.push_back(module.dims.mul(stored_channels(), module.dims.constant(together)));
    return extents;
  }

  Coords input_at(GroupEmitter& emit, const Parts& row, const Parts& depth) const {
    const std::span<const Coord> taps = std::span(depth).subspan(channels_last ? 0 : 1);
    Coords coords;
    coords.axes = {row[0], channels_last ? depth.back() : depth[0]};
    for (int axis = 0; axis < form.spatial; ++axis) {
      if (form.kernel[axis] == 1 && form.strides[axis] == 1 && lapidary::value_of(form.pads[axis]) == 0) {
        coords.axes.push_back(row[1 + axis]);
        continue;
      }
      // In pixels, or in accesses of some.
      const int64_t unit = axis + 1 == form.spatial ? together : 1;
      const auto in_units = [&](Dim pixels) {
        return emit.builder.literal(unit > 1 ? module.dims.floordiv(pixels, module.dims.constant(unit)) : pixels);
      };
      const Dim before = unit > 1 ? module.dims.add(form.pads[axis], module.dims.constant(ahead())) : form.pads[axis];
      const auto base = [&](const Coord& coord) { return emit.flatten(coord, nullptr).digits[0].base; };
      const Expr pixel = mul(base(row[1 + axis]), integer(form.strides[axis] / unit)),
                 tap = mul(base(taps[axis]), integer(form.dilations[axis]));
      const Coord place = at(sub(add(pixel, tap), in_units(before)));
      coords.axes.push_back(unit > 1 ? at(mul(place.digits[0].base, integer(unit))) : place);
      if (bordered[axis])
        coords.guard = both(coords.guard, in_range(place, integer(0), in_units(x()->type.shape[2 + axis]), 1));
    }
    return coords;
  }

  // Of a weight [O, C, taps…] that is no constant; past the channels that there are, nothing, unless it has zeros
  // there.
  Coords live_weight_at(GroupEmitter& emit, const Parts& depth, const Coord& output) const {
    const Coord& channel = channels_last ? depth.back() : depth[0];
    Coords coords;
    coords.axes = {output, channel};
    const auto first_tap = depth.begin() + (channels_last ? 0 : 1);
    coords.axes.insert(coords.axes.end(), first_tap, first_tap + form.spatial);
    const Layout& layout = group.operand(form.conv->operand(1)->index)->type.layout;
    const bool has_zeros = layout.blocked_axis == 1;
    if (channels_last && !has_zeros && stored_channels() != form.channels)
      coords.guard = in_range(channel, integer(0), emit.builder.literal(form.channels), 1);
    return coords;
  }

  // The depth in whole accesses of 16 bytes, where it is known.
  Dim pitch() const {
    DimPool& dims = module.dims;
    const Dim depth = dims.product(this->depth()), access = dims.constant(128 / bit_width(x()->type.dtype));
    return lapidary::value_of(depth) ? dims.mul(dims.ceildiv(depth, access), access) : depth;
  }

  // [O, C, taps…] → [O][pitch].
  ConstantId weight() const {
    ConstantTable& constants = module.constants;
    const ConstantId rows = in_order();
    const auto pitch = lapidary::value_of(this->pitch());
    if (!pitch) return rows;
    const int64_t outputs = constants[rows].shape[0];
    const ConstantId flat = constants.transformed(
        rows,
        {.kind = Transform::Kind::Reshape, .shape = {outputs, *lapidary::value_of(module.dims.product(depth()))}});
    return constants.transformed(flat, {.kind = Transform::Kind::Pad, .shape = {outputs, *pitch}});
  }

  ConstantId in_order() const {
    ConstantTable& constants = module.constants;
    ConstantId weight = *form.weight;
    if (!channels_last) return weight;
    std::vector<int64_t> shape = constants[weight].shape, axes = {0};
    shape[1] = *lapidary::value_of(stored_channels());
    weight = constants.transformed(weight, {.kind = Transform::Kind::Pad, .shape = shape});
    for (int64_t axis = 2; axis < static_cast<int64_t>(shape.size()); ++axis) axes.push_back(axis);
    axes.push_back(1);
    if (together > 1) {
      weight = in_accesses(weight);
      std::swap(axes[axes.size() - 2], axes.back());
    }
    return constants.transformed(weight, {.kind = Transform::Kind::Transpose, .axes = axes});
  }

  // [O, channels, taps…] → [O, pixels, taps…, channels]: the last axis's taps amid zeros.
  ConstantId in_accesses(ConstantId weight) const {
    ConstantTable& constants = module.constants;
    const int64_t last = 1 + form.spatial, outputs = constants[weight].shape[0];
    std::vector<int64_t> axes = {0, last};
    for (int64_t axis = 2; axis < last; ++axis) axes.push_back(axis);
    axes.push_back(1);
    weight = constants.transformed(weight, {.kind = Transform::Kind::Transpose, .axes = axes});
    return constants.transformed(weight, {.kind = Transform::Kind::SpreadGroups,
                                          .axes = {-ahead()},
                                          .shape = {outputs, accesses() * together},
                                          .block = outputs});
  }
};

std::vector<bool> borders(const Op& conv, const Type& input, int spatial) {
  std::vector<bool> result(static_cast<size_t>(spatial), true);
  const auto halo = halo_read_by(conv);
  for (int axis = 0; halo && axis < spatial; ++axis) {
    const Halo have = input.layout.halo_of(2 + axis), want = (*halo)[static_cast<size_t>(2 + axis)];
    result[axis] = have.lo < want.lo || have.hi < want.hi;
  }
  return result;
}

// How many pixels of few channels an access has, where those of a row of taps begin at one: rows are whole accesses,
// and so are strides.
int64_t pixels_together(const ConvForm& form, const Type& input) {
  constexpr int kAccessBits = 128;
  const int last = form.spatial - 1, bits = input.layout.block * bit_width(input.dtype);
  const bool one_block = lapidary::range(form.channels).hi <= input.layout.block;
  if (!one_block || kAccessBits % bits != 0 || form.kernel[last] == 1 || form.dilations[last] != 1) return 1;
  const int64_t pixels = kAccessBits / bits;
  const Halo halo = input.layout.halo_of(2 + last);
  const bool whole =
      form.strides[last] % pixels == 0 && known_multiple(input.shape[2 + last], pixels) && halo.lo == 0 && halo.hi == 0;
  return whole && lapidary::value_of(form.pads[last]) ? pixels : 1;
}

}  // namespace

LoweredGroup lower_as_product(Context& context, const Op& group, const Op& conv, ProductForm& form) {
  form.anchor = &conv;
  form.a = conv.operand(0);
  form.b = conv.operand(1);
  if (conv.operands.size() > 2)
    form.bias = [&](GroupEmitter& emit, const Coords& where) {
      return emit.value(conv.operand(2), where.with({where.axes[1]}));
    };
  std::optional<LoweredGroup> lowered = lower_product(context, group, form);
  return lowered ? std::move(*lowered) : lower_plain(context, group);
}

LoweredGroup lower_convolution(Context& context, const Op& group) {
  const Op& conv = anchor_of(group);
  const ConvForm form = conv_form(context.module, group, conv);
  const Value* x = conv.operand(0);
  if (form.group > 1 && lapidary::value_of(form.channels) && lapidary::value_of(form.outputs))
    return gpu::lower_depthwise(context, group, form);
  if (form.transposed || form.group != 1) return gpu::lower_grouped_convolution(context, group, form);
  const bool taps_known = std::ranges::all_of(form.kernel, [](int64_t taps) { return taps > 0; });
  if (x->producer || !taps_known || !results_follow(group, &conv)) return lower_plain(context, group);
  const Type& input = group.operand(x->index)->type;
  const bool channels_last = input.layout.blocked_axis == 1 && input.layout.last;
  if (input.layout.blocked_axis >= 0 && !(channels_last && lapidary::value_of(form.channels)))
    return lower_plain(context, group);
  const Convolution c{context.module,
                      group,
                      form,
                      channels_last,
                      borders(conv, input, form.spatial),
                      channels_last && form.weight ? pixels_together(form, input) : 1};
  const bool has_borders = std::ranges::find(c.bordered, true) != c.bordered.end();
  if (conv.params.integer_or("fill", 0) != 0 && has_borders) return lower_plain(context, group);

  ProductForm product;
  const Shape& out = conv.type().shape;
  product.rows.extents = {out[0]};
  product.rows.extents.insert(product.rows.extents.end(), out.begin() + 2, out.end());
  product.columns.extents = {out[1]};
  product.depth.extents = c.depth();
  DimPool& dims = context.module.dims;
  const Layout& layout = group.type(0).layout;
  if (layout.blocked_axis == 1 && group.results.size() == 1)
    product.stored_columns = dims.mul(dims.ceildiv(out[1], dims.constant(layout.block)), dims.constant(layout.block));
  product.a_at = [&](GroupEmitter& emit, const Parts&, const Parts& row, const Parts& k) {
    return c.input_at(emit, row, k);
  };
  if (form.weight) {
    product.b_rows = c.weight();
    product.b_pitch = c.pitch();
  } else {
    product.b_at = [&](GroupEmitter& emit, const Parts&, const Parts& k, const Parts& column) {
      return c.live_weight_at(emit, k, column[0]);
    };
  }
  product.result_at = [&](GroupEmitter&, const Parts&, const Parts& row, const Parts& column) {
    Coords coords;
    coords.axes = {row[0], column[0]};
    coords.axes.insert(coords.axes.end(), row.begin() + 1, row.end());
    return coords;
  };
  return lower_as_product(context, group, conv, product);
}

}  // namespace lapidary::lowering::gpu
