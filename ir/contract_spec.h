// The letters of a contraction: "bmk,bnk->bmn" names the axes of its two operands and of its result.
#pragma once

#include <optional>
#include <string>

#include "ir/graph.h"

namespace lapidary {

struct ContractSpec {
  std::string left, right, result;
};

std::optional<ContractSpec> parse_contract_spec(const std::string& text);  // nothing without a comma and an arrow
ContractSpec contract_spec(const Op&);                                     // of a well-formed contract
std::string to_string(const ContractSpec&);

}  // namespace lapidary
