// One LLVM spelling for each scalar operation. Two things want care:
//
// min and max propagate NaN. `b < a ? b : a` is one vminps, which gives its second operand when either is NaN, so only
// a NaN in b is lost: with b a constant (relu, clip) one instruction does, otherwise a compare and a blend follow.
//
// Integer division must not trap: the divisor 0 and INT_MIN / -1 are replaced before dividing. Index arithmetic, whose
// divisors are positive constants, folds all of that away.
// Test: test/codegen/scalar_ops_test.cpp, every operation × type × lanes against ir/scalar.h.
#include "codegen/cpu/scalar_ops.h"

#include <llvm/IR/IntrinsicsX86.h>

#include "codegen/cpu/maths.h"
#include "ir/error.h"

namespace lapidary::codegen::cpu {
namespace {

using llvm::Value;
using llvm::Intrinsic::ID;

bool never_nan(const Value* x) {
  if (const auto* constant = llvm::dyn_cast<llvm::ConstantFP>(x)) return !constant->isNaN();
  const auto* vector = llvm::dyn_cast<llvm::Constant>(x);
  const auto* lane = vector ? llvm::dyn_cast_or_null<llvm::ConstantFP>(vector->getSplatValue()) : nullptr;
  return lane && !lane->isNaN();
}

// y < x ? y : x (or y > x for max), as the one instruction it is where the width has one: InstCombine would otherwise
// join it with the test for NaN that follows into something longer. The NaN test hangs on y alone: accumulate in x.
Value* plain_min_max(const Emission& e, bool is_min, Value* y, Value* x) {
  Builder& b = e.build;
  const bool is_f32 = x->getType()->getScalarType()->isFloatTy();
  const unsigned bits = lanes_of(x) * (is_f32 ? 32 : 64);
  if (bits == 512 && e.target.vector_bytes == 64) {
    const ID id = is_min ? (is_f32 ? llvm::Intrinsic::x86_avx512_min_ps_512 : llvm::Intrinsic::x86_avx512_min_pd_512)
                         : (is_f32 ? llvm::Intrinsic::x86_avx512_max_ps_512 : llvm::Intrinsic::x86_avx512_max_pd_512);
    return b.CreateIntrinsic(id, {y, x, b.getInt32(4)});  // 4: the rounding mode at hand
  }
  if (bits == 256 && e.target.vector_bytes >= 32) {
    const ID id = is_min ? (is_f32 ? llvm::Intrinsic::x86_avx_min_ps_256 : llvm::Intrinsic::x86_avx_min_pd_256)
                         : (is_f32 ? llvm::Intrinsic::x86_avx_max_ps_256 : llvm::Intrinsic::x86_avx_max_pd_256);
    return b.CreateIntrinsic(id, {y, x});
  }
  return b.CreateSelect(is_min ? b.CreateFCmpOLT(y, x) : b.CreateFCmpOGT(y, x), y, x);
}

Value* float_min_max(const Emission& e, bool is_min, Value* x, Value* y) {
  Builder& b = e.build;
  if (e.target.arch == Arch::AArch64)  // its instruction hands on NaN
    return b.CreateBinaryIntrinsic(is_min ? llvm::Intrinsic::minimum : llvm::Intrinsic::maximum, x, y);
  if (never_nan(x)) std::swap(x, y);
  if (never_nan(y)) return b.CreateSelect(is_min ? b.CreateFCmpOLT(y, x) : b.CreateFCmpOGT(y, x), y, x);
  return b.CreateSelect(b.CreateFCmpUNO(y, y), y, plain_min_max(e, is_min, y, x));
}

Value* float_sign(Builder& b, Value* x) {
  Value* zero = real(x, 0);
  Value* signed_one = call(b, llvm::Intrinsic::copysign, {real(x, 1), x});
  Value* nonzero = b.CreateOr(b.CreateFCmpOGT(x, zero), b.CreateFCmpOLT(x, zero));
  return b.CreateSelect(nonzero, signed_one, x);  // ±0 and NaN stay
}

Value* is_inf(Builder& b, Value* x) {
  return b.CreateFCmpOEQ(call(b, llvm::Intrinsic::fabs, {x}), real(x, std::numeric_limits<double>::infinity()));
}

Value* float_floor_mod(Builder& b, Value* x, Value* y) {
  Value* remainder = emit_libm(b, "fmod", std::array{x, y});
  Value* zero = real(x, 0);
  Value* differ = b.CreateXor(b.CreateFCmpOLT(remainder, zero), b.CreateFCmpOLT(y, zero));
  Value* shift = b.CreateAnd(differ, b.CreateFCmpUNE(remainder, zero));
  return b.CreateSelect(shift, b.CreateFAdd(remainder, y), remainder);
}

Value* emit_float(const Emission& e, ScalarOp op, std::span<Value* const> args) {
  Builder& b = e.build;
  Value* x = args[0];
  Value* y = args.back();
  switch (op) {
    case ScalarOp::Neg:
      return b.CreateFNeg(x);
    case ScalarOp::Abs:
      return call(b, llvm::Intrinsic::fabs, {x});
    case ScalarOp::Sign:
      return float_sign(b, x);
    case ScalarOp::Floor:
      return call(b, llvm::Intrinsic::floor, {x});
    case ScalarOp::Ceil:
      return call(b, llvm::Intrinsic::ceil, {x});
    case ScalarOp::Round:
      return call(b, llvm::Intrinsic::roundeven, {x});
    case ScalarOp::Trunc:
      return call(b, llvm::Intrinsic::trunc, {x});
    case ScalarOp::Sqrt:
      return call(b, llvm::Intrinsic::sqrt, {x});
    case ScalarOp::Exp:
    case ScalarOp::Log:
    case ScalarOp::Sin:
    case ScalarOp::Cos:
    case ScalarOp::Tan:
    case ScalarOp::Asin:
    case ScalarOp::Acos:
    case ScalarOp::Atan:
    case ScalarOp::Sinh:
    case ScalarOp::Cosh:
    case ScalarOp::Tanh:
    case ScalarOp::Asinh:
    case ScalarOp::Acosh:
    case ScalarOp::Atanh:
    case ScalarOp::Erf:
    case ScalarOp::Sigmoid:
    case ScalarOp::Pow:
      return emit_maths(e, op, args);
    case ScalarOp::IsNan:
      return b.CreateFCmpUNO(x, x);
    case ScalarOp::IsInf:
      return is_inf(b, x);
    case ScalarOp::Add:
      return b.CreateFAdd(x, y);
    case ScalarOp::Sub:
      return b.CreateFSub(x, y);
    case ScalarOp::Mul:
      return b.CreateFMul(x, y);
    case ScalarOp::Div:
      return b.CreateFDiv(x, y);
    case ScalarOp::FloorMod:
      return float_floor_mod(b, x, y);
    case ScalarOp::TruncMod:
      return emit_libm(b, "fmod", args);
    case ScalarOp::Min:
      return float_min_max(e, true, x, y);
    case ScalarOp::Max:
      return float_min_max(e, false, x, y);
    case ScalarOp::Equal:
      return b.CreateFCmpOEQ(x, y);
    case ScalarOp::NotEqual:
      return b.CreateFCmpUNE(x, y);
    case ScalarOp::Less:
      return b.CreateFCmpOLT(x, y);
    case ScalarOp::LessEqual:
      return b.CreateFCmpOLE(x, y);
    case ScalarOp::Not:
    case ScalarOp::BitNot:
    case ScalarOp::And:
    case ScalarOp::Or:
    case ScalarOp::Xor:
    case ScalarOp::ShiftLeft:
    case ScalarOp::ShiftRight:
    case ScalarOp::Select:
      break;
  }
  LPD_UNREACHABLE("{} on a float", name_of(op));
}

Value* is_zero(Builder& b, Value* x) { return b.CreateICmpEQ(x, whole(x, 0)); }

// Quotient or remainder with divisors that would trap replaced by 1; the caller mends the result for 0.
Value* divide(Builder& b, bool is_signed, bool quotient, Value* x, Value* y) {
  Value* zero = is_zero(b, y);
  Value* divisor = b.CreateSelect(zero, whole(y, 1), y);
  Value* minus_one = b.CreateICmpEQ(y, whole(y, -1));
  if (is_signed) divisor = b.CreateSelect(minus_one, whole(y, 1), divisor);
  Value* result = is_signed ? (quotient ? b.CreateSDiv(x, divisor) : b.CreateSRem(x, divisor))
                            : (quotient ? b.CreateUDiv(x, divisor) : b.CreateURem(x, divisor));
  if (is_signed && quotient) result = b.CreateSelect(minus_one, b.CreateNeg(x), result);
  return b.CreateSelect(zero, whole(x, 0), result);
}

Value* integer_floor_mod(Builder& b, bool is_signed, Value* x, Value* y) {
  Value* remainder = divide(b, is_signed, false, x, y);
  if (!is_signed) return remainder;
  Value* differ = b.CreateICmpSLT(b.CreateXor(remainder, y), whole(x, 0));
  Value* shift = b.CreateAnd(differ, b.CreateNot(is_zero(b, remainder)));
  return b.CreateSelect(shift, b.CreateAdd(remainder, y), remainder);
}

// By squaring: as many steps as the exponent has bits, without a branch.
Value* integer_power(Builder& b, bool is_signed, Value* base, Value* exponent) {
  Value* one = whole(base, 1);
  Value* result = one;
  Value* square = base;
  const unsigned bits = base->getType()->getScalarSizeInBits();
  for (unsigned bit = 0; bit < bits; bit++) {
    Value* set = b.CreateICmpNE(b.CreateAnd(exponent, b.CreateShl(one, bit)), whole(base, 0));
    result = b.CreateMul(result, b.CreateSelect(set, square, one));
    square = b.CreateMul(square, square);
  }
  if (!is_signed) return result;
  Value* odd = b.CreateICmpNE(b.CreateAnd(exponent, one), whole(base, 0));
  Value* minus_one = b.CreateICmpEQ(base, whole(base, -1));
  Value* unit = b.CreateSelect(odd, whole(base, -1), one);
  Value* inverse = b.CreateSelect(minus_one, unit, b.CreateSelect(b.CreateICmpEQ(base, one), one, whole(base, 0)));
  return b.CreateSelect(b.CreateICmpSLT(exponent, whole(base, 0)), inverse, result);
}

Value* shift(Builder& b, ScalarOp op, bool is_signed, Value* x, Value* by) {
  const unsigned bits = x->getType()->getScalarSizeInBits();
  Value* within = b.CreateICmpULT(by, whole(by, bits));
  if (op == ScalarOp::ShiftRight && is_signed) return b.CreateAShr(x, b.CreateSelect(within, by, whole(by, bits - 1)));
  Value* safe = b.CreateSelect(within, by, whole(by, 0));
  Value* shifted = op == ScalarOp::ShiftLeft ? b.CreateShl(x, safe) : b.CreateLShr(x, safe);
  return b.CreateSelect(within, shifted, whole(x, 0));
}

Value* integer_sign(Builder& b, bool is_signed, Value* x) {
  Value* positive = b.CreateZExt(b.CreateICmpNE(x, whole(x, 0)), x->getType());
  return is_signed ? b.CreateSelect(b.CreateICmpSLT(x, whole(x, 0)), whole(x, -1), positive) : positive;
}

Value* emit_integer(Builder& b, ScalarOp op, DType dtype, std::span<Value* const> args) {
  const bool is_signed = is_signed_integer(dtype);
  Value* x = args[0];
  Value* y = args.back();
  switch (op) {
    case ScalarOp::Neg:
      return b.CreateNeg(x);
    case ScalarOp::Abs:
      return is_signed ? b.CreateBinaryIntrinsic(llvm::Intrinsic::abs, x, b.getFalse()) : x;
    case ScalarOp::Sign:
      return integer_sign(b, is_signed, x);
    case ScalarOp::Not:
    case ScalarOp::BitNot:
      return b.CreateNot(x);
    case ScalarOp::Add:
      return b.CreateAdd(x, y);
    case ScalarOp::Sub:
      return b.CreateSub(x, y);
    case ScalarOp::Mul:
      return b.CreateMul(x, y);
    case ScalarOp::Div:
      return divide(b, is_signed, true, x, y);
    case ScalarOp::FloorMod:
      return integer_floor_mod(b, is_signed, x, y);
    case ScalarOp::TruncMod:
      return divide(b, is_signed, false, x, y);
    case ScalarOp::Pow:
      return integer_power(b, is_signed, x, y);
    case ScalarOp::Min:
      return b.CreateBinaryIntrinsic(is_signed ? llvm::Intrinsic::smin : llvm::Intrinsic::umin, x, y);
    case ScalarOp::Max:
      return b.CreateBinaryIntrinsic(is_signed ? llvm::Intrinsic::smax : llvm::Intrinsic::umax, x, y);
    case ScalarOp::And:
      return b.CreateAnd(x, y);
    case ScalarOp::Or:
      return b.CreateOr(x, y);
    case ScalarOp::Xor:
      return b.CreateXor(x, y);
    case ScalarOp::ShiftLeft:
    case ScalarOp::ShiftRight:
      return shift(b, op, is_signed, x, y);
    case ScalarOp::Equal:
      return b.CreateICmpEQ(x, y);
    case ScalarOp::NotEqual:
      return b.CreateICmpNE(x, y);
    case ScalarOp::Less:
      return is_signed ? b.CreateICmpSLT(x, y) : b.CreateICmpULT(x, y);
    case ScalarOp::LessEqual:
      return is_signed ? b.CreateICmpSLE(x, y) : b.CreateICmpULE(x, y);
    case ScalarOp::Floor:
    case ScalarOp::Ceil:
    case ScalarOp::Round:
    case ScalarOp::Trunc:
    case ScalarOp::Sqrt:
    case ScalarOp::Exp:
    case ScalarOp::Log:
    case ScalarOp::Sin:
    case ScalarOp::Cos:
    case ScalarOp::Tan:
    case ScalarOp::Asin:
    case ScalarOp::Acos:
    case ScalarOp::Atan:
    case ScalarOp::Sinh:
    case ScalarOp::Cosh:
    case ScalarOp::Tanh:
    case ScalarOp::Asinh:
    case ScalarOp::Acosh:
    case ScalarOp::Atanh:
    case ScalarOp::Erf:
    case ScalarOp::Sigmoid:
    case ScalarOp::IsNan:
    case ScalarOp::IsInf:
    case ScalarOp::Select:
      break;
  }
  LPD_UNREACHABLE("{} on {}", name_of(op), name_of(dtype));
}

}  // namespace

Value* emit_scalar_op(const Emission& e, ScalarOp op, DType dtype, std::span<Value* const> args) {
  if (op == ScalarOp::Select) return e.build.CreateSelect(args[0], args[1], args[2]);
  const bool is_number = args[0]->getType()->isFPOrFPVectorTy();
  return is_number ? emit_float(e, op, args) : emit_integer(e.build, op, dtype, args);
}

Value* emit_fma(const Emission& e, Value* x, Value* y, Value* z) {
  Builder& b = e.build;
  if (x->getType()->isFPOrFPVectorTy())
    return e.target.has_fma() ? call(b, llvm::Intrinsic::fma, {x, y, z}) : b.CreateFAdd(b.CreateFMul(x, y), z);
  return b.CreateAdd(b.CreateMul(x, y), z);
}

}  // namespace lapidary::codegen::cpu
