// Conversions. The 16-bit and smaller floats live as integers: f16 goes through the instructions that all targets but
// the lowest x86-64 have, bf16 is the upper half of an f32, the rest is taken apart by hand. All of them round once,
// from an f32: a float64 or a wide integer is first brought to f32 by rounding to odd, whose last bit remembers that
// something was cut off, so that the second rounding (to 11 bits or fewer) gives what one would have.
//
// fptrunc of f64 to half would be a library call; LLVM's bfloat too, on CPUs without AVX512-BF16, and the instruction
// itself flushes denormals. Test: test/codegen/convert_test.cpp, all codes and the neighbours of every midpoint.
#include "codegen/cpu/convert.h"

#include "ir/error.h"
#include "ir/small_floats.h"

namespace lapidary::codegen::cpu {
namespace {

using llvm::Value;

struct Format {
  int exponent_bits, mantissa_bits, bias;
  bool negative_zero_is_nan;
  int mask() const { return (1 << (exponent_bits + mantissa_bits)) - 1; }
  int sign() const { return 1 << (exponent_bits + mantissa_bits); }
};

Format format_of(DType dtype) {
  if (dtype == DType::F16) return {5, 10, 15, false};
  if (dtype == DType::F8E4M3FN) return {4, 3, 7, false};
  if (dtype == DType::F8E4M3FNUZ) return {4, 3, 8, true};
  if (dtype == DType::F8E5M2) return {5, 2, 15, false};
  LPD_CHECK(dtype == DType::F8E5M2FNUZ, "{} has no format", name_of(dtype));
  return {5, 2, 16, true};
}

// What is too large becomes this code: the largest finite one, of f16 infinity. Above are NaN, and for f8e5m2 infinity,
// which infinity alone becomes.
int largest_code(DType dtype) {
  if (dtype == DType::F16) return 0x7c00;
  if (dtype == DType::F8E5M2) return 0x7b;
  return dtype == DType::F8E4M3FN ? 0x7e : 0x7f;
}

llvm::Type* i32_like(Builder& b, Value* x) { return same_lanes(b.getInt32Ty(), x); }
Value* as_float(Builder& b, Value* bits) { return convert_bits(b, bits, b.getFloatTy()); }
Value* as_bits(Builder& b, Value* number) { return convert_bits(b, number, b.getInt32Ty()); }
Value* is_nan(Builder& b, Value* x) { return b.CreateFCmpUNO(x, x); }

Value* decode_f16(Builder& b, Value* code) {
  return b.CreateFPExt(convert_bits(b, code, b.getHalfTy()), same_lanes(b.getFloatTy(), code));
}

Value* decode_bf16(Builder& b, Value* code) {
  return as_float(b, b.CreateShl(b.CreateZExt(code, i32_like(b, code)), 16));
}

Value* decode_f8e8m0(Builder& b, Value* code) {  // 2^(code - 127): 0 is the denormal 2^-127, 255 NaN
  Value* wide = b.CreateZExt(code, i32_like(b, code));
  Value* bits = b.CreateShl(wide, 23);
  bits = b.CreateSelect(b.CreateICmpEQ(wide, whole(wide, 0)), whole(wide, 0x00400000), bits);
  return as_float(b, b.CreateSelect(b.CreateICmpEQ(wide, whole(wide, 255)), whole(wide, 0x7fc00000), bits));
}

// Denormals are counted, not built from f32 denormals, so that a caller's denormals-are-zero changes nothing.
Value* decode_by_hand(Builder& b, Value* code, DType dtype) {
  const Format f = format_of(dtype);
  Value* wide = b.CreateZExt(code, i32_like(b, code));
  Value* magnitude = b.CreateAnd(wide, whole(wide, f.mask()));
  Value* normal = b.CreateAdd(b.CreateShl(magnitude, 23 - f.mantissa_bits), whole(wide, int64_t{127 - f.bias} << 23));
  Value* counted = b.CreateSIToFP(magnitude, same_lanes(b.getFloatTy(), wide));
  Value* small = as_bits(b, b.CreateFMul(counted, real(counted, std::ldexp(1.0, 1 - f.bias - f.mantissa_bits))));
  Value* bits = b.CreateSelect(b.CreateICmpULT(magnitude, whole(wide, 1 << f.mantissa_bits)), small, normal);
  const bool has_infinity = dtype == DType::F8E5M2 || dtype == DType::F16;
  const int infinity = ((1 << f.exponent_bits) - 1) << f.mantissa_bits;
  if (has_infinity)
    bits = b.CreateSelect(b.CreateICmpEQ(magnitude, whole(wide, infinity)), whole(wide, 0x7f800000), bits);
  bits =
      b.CreateOr(bits, b.CreateShl(b.CreateAnd(wide, whole(wide, f.sign())), 31 - f.exponent_bits - f.mantissa_bits));
  Value* nan = f.negative_zero_is_nan ? b.CreateICmpEQ(wide, whole(wide, f.sign()))
                                      : b.CreateICmpUGT(magnitude, whole(wide, has_infinity ? infinity : 0x7e));
  return as_float(b, b.CreateSelect(nan, whole(wide, 0x7fc00000), bits));
}

Value* decode(const Emission& e, Value* code, DType dtype) {
  Builder& b = e.build;
  if (dtype == DType::F16 && e.target.has_fma()) return decode_f16(b, code);
  if (dtype == DType::BF16) return decode_bf16(b, code);
  if (dtype == DType::F8E8M0) return decode_f8e8m0(b, code);
  return decode_by_hand(b, code, dtype);
}

Value* encode_bf16(Builder& b, Value* x) {
  Value* bits = as_bits(b, x);
  Value* upper = b.CreateLShr(bits, 16);
  Value* carry = b.CreateAdd(b.CreateAnd(upper, whole(bits, 1)), whole(bits, 0x7fff));
  Value* rounded = b.CreateLShr(b.CreateAdd(bits, carry), 16);
  Value* code = b.CreateSelect(is_nan(b, x), b.CreateOr(upper, whole(bits, 0x40)), rounded);
  return b.CreateTrunc(code, same_lanes(b.getInt16Ty(), x));
}

Value* encode_f8e8m0(Builder& b, Value* x) {  // the power of two at or above |x|, within 2^-127 … 2^127
  Value* magnitude = b.CreateAnd(as_bits(b, x), whole(as_bits(b, x), 0x7fffffff));
  Value* up = b.CreateLShr(b.CreateAdd(magnitude, whole(magnitude, 0x7fffff)), 23);
  up = b.CreateBinaryIntrinsic(llvm::Intrinsic::umin, up, whole(up, 254));
  up = b.CreateSelect(b.CreateICmpULE(magnitude, whole(up, 0x00400000)), whole(up, 0), up);
  up = b.CreateSelect(is_nan(b, x), whole(up, 255), up);
  return b.CreateTrunc(up, same_lanes(b.getInt8Ty(), x));
}

Value* encode_by_hand(Builder& b, Value* x, DType dtype) {
  const Format f = format_of(dtype);
  Value* bits = as_bits(b, x);
  Value* magnitude = b.CreateAnd(bits, whole(bits, 0x7fffffff));
  const int cut = 23 - f.mantissa_bits;
  Value* last = b.CreateAnd(b.CreateLShr(magnitude, cut), whole(bits, 1));
  Value* rounded = b.CreateAdd(b.CreateAdd(magnitude, last), whole(bits, (int64_t{1} << (cut - 1)) - 1));
  Value* normal = b.CreateSub(b.CreateLShr(rounded, cut), whole(bits, int64_t{127 - f.bias} << f.mantissa_bits));
  // Below the normals: adding this number leaves the count of quanta, rounded to even, in the low bits of the sum.
  llvm::Constant* magic = real(x, std::ldexp(1.0, 1 - f.bias + cut));
  Value* counted = b.CreateFAdd(as_float(b, magnitude), magic);
  Value* small = b.CreateSub(as_bits(b, counted), as_bits(b, magic));
  llvm::Constant* least_normal = whole(bits, int64_t{128 - f.bias} << 23);
  Value* code = b.CreateSelect(b.CreateICmpULT(magnitude, least_normal), small, normal);
  Value* over = b.CreateICmpUGE(magnitude, whole(bits, int64_t{127 + 64} << 23));  // past any of them, infinity too
  code = b.CreateSelect(over, whole(bits, largest_code(dtype)), code);
  code = b.CreateBinaryIntrinsic(llvm::Intrinsic::umin, code, whole(bits, largest_code(dtype)));
  if (dtype == DType::F8E5M2)
    code = b.CreateSelect(b.CreateICmpEQ(magnitude, whole(bits, 0x7f800000)), whole(bits, 0x7c), code);
  Value* sign = b.CreateAnd(b.CreateLShr(bits, 31 - f.exponent_bits - f.mantissa_bits), whole(bits, f.sign()));
  Value* signed_code = b.CreateOr(code, sign);
  if (f.negative_zero_is_nan) signed_code = b.CreateSelect(b.CreateICmpEQ(code, whole(bits, 0)), code, signed_code);
  const int quiet = dtype == DType::F16 ? 0x7e00 : dtype == DType::F8E4M3FN ? 0x7f : 0x7e;
  Value* nan = f.negative_zero_is_nan ? whole(bits, f.sign()) : b.CreateOr(sign, whole(bits, quiet));
  llvm::Type* type = dtype == DType::F16 ? b.getInt16Ty() : b.getInt8Ty();
  return b.CreateTrunc(b.CreateSelect(is_nan(b, x), nan, signed_code), same_lanes(type, x));
}

Value* encode_f16(Builder& b, Value* x) {
  return convert_bits(b, b.CreateFPTrunc(x, same_lanes(b.getHalfTy(), x)), b.getInt16Ty());
}

Value* encode(const Emission& e, Value* x, DType dtype) {
  Builder& b = e.build;
  if (dtype == DType::F16 && e.target.has_fma()) return encode_f16(b, x);
  if (dtype == DType::BF16) return encode_bf16(b, x);
  if (dtype == DType::F8E8M0) return encode_f8e8m0(b, x);
  return encode_by_hand(b, x, dtype);
}

// f64 → f32 that keeps an even last bit only when nothing was cut off.
Value* truncate_to_odd(Builder& b, Value* x) {
  Value* nearest = b.CreateFPTrunc(x, same_lanes(b.getFloatTy(), x));
  Value* back = b.CreateFPExt(nearest, x->getType());
  Value* bits = as_bits(b, nearest);
  Value* away = b.CreateFCmpOGT(b.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, back),
                                b.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, x));
  Value* towards_zero = b.CreateSub(bits, b.CreateZExt(away, bits->getType()));
  Value* odd = b.CreateOr(towards_zero, whole(bits, 1));
  return as_float(b, b.CreateSelect(b.CreateFCmpONE(back, x), odd, bits));
}

