// The floats C++ has no type for (f16, bf16, the 8- and 4-bit ones): their codes to and from float64.
#pragma once

#include <cstdint>

#include "ir/dtype.h"

namespace lapidary {

bool is_small_float(DType);
double decode_small_float(DType, uint32_t code);
// The nearest code, ties to even. f16 and bf16 overflow to infinity; the 8- and 4-bit ones saturate, as ONNX's Cast
// does by default. f8e8m0 (powers of two, no sign, no zero) rounds up.
uint32_t encode_small_float(DType, double value);

}  // namespace lapidary
