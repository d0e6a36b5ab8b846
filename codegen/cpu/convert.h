// Conversions between element types, as ir/scalar.h defines them.
#pragma once

#include "codegen/cpu/values.h"

namespace lapidary::codegen::cpu {

llvm::Value* emit_convert(const Emission&, llvm::Value*, DType from, DType to);

// round(x) + offset of floats, as integers of 8 or 16 bits, saturated: rounded by the conversion itself.
llvm::Value* emit_rounded(const Emission&, llvm::Value* x, int offset, DType to);

}  // namespace lapidary::codegen::cpu
