// What a convolution asks for, and which way it is lowered.
#include "passes/lower/convolution.h"

#include <algorithm>

#include "ir/layout.h"
#include "passes/lower/contraction_form.h"

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
    if (axis.axis == 1 + spatial) { strides.pixel = axis.stride; strides.halo_pixel = axis.halo_lo; }
    if (axis.axis == 2 && spatial == 2) { strides.row = axis.stride; strides.halo_row = axis.halo_lo; }
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
  bool usable = conv.type().dtype == DType::F32 && form.weight && form.spatial <= 2 && known({form.channels, form.outputs}) &&
                known(form.pads) && !conv.operand(0)->producer;
  if (!usable) return lower_plain(context, group);
  const Type& input = group.operand(conv.operand(0)->index)->type;
  bool blocked = input.layout.blocked_axis == 1;
  bool dense = input.layout.blocked_axis < 0;
  for (int axis = 0; axis < form.spatial; ++axis) {   // a halo narrower than the pads: borders need the plain kernel
    Halo halo = input.layout.halo_of(2 + axis);
    if (!form.transposed && (halo.lo < *lapidary::value_of(form.pads[axis]) || halo.hi < *lapidary::value_of(form.pads[form.spatial + axis]))) {
      return lower_plain(context, group);
    }
    if (form.transposed && (form.kernel[axis] > form.strides[axis] || form.dilations[axis] != 1 || *lapidary::value_of(form.pads[axis]) != 0)) {
      return lower_plain(context, group);
    }
  }
  bool depthwise = form.group > 1 && form.channels == form.outputs && lapidary::value_of(form.channels) == form.group;
  if (depthwise && blocked && !form.transposed) return lower_depthwise(context, group, form);
  bool exact = context.options.numerics == passes::Numerics::Strict;
  if (!exact && blocked && winograd_pays(form) && winograd_is_exact(context.module, form)) return lower_winograd(context, group, form);
  if (form.group == 1 && (blocked || dense)) return lower_direct_convolution(context, group, form);
  return lower_plain(context, group);
}

}  // namespace lapidary::lowering
