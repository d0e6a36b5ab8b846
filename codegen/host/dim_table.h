// The program's dims as the runtime evaluates them: a flat list of two-operand formulas, each from earlier slots.
// Equal formulas share a slot. A symbol is read off the first input axis whose extent it is.
#pragma once

#include <array>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "ir/program.h"
#include "runtime/abi.h"

namespace lapidary::codegen::host {

class DimTable {
 public:
  explicit DimTable(const std::vector<TensorInfo>& inputs);

  // Elements, whose slots the run's steps fill; to be declared before they are used.
  uint32_t declare_element(Dim);
  // The slot that holds the dim's value. Throws Error{Fault::Unsupported} for a symbol that is no input's extent.
  uint32_t slot(Dim);
  uint32_t slot_or_none(Dim dim) { return dim ? slot(dim) : LPD_NO_SLOT; }
  uint32_t constant(int64_t);
  uint32_t combine(lpd_dim_op, uint32_t a, uint32_t b, uint32_t c = 0);

  // For each slot, which of the steps that read elements it waits for: the last one that what it depends on is read by;
  // -1: none. `reads`: the slots that each step reads, in order.
  std::vector<int64_t> steps_waited_for(const std::vector<std::vector<uint32_t>>& reads) const;

  void defer(uint32_t slot) { dims_[slot].op |= LPD_DIM_LATER; }

  const std::vector<lpd_dim>& dims() const { return dims_; }
  const std::vector<int64_t>& constants() const { return constants_; }
  const std::vector<Dim>& symbols() const { return symbols_; }  // of the inputs, in order of appearance

 private:
  uint32_t compute(Dim);
  uint32_t binary(lpd_dim_op, Dim);
  uint32_t fold(lpd_dim_op, const std::vector<Dim>& operands, int64_t unit, int64_t start);

  std::vector<lpd_dim> dims_;
  std::vector<int64_t> constants_;
  std::vector<Dim> symbols_;
  std::unordered_map<Dim, uint32_t> slots_;
  std::map<std::array<uint32_t, 4>, uint32_t> formulas_;
  std::map<int64_t, uint32_t> constant_index_;
};

}  // namespace lapidary::codegen::host
