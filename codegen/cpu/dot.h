// Sums of products of bytes.
#pragma once

#include "codegen/cpu/values.h"

namespace lapidary::codegen::cpu {

// Lane l: sum[l] + Σ a[j] · b[4·l + j] for j < 4; a unsigned and b signed, or with `a_is_signed` the other way round;
// sum i32.
llvm::Value* emit_dot(const Emission&, llvm::Value* a, llvm::Value* b, llvm::Value* sum, bool a_is_signed);

}  // namespace lapidary::codegen::cpu