// An integer as an f32 to be rounded once more: bits past 2^24 that would be cut off gather in the last one kept.
Value* integer_to_odd(Builder& b, Value* x, bool is_signed) {
  const unsigned bits = x->getType()->getScalarSizeInBits();
  llvm::Type* as = same_lanes(b.getFloatTy(), x);
  if (bits <= 16) return is_signed ? b.CreateSIToFP(x, as) : b.CreateUIToFP(x, as);
  llvm::Type* wide = same_lanes(b.getDoubleTy(), x);
  if (bits == 64) {
    Value* magnitude = is_signed ? b.CreateBinaryIntrinsic(llvm::Intrinsic::abs, x, b.getFalse()) : x;
    Value* dropped = b.CreateAnd(magnitude, whole(x, 0x7ff));
    Value* sticky = b.CreateZExt(b.CreateICmpNE(dropped, whole(x, 0)), x->getType());
    Value* kept = b.CreateOr(b.CreateAnd(magnitude, whole(x, ~int64_t{0x7ff})), b.CreateShl(sticky, 11));
    Value* large = b.CreateICmpUGE(magnitude, whole(x, int64_t{1} << 53));
    magnitude = b.CreateSelect(large, kept, magnitude);
    Value* number = b.CreateUIToFP(magnitude, wide);
    if (is_signed) number = b.CreateSelect(b.CreateICmpSLT(x, whole(x, 0)), b.CreateFNeg(number), number);
    return truncate_to_odd(b, number);
  }
  return truncate_to_odd(b, is_signed ? b.CreateSIToFP(x, wide) : b.CreateUIToFP(x, wide));
}

