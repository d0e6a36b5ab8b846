// One description per format, one encoder and one decoder for all of them. The encoder rounds the float64 once: going
// through float32 first would round twice (1 + 2^-11 + 2^-40 must become the f16 above 1, not 1).
// Test: test/ir/scalar_test.cpp, all codes of every format against a search for the nearest neighbour.
#include "ir/small_floats.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ir/error.h"

namespace lapidary {
namespace {

enum class Specials : uint8_t {
  Ieee,      // all-ones exponent: infinity or NaN; overflow gives infinity
  Saturate,  // the same codes, but finite values saturate (f8e5m2)
  Fn,        // only the all-ones code is NaN, no infinity (f8e4m3fn)
  Fnuz,      // only the code of -0 is NaN, no infinity, no -0
  None,      // neither (f4e2m1)
};
struct Format {
  int exponent_bits, mantissa_bits, bias;
  Specials specials;
};

Format format_of(DType dtype) {
  if (dtype == DType::F16) return {5, 10, 15, Specials::Ieee};
  if (dtype == DType::BF16) return {8, 7, 127, Specials::Ieee};
  if (dtype == DType::F8E4M3FN) return {4, 3, 7, Specials::Fn};
  if (dtype == DType::F8E4M3FNUZ) return {4, 3, 8, Specials::Fnuz};
  if (dtype == DType::F8E5M2) return {5, 2, 15, Specials::Saturate};
  if (dtype == DType::F8E5M2FNUZ) return {5, 2, 16, Specials::Fnuz};
  LPD_CHECK(dtype == DType::F4E2M1, "{} is no small float", name_of(dtype));
  return {2, 1, 1, Specials::None};
}

bool has_infinity(Specials s) { return s == Specials::Ieee || s == Specials::Saturate; }
uint32_t sign_bit(const Format& f) { return 1u << (f.exponent_bits + f.mantissa_bits); }
uint32_t infinity_code(const Format& f) { return ((1u << f.exponent_bits) - 1) << f.mantissa_bits; }

uint32_t largest_finite_code(const Format& f) {
  if (has_infinity(f.specials)) return infinity_code(f) - 1;
  return sign_bit(f) - (f.specials == Specials::Fn ? 2 : 1);
}

uint32_t nan_code(const Format& f, bool negative) {
  uint32_t sign = negative ? sign_bit(f) : 0;
  switch (f.specials) {
    case Specials::Ieee:
    case Specials::Saturate:
      return sign | infinity_code(f) | 1u << (f.mantissa_bits - 1);
    case Specials::Fn:
      return sign | (sign_bit(f) - 1);
    case Specials::Fnuz:
      return sign_bit(f);
    case Specials::None:
      return sign_bit(f);  // no NaN to give: -0, as ONNX's reference does
  }
  LPD_UNREACHABLE();
}

bool is_nan_code(const Format& f, uint32_t code) {
  uint32_t magnitude = code & (sign_bit(f) - 1);
  switch (f.specials) {
    case Specials::Ieee:
    case Specials::Saturate:
      return magnitude > infinity_code(f);
    case Specials::Fn:
      return magnitude == sign_bit(f) - 1;
    case Specials::Fnuz:
      return code == sign_bit(f);
    case Specials::None:
      return false;
  }
  LPD_UNREACHABLE();
}

double decode_power_of_two(uint32_t code) {
  return code == 255 ? std::numeric_limits<double>::quiet_NaN() : std::ldexp(1.0, static_cast<int>(code) - 127);
}

uint32_t encode_power_of_two(double value) {
  if (std::isnan(value)) return 255;
  double magnitude = std::abs(value);
  if (magnitude <= std::ldexp(1.0, -127)) return 0;
  if (magnitude >= std::ldexp(1.0, 127)) return 254;
  int exponent;
  double fraction = std::frexp(magnitude, &exponent);  // magnitude = fraction · 2^exponent, fraction in [½, 1)
  return static_cast<uint32_t>(exponent + 127 - (fraction == 0.5 ? 1 : 0));
}

// Codes of finite magnitudes are in order of value, so that rounding up past a power of two is a carry.
uint64_t round_magnitude(const Format& f, double magnitude) {
  int exponent = std::max(std::ilogb(magnitude), 1 - f.bias);
  double quanta = std::nearbyint(std::ldexp(magnitude, f.mantissa_bits - exponent));  // ties to even
  uint64_t base = static_cast<uint64_t>(exponent + f.bias - 1) << f.mantissa_bits;
  return base + static_cast<uint64_t>(quanta);
}

}  // namespace

bool is_small_float(DType dtype) { return is_float(dtype) && dtype != DType::F32 && dtype != DType::F64; }

double decode_small_float(DType dtype, uint32_t code) {
  if (dtype == DType::F8E8M0) return decode_power_of_two(code);
  Format f = format_of(dtype);
  if (is_nan_code(f, code)) return std::numeric_limits<double>::quiet_NaN();
  uint32_t magnitude = code & (sign_bit(f) - 1);
  double sign = code & sign_bit(f) ? -1 : 1;
  if (has_infinity(f.specials) && magnitude == infinity_code(f)) return sign * std::numeric_limits<double>::infinity();
  int exponent = static_cast<int>(magnitude >> f.mantissa_bits);
  double mantissa = magnitude & ((1u << f.mantissa_bits) - 1);
  if (exponent > 0)
    mantissa += 1u << f.mantissa_bits;
  else
    exponent = 1;
  return sign * std::ldexp(mantissa, exponent - f.bias - f.mantissa_bits);
}

uint32_t encode_small_float(DType dtype, double value) {
  if (dtype == DType::F8E8M0) return encode_power_of_two(value);
  Format f = format_of(dtype);
  bool negative = std::signbit(value);
  if (std::isnan(value)) return nan_code(f, negative);
  double magnitude = std::abs(value);
  uint64_t code = 0;
  uint64_t over = f.specials == Specials::Ieee ? infinity_code(f) : largest_finite_code(f);
  if (std::isinf(value))
    code = has_infinity(f.specials) ? infinity_code(f) : over;
  else if (magnitude > 0)
    code = std::min(round_magnitude(f, magnitude), over);
  if (code == 0 && f.specials == Specials::Fnuz) return 0;
  return static_cast<uint32_t>(code) | (negative ? sign_bit(f) : 0);
}

}  // namespace lapidary
