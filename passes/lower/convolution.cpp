// What a convolution asks for, and which way it is lowered.
#include "passes/lower/convolution.h"

#include <algorithm>

#include "ir/layout.h"
#include "passes/lower/contraction_form.h"
#include "passes/lower/register_tile.h"

namespace lapidary::lowering {

ConvForm conv_form(Module& module, const Op& group, const Op& conv) {
  ConvForm form;
  form.conv = &conv;
  form.transposed = conv.is(OpKind::ConvTranspose);
  form.group = conv.params.integer("group");
  const Type& x = conv.operand(0)->type;
  form.spatial = x.rank() - 2;
  form.strides = conv.params.integers("strides");
  form.dilations = conv.params.integers("dilations");
  form.pads = conv.params.dims("pads");
  for (int axis = 0; axis < form.spatial; ++axis) {
    form.kernel.push_back(lapidary::value_of(conv.operand(1)->type.shape[2 + axis]).value_or(-1));
  }
  form.channels = x.shape[1];
  form.outputs = conv.type().shape[1];
  form.weight = constant_behind(module, group, conv.operand(1));
  return form;
}

ImageStrides image_strides(DimPool& dims, const Type& type) {
  const int spatial = type.rank() - 2;
  ImageStrides strides{};
  strides.row = dims.constant(0);
  for (const PhysicalAxis& axis : physical_axes(dims, type)) {
    if (axis.inner) continue;
    if (axis.axis == 0) strides.batch = axis.stride;
    if (axis.axis == 1) strides.channel = axis.stride;
    if (axis.axis == 1 + spatial) {
      strides.pixel = axis.stride;
      strides.halo_pixel = axis.halo_lo;
    }
    if (axis.axis == 2 && spatial == 2) {
      strides.row = axis.stride;
      strides.halo_row = axis.halo_lo;
    }
  }
  return strides;
}

// Which way a convolution is lowered: by what its operands' layouts and sizes allow.
LoweredGroup lower_convolution(Context& context, const Op& group) {
  ConvForm form = conv_form(context.module, group, anchor_of(group));
  const Op& conv = *form.conv;
  auto known = [](const std::vector<Dim>& dims) {
    return std::all_of(dims.begin(), dims.end(), [](Dim dim) { return lapidary::value_of(dim).has_value(); });
  };
  const auto halo = halo_read_by(conv);
  const bool bytes = conv.params.has("to");
  bool usable = (conv.type().dtype == DType::F32 || bytes) && form.spatial <= 2 &&
                known({form.channels, form.outputs}) && halo && !conv.operand(0)->producer;
  if (!usable) return lower_plain(context, group);
  const Type& input = group.operand(conv.operand(0)->index)->type;
  const bool blocked = input.layout.blocked_axis == 1, dense = input.layout.blocked_axis < 0;
  for (int axis = 2; axis < input.rank(); ++axis) {  // a narrower halo: borders need the plain kernel
    const Halo have = input.layout.halo_of(axis), want = (*halo)[static_cast<size_t>(axis)];
    if (have.lo < want.lo || have.hi < want.hi) return lower_plain(context, group);
  }
  if (bytes) {
    const bool are_bytes = input.dtype == DType::U8 && conv.operand(1)->type.dtype == DType::I8;
    const bool padded =
        input.layout.halo.empty() || input.layout.fill == static_cast<double>(conv.params.integer_or("fill", 0));
    if (!blocked || !form.weight || !are_bytes || !padded) return lower_plain(context, group);
    constexpr int64_t kMostTaps = 64;  // of a row, which are written out
    if (form.group > 1 && form.group_channels() == 1 && form.group_outputs() == 1 && form.kernel.back() <= kMostTaps)
      return lower_depthwise(context, group, form);
    return lower_direct_convolution(context, group, form);
  }
  const bool strict = context.options.numerics == passes::Numerics::Strict;
  if (form.group > 1) {
    const int64_t width = form.group_channels();
    if (!blocked) return lower_plain(context, group);
    if (width == form.group_outputs() && width < kPanel && kPanel % width == 0 && width <= context.target().f32_lanes())
      return lower_depthwise(context, group, form);
    const bool apart = width % kPanel == 0 && form.group_outputs() % kPanel == 0;  // else 0 · ∞ of a neighbour is NaN
    if (strict && !apart) return lower_plain(context, group);
    return lower_direct_convolution(context, group, form);
  }
  if (!strict && blocked && form.weight && winograd_pays(form) && winograd_is_exact(context.module, form))
    return lower_winograd(context, group, form);
  if (!strict && blocked && form.weight) {
    const auto choice = winograd_axis(context.target(), form);
    if (choice && winograd_is_exact(context.module, form, *choice))
      return lower_winograd_axis(context, group, form, *choice);
  }
  if (blocked || dense) return lower_direct_convolution(context, group, form);
  return lower_plain(context, group);
}

}  // namespace lapidary::lowering
