// The operations of ir/scalar_ops.def on LLVM values.
#pragma once

#include "codegen/cpu/values.h"

namespace lapidary::codegen::cpu {

// `dtype` is that of args[0], or of the choices of a Select. Result: one lane for each of args[0]'s.
llvm::Value* emit_scalar_op(const Emission&, ScalarOp, DType dtype, std::span<llvm::Value* const> args);

// a·b + c, rounded once where the target can; integers wrap.
llvm::Value* emit_fma(const Emission&, llvm::Value* a, llvm::Value* b, llvm::Value* c);

}  // namespace lapidary::codegen::cpu
