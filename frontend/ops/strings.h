// What several families do with strings.
#pragma once

#include "frontend/ops/common.h"

namespace lapidary::frontend {

Value* host_call(Node&, std::string function, std::vector<Value*> operands, DType to, Params more = {});

// Cast to and from strings.
Value* formatted(Node&, Value* x);
Value* parsed(Node&, Value* text, DType to);

// The place of each text among these, of equal ones the last; their number where it is none of them. Of any shape, i64.
Value* place_among(Node&, Value* text, const std::vector<std::string>& texts);

Value* strings(Node&, std::vector<int64_t> shape, const std::vector<std::string>&);  // a constant

}  // namespace lapidary::frontend
