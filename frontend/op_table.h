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

struct OpEntry {
  std::string_view name;
  ImportFunction import;
  std::string_view schema = {};  // of an operator of com.microsoft, as microsoft_schemas.h spells it; else ONNX's own
};

ImportFunction find_importer(std::string_view domain, std::string_view name);  // null when there is none
std::vector<std::string_view> imported_operators();                            // of ONNX's domains, sorted by name
std::vector<const OpEntry*> microsoft_operators();

#define FAMILY(function, domain) std::span<const OpEntry> function();
#include "frontend/ops/families.def"
#undef FAMILY

}  // namespace lapidary::frontend
