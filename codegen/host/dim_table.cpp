#include "codegen/host/dim_table.h"

#include <algorithm>

#include "ir/error.h"

namespace lapidary::codegen::host {

DimTable::DimTable(const std::vector<TensorInfo>& inputs) {
  for (uint32_t input = 0; input < inputs.size(); ++input)
    for (uint32_t axis = 0; axis < inputs[input].shape.size(); ++axis) {
      const Dim dim = inputs[input].shape[axis];
      if (dim->kind != DimKind::Symbol || slots_.count(dim)) continue;
      slots_[dim] = combine(LPD_DIM_EXTENT, input, axis);
      symbols_.push_back(dim);
    }
}

uint32_t DimTable::combine(lpd_dim_op op, uint32_t a, uint32_t b, uint32_t c) {
  const auto [found, is_new] = formulas_.try_emplace({op, a, b, c}, static_cast<uint32_t>(dims_.size()));
  if (is_new) dims_.push_back({op, a, b, c});
  return found->second;
}

uint32_t DimTable::declare_element(Dim element) {
  const auto [found, is_new] = slots_.try_emplace(element, static_cast<uint32_t>(dims_.size()));
  if (is_new) dims_.push_back({LPD_DIM_ELEMENT, 0, 0, 0});
  return found->second;
}

std::vector<int64_t> DimTable::steps_waited_for(const std::vector<std::vector<uint32_t>>& reads) const {
  std::vector<int64_t> step_of(dims_.size(), -1);
  for (size_t step = 0; step < reads.size(); ++step)
    for (uint32_t slot : reads[step]) step_of[slot] = static_cast<int64_t>(step);
  for (size_t i = 0; i < dims_.size(); ++i) {  // operands come before
    const lpd_dim& dim = dims_[i];
    if (dim.op == LPD_DIM_CONSTANT || dim.op == LPD_DIM_EXTENT || dim.op == LPD_DIM_ELEMENT) continue;
    step_of[i] = std::max(step_of[dim.a], step_of[dim.b]);
    if (dim.op == LPD_DIM_SELECT) step_of[i] = std::max(step_of[i], step_of[dim.c]);
  }
  return step_of;
}

uint32_t DimTable::constant(int64_t value) {
  const auto [found, is_new] = constant_index_.try_emplace(value, static_cast<uint32_t>(constants_.size()));
  if (is_new) constants_.push_back(value);
  return combine(LPD_DIM_CONSTANT, found->second, 0);
}

uint32_t DimTable::slot(Dim dim) {
  const auto found = slots_.find(dim);
  if (found != slots_.end()) return found->second;
  return slots_[dim] = compute(dim);
}

// start ∘ operands, in their order, as evaluate() goes; `unit` changes nothing.
uint32_t DimTable::fold(lpd_dim_op op, const std::vector<Dim>& operands, int64_t unit, int64_t start) {
  uint32_t result = constant(start);
  bool is_unit = start == unit;
  for (Dim operand : operands) {
    const uint32_t next = slot(operand);
    result = is_unit ? next : combine(op, result, next);
    is_unit = false;
  }
  return result;
}

uint32_t DimTable::binary(lpd_dim_op op, Dim dim) {
  const uint32_t a = slot(dim->operands[0]), b = slot(dim->operands[1]);
  return combine(op, a, b);
}

uint32_t DimTable::compute(Dim dim) {
  const std::vector<Dim>& operands = dim->operands;
  switch (dim->kind) {
    case DimKind::Constant:
      return constant(dim->constant);
    case DimKind::Symbol:
      throw Error(Fault::Unsupported,
                  fmt::format("the dimension '{}' is not the extent of any input", printable(dim->name)));
    case DimKind::Element:
      LPD_UNREACHABLE("no step reads element {}", to_string(dim));
    case DimKind::Sum:
      return fold(LPD_DIM_ADD, operands, 0, 0);
    case DimKind::Product:
      return fold(LPD_DIM_MUL, operands, 1, dim->constant);
    case DimKind::FloorDiv:
      return binary(LPD_DIM_FLOORDIV, dim);
    case DimKind::Mod:
      return binary(LPD_DIM_MOD, dim);
    case DimKind::Min:
      return binary(LPD_DIM_MIN, dim);
    case DimKind::Max:
      return binary(LPD_DIM_MAX, dim);
    case DimKind::Equal:
      return binary(LPD_DIM_EQUAL, dim);
    case DimKind::Less:
      return binary(LPD_DIM_LESS, dim);
    case DimKind::Select: {
      const uint32_t condition = slot(operands[0]), then = slot(operands[1]), otherwise = slot(operands[2]);
      return combine(LPD_DIM_SELECT, condition, then, otherwise);
    }
  }
  LPD_UNREACHABLE();
}

}  // namespace lapidary::codegen::host
