// Formulas flattened into the runtime's table: each distinct Dim is one slot, filled in order.
#pragma once

#include <map>
#include <unordered_map>
#include <vector>

#include "ir/program.h"
#include "runtime/abi.h"

namespace lapidary::codegen {

class DimTable {
 public:
  // Symbols are read off the inputs whose extent they are.
  explicit DimTable(const std::vector<TensorInfo>& inputs);

  uint32_t slot(Dim);                                  // throws Error{Fault::Unsupported} for a value known only in a run
  uint32_t slot_or_none(Dim dim) { return dim ? slot(dim) : LPD_NO_SLOT; }

  const std::vector<lpd_dim>& dims() const { return dims_; }
  const std::vector<int64_t>& constants() const { return constants_; }
  const std::vector<std::pair<std::string, uint32_t>>& symbols() const { return symbols_; }   // name, slot

 private:
  uint32_t add(uint32_t op, uint32_t a, uint32_t b = 0, uint32_t c = 0);
  uint32_t constant(int64_t);
  uint32_t chain(uint32_t op, uint32_t first, const std::vector<Dim>& rest);

  std::map<std::string, std::pair<uint32_t, uint32_t>> sources_;   // symbol → input and axis
  std::vector<lpd_dim> dims_;
  std::vector<int64_t> constants_;
  std::vector<std::pair<std::string, uint32_t>> symbols_;
  std::unordered_map<Dim, uint32_t> slots_;
  std::map<int64_t, uint32_t> constant_slots_;
};

}  // namespace lapidary::codegen
