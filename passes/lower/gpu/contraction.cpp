// Contractions on a GPU: the letters of the einsum are the axes of a product.
#include <algorithm>
#include <map>

#include "passes/lower/contraction_form.h"
#include "passes/lower/gpu/few_rows.h"
#include "passes/lower/gpu/product.h"
#include "passes/lower/work.h"

namespace lapidary::lowering::gpu {

namespace {

using Parts = ProductForm::Parts;

// Coordinates of `letters`, given those of the classes they are in.
Coords gathered(const std::string& letters, const std::vector<std::pair<std::string, const Parts*>>& classes) {
  std::map<char, Coord> of;
  for (const auto& [names, parts] : classes)
    for (size_t i = 0; i < names.size(); ++i) of[names[i]] = (*parts)[i];
  Coords coords;
  for (char letter : letters) coords.axes.push_back(of.at(letter));
  return coords;
}

constexpr int kPacketBits = 128;

// How the columns of a constant b are worth lying: along k, in this type; nothing where they may lie as they do. Tensor
// cores read words and bytes along k alone, lines that are no whole packets are slow to fetch, and few rows are
// multiplied along k (few_rows.h). What is multiplied as bf16 is rounded once.
std::optional<DType> type_along_k(Context& context, const ContractionForm& form) {
  if (!context.target().has_tensor_cores()) return std::nullopt;
  const DType dtype = form.b()->type.dtype;
  const int bits = bit_width(dtype);
  const passes::F32Products f32 = context.options.f32_products;
  if (dtype == DType::F32 && f32 == passes::F32Products::BF16) return DType::BF16;
  if (form.depth.empty() || form.b_letters.ends_with(form.depth)) return std::nullopt;
  const bool words = bits == 32 && (f32 == passes::F32Products::TF32 || f32 == passes::F32Products::TF32x3);
  const bool in_packets = known_multiple(form.b()->type.shape.back(), kPacketBits / bits);
  const bool few = may_be_few_rows(context.module.dims.product(form.shape(form.rows)));
  return bits == 8 || words || (bits == 16 && (!in_packets || few)) ? std::optional(dtype) : std::nullopt;
}

// The product's columns as rows of a constant, when the artifact is written: [columns][depth], those that are rounded
// filled up to whole packets.
void take_weight(Context& context, const Op& group, const ContractionForm& letters, ProductForm& form) {
  if (!letters.batch.empty() || letters.b()->type.shape.empty()) return;
  const std::optional<DType> dtype = type_along_k(context, letters);
  const auto weight = dtype ? constant_behind(context.module, group, letters.b()) : std::nullopt;
  if (!weight) return;
  ConstantTable& constants = context.module.constants;
  std::vector<int64_t> axes;
  for (const char letter : letters.columns + letters.depth)
    axes.push_back(static_cast<int64_t>(letters.b_letters.find(letter)));
  const ConstantId turned = std::ranges::is_sorted(axes)
                                ? *weight
                                : constants.transformed(*weight, {.kind = Transform::Kind::Transpose, .axes = axes});
  form.b_pitch = form.depth.extent(context.module.dims);
  form.b_rows = turned;
  if (*dtype == letters.b()->type.dtype) return;
  const int64_t depth = *lapidary::value_of(form.b_pitch), run = kPacketBits / bit_width(*dtype),
                pitch = (depth + run - 1) / run * run,
                columns = *lapidary::value_of(form.columns.extent(context.module.dims));
  const ConstantId rows = constants.transformed(turned, {.kind = Transform::Kind::Reshape, .shape = {columns, depth}});
  const ConstantId rounded = constants.transformed(rows, {.kind = Transform::Kind::Convert, .dtype = *dtype});
  form.b_rows = constants.transformed(rounded, {.kind = Transform::Kind::Pad, .shape = {columns, pitch}});
  form.b_pitch = context.module.dims.constant(pitch);
}

}  // namespace

LoweredGroup lower_contraction(Context& context, const Op& group) {
  const Op& contract = anchor_of(group);
  const ContractionForm letters = contraction_form(contract);
  if (!results_follow(group, &contract)) return lower_plain(context, group);
  ProductForm form;
  form.anchor = &contract;
  form.a = letters.a();
  form.b = letters.b();
  form.batch = letters.shape(letters.batch);
  form.rows.extents = letters.shape(letters.rows);
  form.columns.extents = letters.shape(letters.columns);
  form.depth.extents = letters.shape(letters.depth);
  form.a_at = [&](GroupEmitter&, const Parts& batch, const Parts& row, const Parts& depth) {
    return gathered(letters.a_letters, {{letters.batch, &batch}, {letters.rows, &row}, {letters.depth, &depth}});
  };
  form.b_at = [&](GroupEmitter&, const Parts& batch, const Parts& depth, const Parts& column) {
    return gathered(letters.b_letters, {{letters.batch, &batch}, {letters.depth, &depth}, {letters.columns, &column}});
  };
  take_weight(context, group, letters, form);
  form.may_be_made = true;
  form.result_at = [&](GroupEmitter&, const Parts& batch, const Parts& row, const Parts& column) {
    return gathered(letters.out_letters, {{letters.batch, &batch}, {letters.rows, &row}, {letters.columns, &column}});
  };
  std::optional<LoweredGroup> lowered = lower_product(context, group, form);
  return lowered ? std::move(*lowered) : lower_plain(context, group);
}

}  // namespace lapidary::lowering::gpu
