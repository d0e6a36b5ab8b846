// Which function imports which operator: one table for each family in ops/ (families.def), put together in
// op_table.cpp.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "frontend/node.h"

namespace lapidary::frontend {

// Returns the node's results; those it does not want may be null or missing at the end.
using ImportFunction = std::vector<Value*> (*)(Node&);
// The same of an operator whose results may be sequences or optionals.
using BindingFunction = std::vector<Binding> (*)(Node&);

struct OpEntry {
  constexpr OpEntry(std::string_view op, ImportFunction function, std::string_view microsoft = {})
      : name(op), tensors(function), schema(microsoft) {}
  constexpr OpEntry(std::string_view op, BindingFunction function) : name(op), bindings(function) {}

  std::vector<Binding> import(Node&) const;

  std::string_view name;
  ImportFunction tensors = nullptr;  // one of the two
  BindingFunction bindings = nullptr;
  std::string_view schema = {};  // of an operator of com.microsoft, as microsoft_schemas.h spells it; else ONNX's own
};

const OpEntry* find_importer(std::string_view domain, std::string_view name);  // null when there is none
std::vector<std::string_view> imported_operators();                            // of ONNX's domains, sorted by name
std::vector<const OpEntry*> microsoft_operators();

#define FAMILY(function, domain) std::span<const OpEntry> function();
#include "frontend/ops/families.def"
#undef FAMILY

}  // namespace lapidary::frontend
