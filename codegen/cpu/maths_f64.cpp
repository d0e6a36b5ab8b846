// sin, cos and pow for f32, worked out in float64 where f32 would lose too much: the range reduction of sin and cos,
// all of pow. Twice the registers, but no double-f32 tricks, and results off by hardly more than the last rounding.
#include <llvm/IR/Function.h>

#include <cmath>
#include <limits>

#include "codegen/cpu/maths.h"

namespace lapidary::codegen::cpu {
namespace {

using llvm::Value;

constexpr double kRound = 0x1.8p52;  // as in maths_exp.cpp
constexpr double kInfinity = std::numeric_limits<double>::infinity();

Value* fma(Builder& b, Value* x, Value* y, Value* z) { return call(b, llvm::Intrinsic::fma, {x, y, z}); }
Value* widened(Builder& b, Value* x) { return b.CreateFPExt(x, same_lanes(b.getDoubleTy(), x)); }
Value* narrowed(Builder& b, Value* x) { return b.CreateFPTrunc(x, same_lanes(b.getFloatTy(), x)); }
Value* as_bits(Builder& b, Value* x) { return convert_bits(b, x, b.getInt64Ty()); }
Value* as_double(Builder& b, Value* x) { return convert_bits(b, x, b.getDoubleTy()); }

// x = n·π/2 + r: sin r or cos r by the parity of n + quarter, negated in the lower half plane.
Value* sine_of_quarters(Builder& b, Value* x, int quarter) {
  Value* wide = widened(b, x);
  Value* shifted = fma(b, wide, real(wide, 2 / M_PI), real(wide, kRound));
  Value* n = b.CreateFSub(shifted, real(wide, kRound));
  Value* reduced = fma(b, n, real(wide, -0x1.921fb54442d18p+0), wide);
  reduced = fma(b, n, real(wide, -0x1.1a62633145c07p-54), reduced);
  Value* r = narrowed(b, reduced);
  Value* quadrant = b.CreateTrunc(as_bits(b, shifted), same_lanes(b.getInt32Ty(), x));
  quadrant = b.CreateAdd(quadrant, whole(quadrant, quarter));
  Value* s = b.CreateFMul(r, r);
  Value* p = polynomial(b, s, {2.83254894e-06, -0.000198530659, 0.0083333794, -0.166666672});
  Value* sine = fma(b, b.CreateFMul(p, s), r, r);
  Value* cosine = polynomial(b, s, {-2.88808877e-07, 2.48220204e-05, -0.001388898, 0.0416666679, -0.5, 1});
  Value* odd = b.CreateICmpNE(b.CreateAnd(quadrant, whole(quadrant, 1)), whole(quadrant, 0));
  Value* value = b.CreateSelect(odd, cosine, sine);
  Value* sign = b.CreateShl(b.CreateAnd(quadrant, whole(quadrant, 2)), 30);
  return convert_bits(b, b.CreateXor(convert_bits(b, value, b.getInt32Ty()), sign), b.getFloatTy());
}

Value* any_lane(Builder& b, Value* condition) {
  return lanes_of(condition) == 1 ? condition : b.CreateOrReduce(condition);
}

// The two parts of π/2 carry the reduction to 2^28; a vector with a lane beyond (infinite too) is libm's, all of it.
Value* sine(Builder& b, Value* x, int quarter, const char* function) {
  Value* beyond = b.CreateFCmpOGE(call(b, llvm::Intrinsic::fabs, {x}), real(x, 0x1p28));
  Value* near = sine_of_quarters(b, x, quarter);
  llvm::BasicBlock* before = b.GetInsertBlock();
  llvm::BasicBlock* far = llvm::BasicBlock::Create(b.getContext(), "far", before->getParent());
  llvm::BasicBlock* after = llvm::BasicBlock::Create(b.getContext(), "after", before->getParent());
  b.CreateCondBr(any_lane(b, beyond), far, after);
  b.SetInsertPoint(far);
  Value* by_libm = emit_libm(b, function, std::array{x});
  b.CreateBr(after);
  b.SetInsertPoint(after);
  llvm::PHINode* result = b.CreatePHI(x->getType(), 2);
  result->addIncoming(near, before);
  result->addIncoming(by_libm, far);
  return result;
}

// Of a normal positive number: x = m·2^e with m in [√½, √2), log2 m = t·P(t²) with t = (m-1)/(m+1).
Value* log2_f64(Builder& b, Value* x) {
  Value* bits = as_bits(b, x);
  Value* root_half = as_bits(b, real(x, M_SQRT1_2));
  Value* exponent = b.CreateAnd(b.CreateSub(bits, root_half), whole(bits, int64_t{-1} << 52));
  Value* m = as_double(b, b.CreateSub(bits, exponent));
  // The exponent as a number: its low bits under the magic constant's, so that no conversion from i64 is asked for.
  Value* e = b.CreateAdd(b.CreateAShr(exponent, 52), as_bits(b, real(x, kRound)));
  e = b.CreateFSub(as_double(b, e), real(x, kRound));
  Value* t = b.CreateFDiv(b.CreateFSub(m, real(x, 1)), b.CreateFAdd(m, real(x, 1)));
  Value* p = polynomial(b, b.CreateFMul(t, t),
                        {0.024444639958506278, 0.28074814096996603, 0.31997671044811554, 0.41220817312036612,
                         0.57707794976850324, 0.96179669409482793, 2.8853900817778575});
  return fma(b, p, t, e);
}

Value* exp2_f64(Builder& b, Value* x) {
  Value* shifted = b.CreateFAdd(x, real(x, kRound));
  Value* f = b.CreateFSub(x, b.CreateFSub(shifted, real(x, kRound)));
  Value* p = polynomial(b, f,
                        {1.5201921540887593e-05, 0.00015469291265447692, 0.0013333922564891226, 0.0096180272532870089,
                         0.055504103534448714, 0.24022651198160383, 0.6931471807284485, 0.99999999996168165});
  return as_double(b, b.CreateAdd(as_bits(b, p), b.CreateShl(as_bits(b, shifted), 52)));
}

// |x|^y for x other than NaN; NaN when y is.
Value* power_of_magnitude(Builder& b, Value* x, Value* y) {
  Value* magnitude = widened(b, call(b, llvm::Intrinsic::fabs, {x}));
  Value* log = log2_f64(b, magnitude);
  log = b.CreateSelect(b.CreateFCmpOEQ(magnitude, real(magnitude, 0)), real(log, -kInfinity), log);
  log = b.CreateSelect(b.CreateFCmpOEQ(magnitude, real(magnitude, kInfinity)), real(log, kInfinity), log);
  Value* z = b.CreateFMul(log, widened(b, y));
  z = b.CreateSelect(b.CreateFCmpOLT(real(z, 300), z), real(z, 300), z);    // to infinity and to 0
  z = b.CreateSelect(b.CreateFCmpOGT(real(z, -300), z), real(z, -300), z);  // when narrowed
  return narrowed(b, exp2_f64(b, z));
}

}  // namespace

Value* emit_sin(Builder& b, Value* x) {
  return b.CreateSelect(b.CreateFCmpOEQ(x, real(x, 0)), x, sine(b, x, 0, "sin"));  // -0 too
}
Value* emit_cos(Builder& b, Value* x) { return sine(b, x, 1, "cos"); }

Value* emit_pow(Builder& b, Value* x, Value* y) {
  Value* zero = real(x, 0);
  Value* one = real(x, 1);
  Value* result = power_of_magnitude(b, x, y);
  Value* integral = b.CreateFCmpOEQ(call(b, llvm::Intrinsic::trunc, {y}), y);
  Value* half = b.CreateFMul(y, real(y, 0.5));
  Value* odd = b.CreateAnd(integral, b.CreateFCmpUNE(call(b, llvm::Intrinsic::trunc, {half}), half));
  Value* signed_result = call(b, llvm::Intrinsic::copysign, {result, x});
  result = b.CreateSelect(odd, signed_result, result);
  Value* negative = b.CreateAnd(b.CreateFCmpOLT(x, zero), b.CreateFCmpUNE(x, real(x, -kInfinity)));
  Value* undefined = b.CreateOr(b.CreateAnd(negative, b.CreateNot(integral)), b.CreateFCmpUNO(x, y));
  result = b.CreateSelect(undefined, real(x, std::nan("")), result);
  // 1^y = x^0 = 1, NaN or not; (-1)^±inf = 1
  Value* y_infinite = b.CreateFCmpOEQ(call(b, llvm::Intrinsic::fabs, {y}), real(y, kInfinity));
  Value* minus_one = b.CreateAnd(b.CreateFCmpOEQ(x, real(x, -1)), y_infinite);
  Value* is_one = b.CreateOr(b.CreateOr(b.CreateFCmpOEQ(x, one), b.CreateFCmpOEQ(y, zero)), minus_one);
  return b.CreateSelect(is_one, one, result);
}

}  // namespace lapidary::codegen::cpu