bool is_signed_value(DType dtype) { return is_signed_integer(dtype); }

// To 8 or 16 bits: LLVM takes vectors apart for its own saturating conversions of that width. Clamped as floats, by
// comparisons that are single instructions; NaN, which fails them, becomes 0.
Value* clamped(Builder& b, Value* x, DType to, int offset) {
  const int bits = bit_width(to);
  const bool is_signed = is_signed_value(to);
  llvm::Constant* low = real(x, (is_signed ? -std::ldexp(1.0, bits - 1) : 0) - offset);
  llvm::Constant* high = real(x, std::ldexp(1.0, is_signed ? bits - 1 : bits) - 1 - offset);
  if (is_signed) x = b.CreateSelect(is_nan(b, x), real(x, -offset), x);
  x = b.CreateSelect(b.CreateFCmpOGT(x, low), x, low);
  return b.CreateSelect(b.CreateFCmpOLT(x, high), x, high);
}

Value* float_to_small_integer(Builder& b, Value* x, DType to) {
  Value* whole_number = b.CreateFPToSI(clamped(b, x, to, 0), same_lanes(b.getInt32Ty(), x));
  return b.CreateTrunc(whole_number, same_lanes(b.getIntNTy(bit_width(to)), x));
}

Value* float_to_integer(Builder& b, Value* x, DType to) {
  if (bit_width(to) < 32) return float_to_small_integer(b, x, to);
  llvm::Type* type = same_lanes(value_type(b.getContext(), to), x);
  const auto id = is_signed_value(to) ? llvm::Intrinsic::fptosi_sat : llvm::Intrinsic::fptoui_sat;
  return b.CreateIntrinsic(id, {type, x->getType()}, {x});
}

