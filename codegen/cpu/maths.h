// Mathematical functions on f32 and f64 vectors of any width.
//
// For f32, exp, log, tanh, erf, sigmoid, sin, cos and pow are our own straight-line code, at most 2 ulp off (measured:
// test/codegen/maths_test.cpp); everything else, all of f64, and all of strict numerics is a call into libm for each
// lane.
#pragma once

#include "codegen/cpu/values.h"

namespace lapidary::codegen::cpu {

llvm::Value* emit_maths(const Emission&, ScalarOp, std::span<llvm::Value* const> args);
llvm::Value* emit_libm(Builder&, const char* function, std::span<llvm::Value* const> args);  // "tan": tanf for f32

// f32 only.
llvm::Value* emit_exp(Builder&, llvm::Value* x);
llvm::Value* emit_log(Builder&, llvm::Value* x);
llvm::Value* emit_tanh(Builder&, llvm::Value* x);
llvm::Value* emit_erf(Builder&, llvm::Value* x);
llvm::Value* emit_sigmoid(Builder&, llvm::Value* x);
llvm::Value* emit_sin(Builder&, llvm::Value* x);
llvm::Value* emit_cos(Builder&, llvm::Value* x);
llvm::Value* emit_pow(Builder&, llvm::Value* x, llvm::Value* y);

}  // namespace lapidary::codegen::cpu
