// Schemas of com.microsoft, the domain of ONNX Runtime's own operators: ONNX's library has none. Each operator gives
// its schema as one line of text in its family's table (OpEntry::schema), which is made an OpSchema here, so that
// nodes are checked and defaults found as for any other domain.
//
//   inputs -> outputs | attributes | type variables
//     X: T1, W: u8, bias?: T1, rest*: T1 -> Y: T1 | K: int, bits = 4, mode: str = "add" | T1 = f32 f16
//
// A type is a variable or element types separated by '/'. '?' after a name: may be left out; '*': any number, all of
// one type when it is a variable. Attributes are required (K: int), have a default (bits = 4, alpha = 0.01, s = "") or
// may be missing (axis?: int); their types are int, float, str, ints, floats, strs. Empty parts at the end may be left
// out.
#pragma once

#include <string_view>

#include "frontend/onnx_proto.h"

namespace lapidary::frontend {

constexpr std::string_view kMicrosoft = "com.microsoft";

// Of an operator in our tables; null when there is none.
const OpSchema* microsoft_schema(std::string_view name);

OpSchema parse_schema(std::string_view name, std::string_view text);

}  // namespace lapidary::frontend
