// Conversions to the floats of 8 bits as ONNX has them. Convert by itself saturates what is finite, and rounds powers
// of two up.
#pragma once

#include <string>

#include "frontend/ops/common.h"

namespace lapidary::frontend {

// x as ONNX's Cast has it for a float8 type. Without saturation, what rounds to more than the greatest finite number is
// infinity where the type has one, else NaN. `rounding` (up, down, nearest) is of f8e8m0 alone.
Value* to_float8(Node&, Value* x, DType to, bool saturates, const std::string& rounding = "up");

inline bool is_float8(DType dtype) { return is_float(dtype) && bit_width(dtype) == 8; }

}  // namespace lapidary::frontend
