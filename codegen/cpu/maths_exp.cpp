// exp, log and what is made of them, for f32. Each is one straight line of vector code: range reduction, a polynomial
// from scripts/fit_maths.py, and the exponent put back by arithmetic on the bits. No table, no branch.
//
// Largest error over every 1009th f32 (product_tests --gtest_filter='*Maths*:Pow*' prints it), in ulp:
//   exp 0.86   log 0.82   tanh 1.26   erf 0.90   sigmoid 1.63   sin 1.41   cos 1.41   pow 0.51
#include <cmath>
#include <limits>

#include "codegen/cpu/maths.h"

namespace lapidary::codegen::cpu {
namespace {

using llvm::Value;

constexpr double kLn2High = 0x1.62e400p-1, kLn2Low = 0x1.7f7d1cp-20;  // ln 2 in two f32, the first of 15 bits
constexpr double kLog2E = 0x1.715476p+0;
constexpr double kRound = 0x1.8p23;  // added to a small number, leaves it rounded to an integer in the low bits
constexpr double kInfinity = std::numeric_limits<double>::infinity();

Value* fma(Builder& b, Value* x, Value* y, Value* z) { return call(b, llvm::Intrinsic::fma, {x, y, z}); }
Value* abs(Builder& b, Value* x) { return call(b, llvm::Intrinsic::fabs, {x}); }
Value* as_bits(Builder& b, Value* x) { return convert_bits(b, x, b.getInt32Ty()); }
Value* as_float(Builder& b, Value* x) { return convert_bits(b, x, b.getFloatTy()); }
// A NaN in x stays: each is one instruction.
Value* at_most(Builder& b, Value* x, double limit) {
  return b.CreateSelect(b.CreateFCmpOLT(real(x, limit), x), real(x, limit), x);
}
Value* at_least(Builder& b, Value* x, double limit) {
  return b.CreateSelect(b.CreateFCmpOGT(real(x, limit), x), real(x, limit), x);
}

// x = n·ln2 + r with |r| ≤ ln2/2: e^r, and n as an integer.
struct ExpParts {
  Value *mantissa, *exponent;
};

ExpParts exp_parts(Builder& b, Value* x) {
  Value* shifted = fma(b, x, real(x, kLog2E), real(x, kRound));
  Value* n = b.CreateFSub(shifted, real(x, kRound));
  Value* r = fma(b, n, real(x, -kLn2High), x);
  r = fma(b, n, real(x, -kLn2Low), r);
  Value* p = polynomial(b, r, {0.00138182985, 0.00836853217, 0.0416682921, 0.166665226, 0.49999994, 1, 1});
  return {p, b.CreateSub(as_bits(b, shifted), as_bits(b, real(x, kRound)))};
}

Value* power_of_two(Builder& b, Value* exponent) {
  return as_float(b, b.CreateShl(b.CreateAdd(exponent, whole(exponent, 127)), 23));
}

// For results that neither overflow nor get denormal: |x| < 87.
Value* exp_within(Builder& b, Value* x) {
  const ExpParts parts = exp_parts(b, x);
  return as_float(b, b.CreateAdd(as_bits(b, parts.mantissa), b.CreateShl(parts.exponent, 23)));
}

// Scaled in two steps, of which only the second rounds: denormal results are right, large ones become infinite.
Value* exp_scaled(Builder& b, Value* x) {
  const ExpParts parts = exp_parts(b, x);
  Value* half = b.CreateAShr(parts.exponent, 1);
  Value* rest = b.CreateSub(parts.exponent, half);
  return b.CreateFMul(b.CreateFMul(parts.mantissa, power_of_two(b, half)), power_of_two(b, rest));
}

// An odd function in two pieces: `large` of |x|, `small` of x and of NaN. -0 stays -0.
Value* joined(Builder& b, Value* x, Value* is_small, Value* small, Value* large) {
  return call(b, llvm::Intrinsic::copysign, {b.CreateSelect(is_small, small, large), x});
}

}  // namespace

Value* emit_exp(Builder& b, Value* x) { return exp_scaled(b, at_least(b, at_most(b, x, 89), -104)); }

// x = m·2^e with m in [2/3, 4/3): log(m) by a polynomial in f = m - 1, + e·ln2 in two parts.
Value* emit_log(Builder& b, Value* x) {
  Value* denormal = b.CreateFCmpOLT(x, real(x, 0x1p-126));
  Value* scaled = b.CreateSelect(denormal, b.CreateFMul(x, real(x, 0x1p23)), x);
  Value* bits = as_bits(b, scaled);
  Value* two_thirds = as_bits(b, real(x, 0x1.555556p-1));
  Value* exponent = b.CreateAnd(b.CreateSub(bits, two_thirds), whole(bits, int64_t{-1} << 23));
  Value* f = b.CreateFSub(as_float(b, b.CreateSub(bits, exponent)), real(x, 1));
  Value* e = b.CreateSIToFP(b.CreateAShr(exponent, 23), x->getType());
  e = b.CreateFAdd(e, b.CreateSelect(denormal, real(x, -23), real(x, 0)));
  Value* p = polynomial(b, f,
                        {-0.128802091, 0.139845937, -0.121874474, 0.14005734, -0.166801974, 0.200104266, -0.249998063,
                         0.333332151, -0.5});
  Value* result = fma(b, p, b.CreateFMul(f, f), f);
  result = fma(b, e, real(x, kLn2Low), result);
  result = fma(b, e, real(x, kLn2High), result);
  // log(+inf) = +inf, log(±0) = -inf, log(negative) = NaN, log(NaN) = NaN
  result = b.CreateSelect(b.CreateFCmpULT(x, real(x, kInfinity)), result, x);
  result = b.CreateSelect(b.CreateFCmpOLT(x, real(x, 0)), real(x, std::nan("")), result);
  result = b.CreateSelect(b.CreateFCmpUNO(x, x), x, result);
  return b.CreateSelect(b.CreateFCmpOEQ(x, real(x, 0)), real(x, -kInfinity), result);
}

// 1 - 2/(e^2t + 1) with t = |x|, below 0.625 a polynomial, which keeps small results exact to the last bit.
Value* emit_tanh(Builder& b, Value* x) {
  Value* t = at_most(b, abs(b, x), 9.1);
  Value* e = exp_within(b, b.CreateFAdd(t, t));
  Value* large = b.CreateFSub(real(x, 1), b.CreateFDiv(real(x, 2), b.CreateFAdd(e, real(x, 1))));
  Value* s = b.CreateFMul(x, x);
  Value* p = polynomial(b, s, {-0.00569229666, 0.0206281673, -0.0537365153, 0.133314058, -0.333332807});
  Value* small = fma(b, b.CreateFMul(p, s), x, x);
  return joined(b, x, b.CreateFCmpULT(t, real(x, 0.625)), small, large);
}

// 1 - e^(-t·P(t)) with t = |x|, below 0.92 a polynomial.
Value* emit_erf(Builder& b, Value* x) {
  Value* t = at_most(b, abs(b, x), 4);
  Value* q = polynomial(
      b, t, {1.12317703e-05, -0.000322812324, 0.00364250573, -0.0237621833, 0.106237039, 0.635151207, 0.12864852});
  q = b.CreateFNeg(fma(b, q, t, t));
  Value* large = b.CreateFSub(real(x, 1), exp_within(b, q));
  Value* s = b.CreateFMul(x, x);
  Value* p = polynomial(b, s, {-0.000598180748, 0.00499164127, -0.0267658047, 0.112818047, -0.376124948, 0.128379151});
  Value* small = fma(b, p, x, x);
  return joined(b, x, b.CreateFCmpULT(t, real(x, 0.92)), small, large);
}

// 1/(1 + e) for x ≥ 0 and e/(1 + e) below, with e = e^-|x|: never infinite, denormal results right, one division. What
// rounding takes from 1 + e is made good to first order: q/(1 + lost/(1 + e)) = q - q·lost/(1 + e).
Value* emit_sigmoid(Builder& b, Value* x) {
  Value* one = real(x, 1);
  Value* e = exp_scaled(b, at_least(b, b.CreateFNeg(abs(b, x)), -104));
  Value* negative = b.CreateFCmpOLT(x, real(x, 0));
  Value* sum = b.CreateFAdd(one, e);
  Value* lost = b.CreateFSub(e, b.CreateFSub(sum, one));
  Value* q = b.CreateFDiv(b.CreateSelect(negative, e, one), sum);
  Value* inverse = b.CreateSelect(negative, b.CreateFSub(one, q), q);  // 1/(1 + e)
  return fma(b, q, b.CreateFNeg(b.CreateFMul(lost, inverse)), q);
}

}  // namespace lapidary::codegen::cpu
