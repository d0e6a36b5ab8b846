// Contractions on a GPU: the letters of the einsum are the axes of a product.
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

// Tensor cores read words and bytes along k alone, lines that are no whole packets are slow to fetch, and few rows are
// multiplied along k (few_rows.h): a constant b that lies otherwise is turned when the artifact is written,
// [columns][depth]. (What is rounded to bf16 is fetched one by one.)
std::optional<ConstantId> turned_weight(Context& context, const Op& group, const ContractionForm& form) {
  constexpr int kPacketBits = 128;
  const int bits = bit_width(form.b()->type.dtype);
  const passes::F32Products f32 = context.options.f32_products;
  const bool words = bits == 32 && (f32 == passes::F32Products::TF32 || f32 == passes::F32Products::TF32x3);
  const bool along_k = form.depth.empty() || form.b_letters.ends_with(form.depth);
  if (!context.target().has_tensor_cores() || along_k || !form.batch.empty() || form.b()->type.shape.empty())
    return std::nullopt;
  const bool in_packets = known_multiple(form.b()->type.shape.back(), kPacketBits / bits);
  const bool few = may_be_few_rows(context.module.dims.product(form.shape(form.rows)));
  if (!(bits == 8 || words || (bits == 16 && (!in_packets || few)))) return std::nullopt;
  const auto weight = constant_behind(context.module, group, form.b());
  if (!weight) return std::nullopt;
  std::vector<int64_t> axes;
  for (const char letter : form.columns + form.depth) axes.push_back(static_cast<int64_t>(form.b_letters.find(letter)));
  return context.module.constants.transformed(*weight, {.kind = Transform::Kind::Transpose, .axes = axes});
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
  form.b_rows = turned_weight(context, group, letters);
  form.b_pitch = form.depth.extent(context.module.dims);
  form.may_turn = true;
  form.result_at = [&](GroupEmitter&, const Parts& batch, const Parts& row, const Parts& column) {
    return gathered(letters.out_letters, {{letters.batch, &batch}, {letters.rows, &row}, {letters.columns, &column}});
  };
  std::optional<LoweredGroup> lowered = lower_product(context, group, form);
  return lowered ? std::move(*lowered) : lower_plain(context, group);
}

}  // namespace lapidary::lowering::gpu
