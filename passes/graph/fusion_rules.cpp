// See fusion_rules.h.
#include "passes/graph/fusion_rules.h"

#include <algorithm>

#include "passes/graph/views.h"
#include "passes/graph/walk.h"

namespace lapidary::passes {

namespace {

bool is_one(Dim dim) { return value_of(dim) == 1; }

// Reductions over the last axes walk each row once. Those over the two spatial axes of an image are kept apart: their
// operand is usually laid out in channel blocks, where the spatial axes are not the last ones in memory.
bool reduces_rows(const Op& op) {
  const auto& axes = op.params.integers("axes");
  int rank = op.operand(0)->type.rank();
  if (rank == 4 && axes == std::vector<int64_t>{2, 3}) return false;
  for (size_t i = 0; i < axes.size(); ++i)
    if (axes[i] != rank - static_cast<int64_t>(axes.size() - i)) return false;
  return !axes.empty();
}

// The first of the trailing axes a row anchor runs along.
int64_t first_row_axis(const Op& op) {
  if (is_reduction(op)) return op.params.integers("axes").front();
  return op.params.integer("axis");
}

bool equal_but_for_units(const Shape& a, std::span<const Dim> b) {
  size_t j = 0;
  for (Dim extent : a) {
    if (is_one(extent)) continue;
    while (j < b.size() && is_one(b[j])) ++j;
    if (j == b.size() || b[j] != extent) return false;
    ++j;
  }
  while (j < b.size() && is_one(b[j])) ++j;
  return j == b.size();
}

// Values of a row group have the rows' shape, or one element for each row.
bool may_follow_row(const Op& anchor, const Op& op) {
  const Shape& rows = anchor.operand(0)->type.shape;
  if (family_of(op) == "row") return op.operand(0)->type.shape == rows && first_row_axis(op) == first_row_axis(anchor);
  if (!is_elementwise(op) && !op.is(OpKind::Broadcast) && !op.is(OpKind::Reshape)) return false;
  std::span<const Dim> outer(rows.data(), static_cast<size_t>(first_row_axis(anchor)));
  return op.type().shape == rows || equal_but_for_units(op.type().shape, outer);
}

}  // namespace

bool is_elementwise(const Op& op) { return is_scalar_op(op.kind) || op.is(OpKind::Convert); }

bool is_reduction(const Op& op) {
  return op.is(OpKind::ReduceSum) || op.is(OpKind::ReduceProd) || op.is(OpKind::ReduceMax) ||
         op.is(OpKind::ReduceMin) || op.is(OpKind::ReduceMean);
}

bool dequantizes(const Module& module, const Op& op) {
  if (op.is(OpKind::Convert)) {
    const Value* from = op.operand(0);
    return bit_width(from->type.dtype) == 8 || (from->producer && dequantizes(module, *from->producer));
  }
  if (!op.is(OpKind::Mul) && !op.is(OpKind::Sub) && !op.is(OpKind::Add)) return false;
  return op.operand(0)->producer && dequantizes(module, *op.operand(0)->producer) &&
         splat_of(module, op.operand(1)).has_value();
}

bool is_movement(const Op& op) {
  return is_view_op(op) || op.is(OpKind::Concat) || op.is(OpKind::Pad) || op.is(OpKind::Gather) ||
         op.is(OpKind::GatherElements);
}

bool keeps_last_axis(const Op& op) {
  if (op.is(OpKind::Transpose)) return op.params.integers("perm").back() == op.type().rank() - 1;
  if (op.is(OpKind::Slice)) return op.type().rank() == 0 || op.params.integers("steps").back() == 1;
  return op.is(OpKind::Reshape) || op.is(OpKind::Broadcast);
}

bool is_leaf(const Module& module, const Op& op) {
  if (op.is(OpKind::Iota) || op.is(OpKind::DimsTensor)) return true;
  return op.is(OpKind::Constant) && module.constants[op.params.constant("value")].elements() == 1;
}

namespace {

// Weights of a composite that the compiler packs; seen from inside a group they are arguments.
bool is_constant_weight(const Value* value) {
  if (value->producer) return value->producer->is(OpKind::Constant);
  return value->region->owner && value->region->owner->is(OpKind::Group);
}

// Halves come to a GPU alone: elsewhere they are widened.
bool is_float_of_kernels(DType dtype) { return dtype == DType::F32 || dtype == DType::F16 || dtype == DType::BF16; }

// Constant weights of 4 or 8 bits in whole blocks.
bool keeps_packed(const Op& op) {
  const int64_t bits = op.params.integer("bits");
  const int64_t block = op.params.integer("block");
  const bool whole = op.params.integer("k") % block == 0 && block % 16 == 0;
  return (bits == 4 || bits == 8) && whole && is_float_of_kernels(op.type().dtype) &&
         std::ranges::all_of(std::span(op.operands).subspan(1), is_constant_weight) &&
         (op.operands.size() < 4 || op.operand(3)->type.dtype == DType::U8);
}

// Of a head size known now, and values in whole vectors.
bool is_kernels_attention(const Op& op) {
  const Type &q = op.operand(0)->type, &v = op.operand(2)->type;
  constexpr int64_t kPanel = 16;
  return is_float_of_kernels(q.dtype) && value_of(q.shape[3]) && value_of(v.shape[3]).value_or(1) % kPanel == 0;
}

// Of states and heads whose extents are known now.
bool is_kernels_linear_attention(const Op& op) {
  const Type &q = op.operand(0)->type, &state = op.operand(3)->type;
  return q.dtype == DType::F32 && value_of(q.shape[2]) && value_of(state.shape[1]) && value_of(state.shape[2]);
}

// Over f32, of directions and units whose numbers are known now.
bool is_kernels_recurrence(const Op& op) {
  const Type& state = op.operand(2)->type;  // h0, or the gradient of the last h
  return state.dtype == DType::F32 && value_of(state.shape[0]) && value_of(state.shape[2]);
}

bool stands_alone(std::string_view family) {
  static constexpr std::string_view kAlone[] = {"pool",
                                                "pool_gradient",
                                                "filter_gradient",
                                                "recurrent",
                                                "recurrent_gradient",
                                                "linear_attention",
                                                "trees",
                                                "positions",
                                                "suppress",
                                                "scatter",
                                                "scan",
                                                "top_k",
                                                "bit_cast"};
  return std::ranges::find(kAlone, family) != std::end(kAlone);
}

}  // namespace

bool is_kept_composite(const Op& op) {
  if (op.is_composite("matmul_packed")) return keeps_packed(op);
  if (op.is_composite("linear_attention")) return is_kernels_linear_attention(op);
  if (op.is_composite("attention")) return is_kernels_attention(op);
  if (op.is_composite("recurrent") || op.is_composite("recurrent_gradient")) return is_kernels_recurrence(op);
  for (std::string_view name : {"layer_norm", "rms_norm", "tree_ensemble"})
    if (op.is_composite(name)) return true;
  return op.is_composite("softmax") && op.params.integer("axis") == op.type().rank() - 1;
}

std::string_view family_of(const Op& op) {
  if (op.is(OpKind::Contract)) return "contraction";
  if (op.is(OpKind::Conv) || op.is(OpKind::ConvTranspose)) return "conv";
  if (op.is(OpKind::ConvFilterGradient)) return "filter_gradient";
  if (op.is(OpKind::MaxPool) || op.is(OpKind::AveragePool)) return "pool";
  if (op.is(OpKind::MaxPoolTap) || op.is(OpKind::MaxPoolGradient)) return "pool_gradient";
  if (op.is(OpKind::TruePositions)) return "positions";
  if (op.is(OpKind::Suppress)) return "suppress";
  if (op.is(OpKind::Scatter)) return "scatter";
  if (op.is(OpKind::Scan)) return "scan";
  if (op.is(OpKind::TopK)) return "top_k";
  if (op.is(OpKind::BitCast)) return "bit_cast";
  if (op.is_composite("attention")) return "attention";
  if (op.is_composite("recurrent")) return "recurrent";
  if (op.is_composite("recurrent_gradient")) return "recurrent_gradient";
  if (op.is_composite("matmul_packed") && is_kept_composite(op)) return "packed";
  if (op.is_composite("linear_attention")) return "linear_attention";
  if (op.is_composite("tree_ensemble")) return "trees";
  if (op.is(OpKind::Composite)) return is_kept_composite(op) ? "row" : "elementwise";
  if (is_reduction(op)) return reduces_rows(op) ? "row" : "reduce";
  return "elementwise";
}

namespace {}  // namespace

bool may_follow(const Op& anchor, const Op& op) {
  std::string_view family = family_of(anchor);
  if (family == "row") return may_follow_row(anchor, op);
  if (stands_alone(family)) return false;
  if (is_elementwise(op)) return family != "conv" || op.type().shape == anchor.type().shape;
  return family != "conv" && (op.is(OpKind::Reshape) || op.is(OpKind::Transpose));
}

bool may_move_into(std::string_view family, const Op& movement) {
  if (family == "elementwise") return is_movement(movement);
  if (stands_alone(family)) return false;
  if (family == "conv") return movement.is(OpKind::Broadcast) || movement.is(OpKind::Reshape);
  const bool gathers = movement.is(OpKind::Gather) || movement.is(OpKind::GatherElements);
  if (family == "reduce" && gathers) return true;  // what is gathered is larger than what it is reduced to
  return keeps_last_axis(movement);
}

}  // namespace lapidary::passes
