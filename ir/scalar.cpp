#include "ir/scalar.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "ir/error.h"
#include "ir/small_floats.h"

namespace lapidary {
namespace {

enum class Types : uint8_t { Float, Integer, Number, Boolean, Any, Bits };
enum class Result : uint8_t { Same, Truth, Then };
struct OpInfo {
  std::string_view text;
  int operands;
  Types types;
  Result result;
};
constexpr OpInfo kOps[] = {
#define SCALAR_OP(kind, text, operands, types, result) {text, operands, Types::types, Result::result},
#include "ir/scalar_ops.def"
#undef SCALAR_OP
};

const OpInfo& info(ScalarOp op) { return kOps[static_cast<size_t>(op)]; }

bool is_unsigned(DType dtype) { return !is_signed_integer(dtype); }

// Keeps the low bits of an integer that the type has: what wrapping means.
int64_t wrap(DType dtype, int64_t value) {
  if (dtype == DType::Bool) return value != 0;
  int unused = 64 - bit_width(dtype);
  auto shifted = static_cast<uint64_t>(value) << unused;
  if (is_unsigned(dtype)) return static_cast<int64_t>(shifted >> unused);
  return static_cast<int64_t>(shifted) >> unused;
}

int64_t saturate(DType dtype, double value) {
  if (bit_width(dtype) < 8) return wrap(dtype, saturate(DType::I32, value));
  if (std::isnan(value)) return 0;
  value = std::trunc(value);
  int bits = bit_width(dtype);
  if (is_unsigned(dtype)) {
    uint64_t most = ~UINT64_C(0) >> (64 - bits);
    if (value <= 0) return 0;
    return static_cast<int64_t>(value >= std::ldexp(1.0, bits) ? most : static_cast<uint64_t>(value));
  }
  int64_t most = INT64_MAX >> (64 - bits);
  if (value >= std::ldexp(1.0, bits - 1)) return most;
  if (value < -std::ldexp(1.0, bits - 1)) return -most - 1;
  return static_cast<int64_t>(value);
}

// An integer as a float64 fit to be rounded once more: past 2^53 the bits that float64 drops are gathered into its last
// one ("round to odd"), so that rounding to 24 bits or fewer gives what rounding the integer itself would.
double to_double_sticky(uint64_t magnitude) {
  constexpr uint64_t kDropped = (1 << 11) - 1;
  if (magnitude >> 53 == 0) return static_cast<double>(magnitude);
  return static_cast<double>((magnitude & ~kDropped) | ((magnitude & kDropped) != 0 ? kDropped + 1 : 0));
}

double integer_to_double(DType from, int64_t value, bool sticky) {
  if (is_unsigned(from)) {
    auto bits = static_cast<uint64_t>(value);
    return sticky ? to_double_sticky(bits) : static_cast<double>(bits);
  }
  if (!sticky) return static_cast<double>(value);
  return value < 0 ? -to_double_sticky(-static_cast<uint64_t>(value)) : to_double_sticky(value);
}

double float_min(double a, double b) { return std::isnan(a) ? a : std::isnan(b) ? b : b < a ? b : a; }
double float_max(double a, double b) { return std::isnan(a) ? a : std::isnan(b) ? b : b > a ? b : a; }

double float_floor_mod(double a, double b) {
  double remainder = std::fmod(a, b);
  return remainder != 0 && (remainder < 0) != (b < 0) ? remainder + b : remainder;
}

double float_sign(double x) { return x > 0 ? 1 : x < 0 ? -1 : x; }

// Unsigned and signed integers share bits in wrapping arithmetic; what differs by sign asks `less` and its like.
struct IntegerMaths {
  DType dtype;

