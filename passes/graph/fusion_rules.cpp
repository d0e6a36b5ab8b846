// See fusion_rules.h.
#include "passes/graph/fusion_rules.h"

namespace lapidary::passes {

namespace {

std::string_view family_of_composite(const std::string& name) {
  if (name == "attention" || name == "lstm") return name == "lstm" ? "lstm" : "attention";
  if (name == "softmax" || name == "layer_norm" || name == "rms_norm") return "row";
  return "elementwise";
}

// Reductions over the last axes walk each row once. Those over the two spatial axes of an image are kept apart: their
// operand is usually laid out in channel blocks, where the spatial axes are not the last ones in memory.
bool reduces_rows(const Op& op) {
  const auto& axes = op.params.integers("axes");
  int rank = op.operand(0)->type.rank();
  if (rank == 4 && axes == std::vector<int64_t>{2, 3}) return false;
  for (size_t i = 0; i < axes.size(); ++i)
    if (axes[i] != rank - static_cast<int64_t>(axes.size() - i)) return false;
  return true;
}

}  // namespace

bool is_elementwise(const Op& op) { return is_scalar_op(op.kind) || op.is(OpKind::Convert); }

bool is_reduction(const Op& op) {
  return op.is(OpKind::ReduceSum) || op.is(OpKind::ReduceProd) || op.is(OpKind::ReduceMax) || op.is(OpKind::ReduceMin) ||
         op.is(OpKind::ReduceMean);
}

bool is_movement(const Op& op) {
  return op.is(OpKind::Broadcast) || op.is(OpKind::Reshape) || op.is(OpKind::Transpose) || op.is(OpKind::Slice) ||
         op.is(OpKind::Concat) || op.is(OpKind::Pad) || op.is(OpKind::Gather) || op.is(OpKind::GatherElements);
}

bool is_stored_constant(const Module& module, const Op& op) {
  return op.is(OpKind::Constant) && module.constants[op.params.constant("value")].elements() != 1;
}

bool is_leaf(const Module& module, const Op& op) {
  return op.is(OpKind::Iota) || op.is(OpKind::DimsTensor) || (op.is(OpKind::Constant) && !is_stored_constant(module, op));
}

std::string_view family_of(const Op& op) {
  if (op.is(OpKind::Contract)) return "contraction";
  if (op.is(OpKind::Conv) || op.is(OpKind::ConvTranspose)) return "conv";
  if (op.is(OpKind::MaxPool) || op.is(OpKind::AveragePool)) return "pool";
  if (op.is(OpKind::Loop)) return "loop";
  if (op.is(OpKind::Composite)) return family_of_composite(op.params.text("name"));
  if (is_reduction(op)) return reduces_rows(op) ? "row" : "reduce";
  return "elementwise";
}

}  // namespace lapidary::passes
