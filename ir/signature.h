// What graph_ops.def and scalar_ops.def say of an op, as data: how many operands and results, which parameters.
#pragma once

#include "ir/graph.h"

namespace lapidary {

struct ParamSpec {
  std::string_view name, type;  // type: int, ints, dim, dims, float, str, dtype, constant
  bool optional = false;
};

struct Signature {
  int min_operands, max_operands;  // -1: any number
  int results;                     // -1: any number
  int regions;
  std::vector<ParamSpec> params;
  bool open;  // takes parameters beside these
};
const Signature& signature_of(OpKind);

// What of an op does not fit its signature: "takes no parameter 'axes'", one line each.
std::vector<std::string> signature_violations(const Op&);
std::vector<std::string> parameter_violations(OpKind, const Params&);

}  // namespace lapidary
