// Fold pads: zeros put around an image before a convolution become the convolution's own pads; so does −∞ before a
// max-pool. TensorFlow's exporter spells every asymmetric "same" padding that way.
//
//   conv(pad(x, 1), w; pads 0) == conv(x, w; pads 1)
//
// Test: test/passes/fold_pads.cpp.
#include <algorithm>
#include <cmath>

#include "ir/graph_builder.h"
#include "passes/graph/graph_passes.h"
#include "passes/graph/walk.h"

namespace lapidary::passes {

namespace {

double fill_of(const Module& module, const Op& pad) {
  if (pad.operands.size() < 2) return 0;
  return number_of(module, pad.operand(1)).value_or(std::nan(""));
}

// Pads only spatial axes, and crops none.
bool widens_spatial_axes(const Op& pad) {
  for (const char* side : {"lo", "hi"}) {
    const Shape& amounts = pad.params.dims(side);
    for (size_t axis = 0; axis < amounts.size(); ++axis)
      if (axis < 2 ? value_of(amounts[axis]) != 0 : range(amounts[axis]).lo < 0) return false;
  }
  return true;
}

bool fold(Module& module, Op& op) {
  if (!op.is(OpKind::Conv) && !op.is(OpKind::MaxPool)) return false;
  Op* pad = producer_of_kind(op.operand(0), OpKind::Pad);
  if (!pad || pad->params.text("mode") != "constant" || !widens_spatial_axes(*pad)) return false;
  if (fill_of(module, *pad) != (op.is(OpKind::Conv) ? 0 : -INFINITY)) return false;
  Shape pads = op.params.dims("pads");
  size_t spatial = pads.size() / 2;
  for (size_t axis = 0; axis < spatial; ++axis) {
    pads[axis] = module.dims.add(pads[axis], pad->params.dims("lo")[axis + 2]);
    pads[axis + spatial] = module.dims.add(pads[axis + spatial], pad->params.dims("hi")[axis + 2]);
  }
  op.params.set("pads", pads);
  op.set_operand(0, pad->operand(0));
  if (pad->result()->uses.empty()) erase_with_dead_producers(*pad);
  return true;
}

}  // namespace

bool fold_pads(Module& module, const Options&) {
  bool changed = false;
  for_each_body(module, [&](Region& body) {
    for (auto it = body.ops.begin(); it != body.ops.end(); ++it) changed |= fold(module, *it);
  });
  return changed;
}

}  // namespace lapidary::passes