Value* integer_to_integer(Builder& b, Value* x, DType from, DType to) {
  llvm::Type* type = same_lanes(value_type(b.getContext(), to), x);
  return b.CreateIntCast(x, type, is_signed_value(from));
}

Value* integer_to_float(const Emission& e, Value* x, DType from, DType to) {
  Builder& b = e.build;
  if (is_small_float(to)) return encode(e, integer_to_odd(b, x, is_signed_value(from)), to);
  llvm::Type* type = same_lanes(value_type(b.getContext(), to), x);
  return is_signed_value(from) ? b.CreateSIToFP(x, type) : b.CreateUIToFP(x, type);
}

Value* float_to_float(const Emission& e, Value* x, DType from, DType to) {
  Builder& b = e.build;
  if (is_small_float(to)) return encode(e, from == DType::F64 ? truncate_to_odd(b, x) : x, to);
  return b.CreateFPCast(x, same_lanes(value_type(b.getContext(), to), x));
}

Value* to_bool(Builder& b, Value* x) {
  if (x->getType()->isFPOrFPVectorTy()) return b.CreateFCmpUNE(x, real(x, 0));
  return b.CreateICmpNE(x, whole(x, 0));
}

}  // namespace

Value* emit_rounded(const Emission& e, Value* x, int offset, DType to) {
  Builder& b = e.build;
  Value* bounded = clamped(b, x, to, offset);
  llvm::Type* type = same_lanes(b.getInt32Ty(), x);
  Value* number = b.CreateIntrinsic(llvm::Intrinsic::lrint, {type, x->getType()}, {bounded});
  if (offset != 0) number = b.CreateAdd(number, whole(number, offset));
  return b.CreateTrunc(number, same_lanes(b.getIntNTy(bit_width(to)), x));
}

Value* emit_convert(const Emission& e, Value* x, DType from, DType to) {
  Builder& b = e.build;
  if (from == to) return x;
  if (is_small_float(from)) {
    bytes_of(from);
    return emit_convert(e, decode(e, x, from), DType::F32, to);
  }
  bytes_of(to);
  if (to == DType::Bool) return to_bool(b, x);
  const bool from_float = is_float(from);
  if (is_float(to)) return from_float ? float_to_float(e, x, from, to) : integer_to_float(e, x, from, to);
  return from_float ? float_to_integer(b, x, to) : integer_to_integer(b, x, from, to);
}

}  // namespace lapidary::codegen::cpu
