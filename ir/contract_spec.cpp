#include "ir/contract_spec.h"

#include "ir/error.h"

namespace lapidary {

std::optional<ContractSpec> parse_contract_spec(const std::string& text) {
  const size_t comma = text.find(','), arrow = text.find("->");
  if (comma == std::string::npos || arrow == std::string::npos || comma > arrow) return std::nullopt;
  return ContractSpec{text.substr(0, comma), text.substr(comma + 1, arrow - comma - 1), text.substr(arrow + 2)};
}

ContractSpec contract_spec(const Op& op) {
  std::optional<ContractSpec> spec = parse_contract_spec(op.params.text("spec"));
  LPD_CHECK(spec.has_value(), "contraction '{}'", op.params.text("spec"));
  return *spec;
}

std::string to_string(const ContractSpec& spec) { return spec.left + "," + spec.right + "->" + spec.result; }

}  // namespace lapidary