  bool less(int64_t a, int64_t b) const {
    return is_unsigned(dtype) ? static_cast<uint64_t>(a) < static_cast<uint64_t>(b) : a < b;
  }
  int64_t divide(int64_t a, int64_t b) const {
    if (b == 0) return 0;
    if (is_unsigned(dtype)) return static_cast<int64_t>(static_cast<uint64_t>(a) / static_cast<uint64_t>(b));
    return b == -1 ? negate(a) : a / b;
  }
  int64_t remainder(int64_t a, int64_t b) const {
    if (b == 0) return 0;
    if (is_unsigned(dtype)) return static_cast<int64_t>(static_cast<uint64_t>(a) % static_cast<uint64_t>(b));
    return b == -1 ? 0 : a % b;
  }
  int64_t floor_remainder(int64_t a, int64_t b) const {
    int64_t r = remainder(a, b);
    return is_signed_integer(dtype) && r != 0 && (r < 0) != (b < 0) ? r + b : r;
  }
  static int64_t add(int64_t a, int64_t b) {
    return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
  }
  static int64_t multiply(int64_t a, int64_t b) {
    return static_cast<int64_t>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
  }
  static int64_t negate(int64_t a) { return static_cast<int64_t>(-static_cast<uint64_t>(a)); }
  int64_t power(int64_t base, int64_t exponent) const {
    if (is_signed_integer(dtype) && exponent < 0) return base == 1 ? 1 : base == -1 ? (exponent % 2 ? -1 : 1) : 0;
    int64_t result = 1;
    for (auto rest = static_cast<uint64_t>(exponent); rest != 0; rest >>= 1) {
      if (rest & 1) result = multiply(result, base);
      base = multiply(base, base);
    }
    return result;
  }
  int64_t shift_left(int64_t a, int64_t by) const {
    return static_cast<uint64_t>(by) >= static_cast<uint64_t>(bit_width(dtype))
               ? 0
               : static_cast<int64_t>(static_cast<uint64_t>(a) << by);
  }
  int64_t shift_right(int64_t a, int64_t by) const {
    bool past = static_cast<uint64_t>(by) >= static_cast<uint64_t>(bit_width(dtype));
    if (is_signed_integer(dtype)) return past ? (a < 0 ? -1 : 0) : a >> by;
    return past ? 0 : static_cast<int64_t>(static_cast<uint64_t>(a) >> by);
  }
  int64_t sign(int64_t a) const { return a == 0 ? 0 : less(a, 0) ? -1 : 1; }
};

Scalar evaluate_float(ScalarOp op, DType dtype, double a, double b, bool round) {
  auto same = [&](double x) { return Scalar::of_float(dtype, round ? round_to(dtype, x) : x); };
  switch (op) {
    case ScalarOp::Neg:
      return same(-a);
    case ScalarOp::Abs:
      return same(std::abs(a));
    case ScalarOp::Sign:
      return same(float_sign(a));
    case ScalarOp::Floor:
      return same(std::floor(a));
    case ScalarOp::Ceil:
      return same(std::ceil(a));
    case ScalarOp::Round:
      return same(std::nearbyint(a));
    case ScalarOp::Trunc:
      return same(std::trunc(a));
    case ScalarOp::Sqrt:
      return same(std::sqrt(a));
    case ScalarOp::Exp:
      return same(std::exp(a));
    case ScalarOp::Log:
      return same(std::log(a));
    case ScalarOp::Sin:
      return same(std::sin(a));
    case ScalarOp::Cos:
      return same(std::cos(a));
    case ScalarOp::Tan:
      return same(std::tan(a));
    case ScalarOp::Asin:
      return same(std::asin(a));
    case ScalarOp::Acos:
      return same(std::acos(a));
    case ScalarOp::Atan:
      return same(std::atan(a));
    case ScalarOp::Sinh:
      return same(std::sinh(a));
    case ScalarOp::Cosh:
      return same(std::cosh(a));
    case ScalarOp::Tanh:
      return same(std::tanh(a));
    case ScalarOp::Asinh:
      return same(std::asinh(a));
    case ScalarOp::Acosh:
      return same(std::acosh(a));
    case ScalarOp::Atanh:
      return same(std::atanh(a));
    case ScalarOp::Erf:
      return same(std::erf(a));
    case ScalarOp::Sigmoid:
      return same(1 / (1 + std::exp(-a)));
    case ScalarOp::IsNan:
      return Scalar::of_bool(std::isnan(a));
    case ScalarOp::IsInf:
      return Scalar::of_bool(std::isinf(a));
    case ScalarOp::Add:
      return same(a + b);
    case ScalarOp::Sub:
      return same(a - b);
    case ScalarOp::Mul:
      return same(a * b);
    case ScalarOp::Div:
      return same(a / b);
    case ScalarOp::FloorMod:
      return same(float_floor_mod(a, b));
    case ScalarOp::TruncMod:
      return same(std::fmod(a, b));
    case ScalarOp::Pow:
      return same(std::pow(a, b));
    case ScalarOp::Min:
      return same(float_min(a, b));
    case ScalarOp::Max:
      return same(float_max(a, b));
    case ScalarOp::Equal:
      return Scalar::of_bool(a == b);
    case ScalarOp::NotEqual:
      return Scalar::of_bool(a != b);
    case ScalarOp::Less:
      return Scalar::of_bool(a < b);
    case ScalarOp::LessEqual:
      return Scalar::of_bool(a <= b);
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
  LPD_UNREACHABLE("{} on {}", name_of(op), name_of(dtype));
}

Scalar evaluate_integer(ScalarOp op, DType dtype, int64_t a, int64_t b) {
  IntegerMaths maths{dtype};
  auto same = [&](int64_t x) { return Scalar::of_integer(dtype, wrap(dtype, x)); };
  switch (op) {
    case ScalarOp::Neg:
      return same(maths.negate(a));
    case ScalarOp::Abs:
      return same(maths.sign(a) < 0 ? maths.negate(a) : a);
    case ScalarOp::Sign:
      return same(maths.sign(a));
    case ScalarOp::Not:
      return same(a == 0);
    case ScalarOp::BitNot:
      return same(~a);
    case ScalarOp::Add:
      return same(maths.add(a, b));
    case ScalarOp::Sub:
      return same(maths.add(a, maths.negate(b)));
    case ScalarOp::Mul:
      return same(maths.multiply(a, b));
    case ScalarOp::Div:
      return same(maths.divide(a, b));
    case ScalarOp::FloorMod:
      return same(maths.floor_remainder(a, b));
    case ScalarOp::TruncMod:
      return same(maths.remainder(a, b));
    case ScalarOp::Pow:
      return same(maths.power(a, b));
    case ScalarOp::Min:
      return same(maths.less(b, a) ? b : a);
    case ScalarOp::Max:
      return same(maths.less(a, b) ? b : a);
    case ScalarOp::And:
      return same(a & b);
    case ScalarOp::Or:
      return same(a | b);
    case ScalarOp::Xor:
      return same(a ^ b);
    case ScalarOp::ShiftLeft:
      return same(maths.shift_left(a, b));
    case ScalarOp::ShiftRight:
      return same(maths.shift_right(a, b));
    case ScalarOp::Equal:
      return Scalar::of_bool(a == b);
    case ScalarOp::NotEqual:
      return Scalar::of_bool(a != b);
    case ScalarOp::Less:
      return Scalar::of_bool(maths.less(a, b));
    case ScalarOp::LessEqual:
      return Scalar::of_bool(!maths.less(b, a));
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

void check_numeric(DType dtype) {
  if (is_float(dtype) || is_integer(dtype) || dtype == DType::Bool || dtype == DType::String) return;
  throw Error(Fault::Unsupported, fmt::format("values of type {}", name_of(dtype)));
}

template <typename T>
T read_as(const void* data, int64_t index) {
  T value;
  std::memcpy(&value, static_cast<const char*>(data) + index * sizeof(T), sizeof(T));
  return value;
}

// The stored bits of an element, zero-extended. Sub-byte elements fill a byte from its low end.
uint64_t load_bits(int bits, const void* data, int64_t index) {
  if (bits == 64) return read_as<uint64_t>(data, index);
  if (bits == 32) return read_as<uint32_t>(data, index);
  if (bits == 16) return read_as<uint16_t>(data, index);
  if (bits == 8) return read_as<uint8_t>(data, index);
  int per_byte = 8 / bits, shift = static_cast<int>(index % per_byte) * bits;
  return read_as<uint8_t>(data, index / per_byte) >> shift & ((1u << bits) - 1);
}

void store_bits(int bits, uint64_t value, void* data, int64_t index) {
  auto* bytes = static_cast<unsigned char*>(data);
  if (bits >= 8) {
    std::memcpy(bytes + index * (bits / 8), &value, bits / 8);
    return;
  }
  int per_byte = 8 / bits, shift = static_cast<int>(index % per_byte) * bits;
  unsigned mask = ((1u << bits) - 1) << shift;
  unsigned char& byte = bytes[index / per_byte];
  byte = static_cast<unsigned char>((byte & ~mask) | (static_cast<unsigned>(value) << shift & mask));
}
static_assert(std::endian::native == std::endian::little, "tensors are stored little-endian");

}  // namespace

std::string_view name_of(ScalarOp op) { return info(op).text; }
int operand_count(ScalarOp op) { return info(op).operands; }

std::optional<ScalarOp> parse_scalar_op(std::string_view text) {
  for (size_t i = 0; i < std::size(kOps); i++)
    if (kOps[i].text == text) return static_cast<ScalarOp>(i);
  return std::nullopt;
}

bool accepts(ScalarOp op, DType dtype) {
  bool boolean = dtype == DType::Bool;
  switch (info(op).types) {
    case Types::Float:
      return is_float(dtype);
    case Types::Integer:
      return is_integer(dtype);
    case Types::Number:
      return is_float(dtype) || is_integer(dtype);
    case Types::Boolean:
      return boolean;
    case Types::Any:
      return is_float(dtype) || is_integer(dtype) || boolean || dtype == DType::String;
    case Types::Bits:
      return is_integer(dtype) || boolean;
  }
  LPD_UNREACHABLE();
}

DType result_type(ScalarOp op, std::span<const DType> operands) {
  switch (info(op).result) {
    case Result::Same:
      return operands[0];
    case Result::Truth:
      return DType::Bool;
    case Result::Then:
      return operands[1];
  }
  LPD_UNREACHABLE();
}

Scalar evaluate(ScalarOp op, std::span<const Scalar> operands, bool round) {
  LPD_CHECK(static_cast<int>(operands.size()) == operand_count(op), "{} operands for {}", operands.size(), name_of(op));
  if (op == ScalarOp::Select) {
    bool holds = is_float(operands[0].dtype) ? operands[0].number != 0 : operands[0].integer != 0;
    return operands[holds ? 1 : 2];
  }
  const Scalar& a = operands[0];
  const Scalar& b = operands.back();
  LPD_CHECK(accepts(op, a.dtype), "{} of {}", name_of(op), name_of(a.dtype));
  return is_float(a.dtype) ? evaluate_float(op, a.dtype, a.number, b.number, round)
                           : evaluate_integer(op, a.dtype, a.integer, b.integer);
}

Scalar convert(const Scalar& x, DType to, bool round) {
  check_numeric(x.dtype);
  check_numeric(to);
  if (to == x.dtype && to == DType::String) return x;
  LPD_CHECK(to != DType::String && x.dtype != DType::String, "a string is converted by the host");
  if (to == DType::Bool) return Scalar::of_bool(is_float(x.dtype) ? x.number != 0 : x.integer != 0);
  if (is_integer(to)) return Scalar::of_integer(to, is_float(x.dtype) ? saturate(to, x.number) : wrap(to, x.integer));
  double value = is_float(x.dtype) ? x.number : integer_to_double(x.dtype, x.integer, round && to != DType::F64);
  if (!round) return Scalar::of_float(to, value);
  return Scalar::of_float(to, round_to(to, value));
}

double round_to(DType dtype, double value) {
  if (dtype == DType::F64) return value;
  if (dtype == DType::F32) return static_cast<float>(value);
  return decode_small_float(dtype, encode_small_float(dtype, value));
}

Scalar load_scalar(DType dtype, const void* data, int64_t index) {
  if (dtype == DType::F32) return Scalar::of_float(dtype, read_as<float>(data, index));
  if (dtype == DType::F64) return Scalar::of_float(dtype, read_as<double>(data, index));
  check_numeric(dtype);
  uint64_t bits = load_bits(bit_width(dtype), data, index);
  if (is_float(dtype)) return Scalar::of_float(dtype, decode_small_float(dtype, static_cast<uint32_t>(bits)));
  return Scalar::of_integer(dtype, wrap(dtype, static_cast<int64_t>(bits)));
}

void store_scalar(const Scalar& x, void* data, int64_t index) {
  check_numeric(x.dtype);
  uint64_t bits = static_cast<uint64_t>(x.integer);
  if (x.dtype == DType::F32)
    bits = std::bit_cast<uint32_t>(static_cast<float>(x.number));
  else if (x.dtype == DType::F64)
    bits = std::bit_cast<uint64_t>(x.number);
  else if (is_float(x.dtype))
    bits = encode_small_float(x.dtype, x.number);
  store_bits(bit_width(x.dtype), bits, data, index);
}

}  // namespace lapidary
