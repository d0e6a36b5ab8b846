#include "codegen/host/dim_table.h"

#include "ir/error.h"

namespace lapidary::codegen {

DimTable::DimTable(const std::vector<TensorInfo>& inputs) {
  for (uint32_t input = 0; input < inputs.size(); ++input) {
    for (uint32_t axis = 0; axis < inputs[input].shape.size(); ++axis) {
      Dim extent = inputs[input].shape[axis];
      if (extent->kind == DimKind::Symbol && sources_.try_emplace(extent->name, input, axis).second) slot(extent);
    }
  }
}

uint32_t DimTable::add(uint32_t op, uint32_t a, uint32_t b, uint32_t c) {
  dims_.push_back({op, a, b, c});
  return static_cast<uint32_t>(dims_.size() - 1);
}

uint32_t DimTable::constant(int64_t value) {
  auto [found, added] = constant_slots_.try_emplace(value, 0);
  if (added) {
    constants_.push_back(value);
    found->second = add(LPD_DIM_CONSTANT, static_cast<uint32_t>(constants_.size() - 1));
  }
  return found->second;
}

uint32_t DimTable::chain(uint32_t op, uint32_t first, const std::vector<Dim>& rest) {
  for (Dim dim : rest) first = add(op, first, slot(dim));
  return first;
}

uint32_t DimTable::slot(Dim dim) {
  if (auto found = slots_.find(dim); found != slots_.end()) return found->second;
  auto operand = [&](size_t i) { return slot(dim->operands[i]); };
  uint32_t result = 0;
  switch (dim->kind) {
    case DimKind::Constant: return constant(dim->constant);
    case DimKind::Symbol: {
      auto source = sources_.find(dim->name);
      if (source == sources_.end()) {
        throw Error(Fault::Unsupported, fmt::format("extent '{}' is not the extent of any input", printable(dim->name)));
      }
      result = add(LPD_DIM_EXTENT, source->second.first, source->second.second);
      symbols_.push_back({dim->name, result});
      break;
    }
    case DimKind::Element:
      throw Error(Fault::Unsupported, "a shape that depends on the values of a tensor");
    case DimKind::Sum:
      result = chain(LPD_DIM_ADD, operand(0), {dim->operands.begin() + 1, dim->operands.end()});
      break;
    case DimKind::Product:
      result = dim->constant == 1 ? chain(LPD_DIM_MUL, operand(0), {dim->operands.begin() + 1, dim->operands.end()})
                                  : chain(LPD_DIM_MUL, constant(dim->constant), dim->operands);
      break;
    case DimKind::FloorDiv: { uint32_t a = operand(0), b = operand(1); result = add(LPD_DIM_FLOORDIV, a, b); break; }
    case DimKind::Mod: { uint32_t a = operand(0), b = operand(1); result = add(LPD_DIM_MOD, a, b); break; }
    case DimKind::Min: { uint32_t a = operand(0), b = operand(1); result = add(LPD_DIM_MIN, a, b); break; }
    case DimKind::Max: { uint32_t a = operand(0), b = operand(1); result = add(LPD_DIM_MAX, a, b); break; }
    case DimKind::Equal: { uint32_t a = operand(0), b = operand(1); result = add(LPD_DIM_EQUAL, a, b); break; }
    case DimKind::Less: { uint32_t a = operand(0), b = operand(1); result = add(LPD_DIM_LESS, a, b); break; }
    case DimKind::Select: {
      uint32_t a = operand(0), b = operand(1), c = operand(2);
      result = add(LPD_DIM_SELECT, a, b, c);
      break;
    }
  }
  slots_[dim] = result;
  return result;
}

}  // namespace lapidary::codegen
