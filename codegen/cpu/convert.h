// Conversions between element types, as ir/scalar.h defines them.
#pragma once

#include "codegen/cpu/values.h"

namespace lapidary::codegen::cpu {

llvm::Value* emit_convert(const Emission&, llvm::Value*, DType from, DType to);

}  // namespace lapidary::codegen::cpu
