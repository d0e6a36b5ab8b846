// Element types and scalar operations: every code of the small floats against a search for the nearest neighbour, and
// the corners that ONNX and the design name (NaN, wrapping, saturation, division by zero).
#include "ir/scalar.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <vector>

#include "ir/error.h"

namespace lapidary {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
const double kNan = std::numeric_limits<double>::quiet_NaN();

double decode(DType dtype, uint32_t code) { return load_scalar(dtype, &code, 0).number; }

// --- small floats ------------------------------------------------------------------------------------------------

TEST(SmallFloats, F16DecodesAsTheHardwareType) {
  for (uint32_t code = 0; code < 65536; code++) {
    auto bits = static_cast<uint16_t>(code);
    _Float16 half;
    std::memcpy(&half, &bits, 2);
    double expected = static_cast<double>(half), actual = decode(DType::F16, code);
    ASSERT_TRUE(std::isnan(expected) ? std::isnan(actual)
                                     : expected == actual && std::signbit(expected) == std::signbit(actual))
        << code;
  }
}

TEST(SmallFloats, Bf16IsTheUpperHalfOfF32) {
  for (uint32_t code = 0; code < 65536; code++) {
    double expected = std::bit_cast<float>(code << 16), actual = decode(DType::BF16, code);
    ASSERT_TRUE(std::isnan(expected) ? std::isnan(actual) : expected == actual) << code;
  }
}

// Between each two neighbours: the values themselves, just off their middle on both sides, and the middle, which goes
// to the even code.
void check_rounding(DType dtype) {
  int bits = bit_width(dtype);
  std::map<double, uint32_t> codes;  // finite, positive or zero
  for (uint32_t code = 0; code < 1u << (bits - 1); code++)
    if (double value = decode(dtype, code); std::isfinite(value)) codes[value] = code;
  for (auto low = codes.begin(), high = std::next(low); high != codes.end(); low = high++) {
    double middle = (low->first + high->first) / 2;
    for (double sign : {1.0, -1.0}) {
      ASSERT_EQ(round_to(dtype, sign * low->first), sign * low->first);
      ASSERT_EQ(round_to(dtype, sign * std::nextafter(middle, 0)), sign * low->first) << middle;
      ASSERT_EQ(round_to(dtype, sign * std::nextafter(middle, kInfinity)), sign * high->first) << middle;
      double even = low->second % 2 == 0 ? low->first : high->first;
      ASSERT_EQ(round_to(dtype, sign * middle), sign * even) << middle;
    }
  }
}

TEST(SmallFloats, RoundToNearestEven) {
  for (DType dtype :
       {DType::F16, DType::BF16, DType::F8E4M3FN, DType::F8E4M3FNUZ, DType::F8E5M2, DType::F8E5M2FNUZ, DType::F4E2M1}) {
    SCOPED_TRACE(name_of(dtype));
    check_rounding(dtype);
  }
}

TEST(SmallFloats, CodesComeBack) {
  for (DType dtype : {DType::F16, DType::BF16, DType::F8E4M3FN, DType::F8E4M3FNUZ, DType::F8E5M2, DType::F8E5M2FNUZ,
                      DType::F4E2M1, DType::F8E8M0}) {
    for (uint32_t code = 0; code < 1u << bit_width(dtype); code++) {
      Scalar value = load_scalar(dtype, &code, 0);
      uint32_t back = 0;
      store_scalar(value, &back, 0);
      if (std::isnan(value.number))
        ASSERT_TRUE(std::isnan(decode(dtype, back)));
      else
        ASSERT_EQ(back, code) << name_of(dtype);
    }
  }
}

TEST(SmallFloats, RangesAndOverflow) {
  std::map<DType, double> largest = {{DType::F8E4M3FN, 448},
                                     {DType::F8E4M3FNUZ, 240},
                                     {DType::F8E5M2, 57344},
                                     {DType::F8E5M2FNUZ, 57344},
                                     {DType::F4E2M1, 6}};
  for (auto [dtype, value] : largest) {  // infinity saturates too, where there is none
    EXPECT_EQ(round_to(dtype, 1e30), value) << name_of(dtype);
    EXPECT_EQ(convert(Scalar::of_float(DType::F32, -kInfinity), dtype).number,
              dtype == DType::F8E5M2 ? -kInfinity : -value)
        << name_of(dtype);
  }
  EXPECT_EQ(round_to(DType::F16, 65519.99), 65504);
  EXPECT_EQ(round_to(DType::F16, 65520), kInfinity);
  EXPECT_EQ(round_to(DType::BF16, 3.4e38), kInfinity);
  EXPECT_EQ(round_to(DType::F32, 1e300), kInfinity);
  EXPECT_TRUE(std::isnan(round_to(DType::F8E5M2FNUZ, kNan)));
  EXPECT_FALSE(std::signbit(round_to(DType::F8E4M3FNUZ, -0.0)));
  EXPECT_TRUE(std::signbit(round_to(DType::F8E4M3FN, -0.0)));
  EXPECT_EQ(round_to(DType::F16, 1 + std::ldexp(1, -11) + std::ldexp(1, -40)), 1 + std::ldexp(1, -10))
      << "rounded once";
}

TEST(SmallFloats, PowersOfTwoRoundUp) {
  EXPECT_EQ(round_to(DType::F8E8M0, 1), 1);
  EXPECT_EQ(round_to(DType::F8E8M0, 1.01), 2);
  EXPECT_EQ(round_to(DType::F8E8M0, 0), std::ldexp(1, -127));
  EXPECT_EQ(round_to(DType::F8E8M0, kInfinity), std::ldexp(1, 127));
  EXPECT_TRUE(std::isnan(round_to(DType::F8E8M0, kNan)));
}

// --- types, storage and conversion -------------------------------------------------------------------------------

TEST(Types, NamesAndSizes) {
  for (int i = 0; i <= 26; i++) EXPECT_EQ(parse_dtype(name_of(static_cast<DType>(i))), static_cast<DType>(i));
  EXPECT_EQ(parse_dtype("f33"), std::nullopt);
  EXPECT_EQ(byte_size(DType::I4, 3), 2);
  EXPECT_EQ(byte_size(DType::U2, 5), 2);
  EXPECT_EQ(byte_size(DType::F64, INT64_MAX / 4), std::nullopt);
  EXPECT_EQ(byte_size(DType::Undefined, 1), std::nullopt);
}

TEST(Storage, SubByteElementsArePackedFromTheLowEnd) {
  unsigned char bytes[2] = {};
  for (int i = 0; i < 4; i++) store_scalar(Scalar::of_integer(DType::I4, i - 2), bytes, i);
  EXPECT_EQ(bytes[0], 0xfe);
  EXPECT_EQ(bytes[1], 0x10);
  for (int i = 0; i < 4; i++) EXPECT_EQ(load_scalar(DType::I4, bytes, i).integer, i - 2);
  unsigned char pairs = 0;
  for (int i = 0; i < 4; i++) store_scalar(Scalar::of_integer(DType::U2, i), &pairs, i);
  EXPECT_EQ(pairs, 0xe4);
}

int64_t to_integer(double value, DType to) { return convert(Scalar::of_float(DType::F64, value), to).integer; }

TEST(Conversion, FloatToIntegerSaturates) {
  EXPECT_EQ(to_integer(300, DType::U8), 255);
  EXPECT_EQ(to_integer(-300, DType::I8), -128);
  EXPECT_EQ(to_integer(-1.9, DType::I32), -1);
  EXPECT_EQ(to_integer(-0.9, DType::U8), 0);
  EXPECT_EQ(to_integer(kNan, DType::I32), 0);
  EXPECT_EQ(to_integer(kInfinity, DType::I64), INT64_MAX);
  EXPECT_EQ(to_integer(-kInfinity, DType::I64), INT64_MIN);
  EXPECT_EQ(to_integer(1e30, DType::U64), -1) << "all bits set";
  EXPECT_EQ(to_integer(kNan, DType::Bool), 1);
}

// As ONNX's node tests have it: test_cast_FLOAT_to_INT4.
TEST(Conversion, FloatToSubByteIntegerWraps) {
  const auto converted = [](double value, DType to) {
    return convert(Scalar::of_float(DType::F32, value), to).integer;
  };
  EXPECT_EQ(converted(-9, DType::I4), 7);
  EXPECT_EQ(converted(300, DType::I4), -4);
  EXPECT_EQ(converted(-1.5, DType::U4), 15);
  EXPECT_EQ(converted(5, DType::U2), 1);
  EXPECT_EQ(converted(NAN, DType::I2), 0);
}

TEST(Conversion, IntegersWrapAndWiden) {
  EXPECT_EQ(convert(Scalar::of_integer(DType::I16, 200), DType::I8).integer, -56);
  EXPECT_EQ(convert(Scalar::of_integer(DType::I8, -1), DType::U32).integer, 0xffffffff);
  EXPECT_EQ(convert(Scalar::of_integer(DType::I64, 36), DType::Bool).integer, 1);
  EXPECT_EQ(convert(Scalar::of_integer(DType::U64, -1), DType::F64).number, std::ldexp(1, 64));
  EXPECT_EQ(convert(Scalar::of_integer(DType::I64, (1 << 24) + 1), DType::F32).number, 1 << 24);
  int64_t twice = (INT64_C(1) << 54) + (INT64_C(1) << 30) + 1;  // rounding to float64 first would lose the last bit
  EXPECT_EQ(convert(Scalar::of_integer(DType::I64, twice), DType::F32).number, static_cast<float>(twice));
  EXPECT_EQ(convert(Scalar::of_integer(DType::I64, -twice), DType::F32).number, static_cast<float>(-twice));
  EXPECT_THROW(convert(Scalar::of_float(DType::F32, 1), DType::C64), Error);
}

// --- operations --------------------------------------------------------------------------------------------------

double on_floats(ScalarOp op, double a, double b = 0, DType dtype = DType::F32) {
  std::array<Scalar, 2> operands = {Scalar::of_float(dtype, a), Scalar::of_float(dtype, b)};
  return evaluate(op, {operands.data(), static_cast<size_t>(operand_count(op))}).number;
}
int64_t on_integers(ScalarOp op, DType dtype, int64_t a, int64_t b = 0) {
  std::array<Scalar, 2> operands = {Scalar::of_integer(dtype, a), Scalar::of_integer(dtype, b)};
  return evaluate(op, {operands.data(), static_cast<size_t>(operand_count(op))}).integer;
}

TEST(Operations, Floats) {
  EXPECT_TRUE(std::isnan(on_floats(ScalarOp::Max, kNan, 1)));
  EXPECT_TRUE(std::isnan(on_floats(ScalarOp::Min, 1, kNan)));
  EXPECT_EQ(on_floats(ScalarOp::Round, 2.5), 2);
  EXPECT_EQ(on_floats(ScalarOp::Round, -3.5), -4);
  EXPECT_EQ(on_floats(ScalarOp::FloorMod, -5.5, 2), 0.5);
  EXPECT_EQ(on_floats(ScalarOp::TruncMod, -5.5, 2), -1.5);
  EXPECT_EQ(on_floats(ScalarOp::Sign, -7), -1);
  EXPECT_EQ(on_floats(ScalarOp::Sigmoid, -1000), 0);
  EXPECT_EQ(on_floats(ScalarOp::Div, 1, 0), kInfinity);
  EXPECT_EQ(on_floats(ScalarOp::Add, 16777216, 1), 16777216) << "rounded to f32";
  EXPECT_EQ(on_floats(ScalarOp::Add, 2048, 1, DType::F16), 2048);
  std::array<Scalar, 2> wide = {Scalar::of_float(DType::F32, 16777216), Scalar::of_float(DType::F32, 1)};
  EXPECT_EQ(evaluate(ScalarOp::Add, wide, /*round=*/false).number, 16777217);
}

TEST(Operations, Integers) {
  EXPECT_EQ(on_integers(ScalarOp::Add, DType::I8, 127, 1), -128);
  EXPECT_EQ(on_integers(ScalarOp::Sub, DType::U8, 0, 1), 255);
  EXPECT_EQ(on_integers(ScalarOp::Mul, DType::I64, INT64_MAX, 2), -2);
  EXPECT_EQ(on_integers(ScalarOp::Div, DType::I32, 7, 0), 0);
  EXPECT_EQ(on_integers(ScalarOp::Div, DType::I32, -7, 2), -3);
  EXPECT_EQ(on_integers(ScalarOp::Div, DType::I32, INT32_MIN, -1), INT32_MIN);
  EXPECT_EQ(on_integers(ScalarOp::Div, DType::I64, INT64_MIN, -1), INT64_MIN);
  EXPECT_EQ(on_integers(ScalarOp::Div, DType::U64, -1, 2), INT64_MAX);
  EXPECT_EQ(on_integers(ScalarOp::FloorMod, DType::I32, -7, 3), 2);
  EXPECT_EQ(on_integers(ScalarOp::TruncMod, DType::I32, -7, 3), -1);
  EXPECT_EQ(on_integers(ScalarOp::TruncMod, DType::I64, INT64_MIN, -1), 0);
  EXPECT_EQ(on_integers(ScalarOp::FloorMod, DType::I32, 5, 0), 0);
  EXPECT_EQ(on_integers(ScalarOp::Pow, DType::I32, 3, 4), 81);
  EXPECT_EQ(on_integers(ScalarOp::Pow, DType::I32, 2, -1), 0);
  EXPECT_EQ(on_integers(ScalarOp::Pow, DType::I32, -1, -3), -1);
  EXPECT_EQ(on_integers(ScalarOp::ShiftLeft, DType::U8, 1, 8), 0);
  EXPECT_EQ(on_integers(ScalarOp::ShiftLeft, DType::I32, 1, 31), INT32_MIN);
  EXPECT_EQ(on_integers(ScalarOp::ShiftRight, DType::I32, -8, 40), -1);
  EXPECT_EQ(on_integers(ScalarOp::ShiftRight, DType::U64, -1, 64), 0);
  EXPECT_EQ(on_integers(ScalarOp::ShiftRight, DType::I8, -8, 1), -4);
  EXPECT_EQ(on_integers(ScalarOp::Abs, DType::I8, -128), -128);
  EXPECT_EQ(on_integers(ScalarOp::Abs, DType::U64, -5), -5);
  EXPECT_EQ(on_integers(ScalarOp::Max, DType::U64, -1, 1), -1);
  EXPECT_EQ(on_integers(ScalarOp::Less, DType::U64, 1, -1), 1);
  EXPECT_EQ(on_integers(ScalarOp::BitNot, DType::U4, 5), 10);
  EXPECT_EQ(on_integers(ScalarOp::Not, DType::Bool, 1), 0);
}

TEST(Operations, TypesTakenAndGiven) {
  EXPECT_TRUE(accepts(ScalarOp::Exp, DType::BF16));
  EXPECT_FALSE(accepts(ScalarOp::Exp, DType::I32));
  EXPECT_FALSE(accepts(ScalarOp::Add, DType::Bool));
  EXPECT_TRUE(accepts(ScalarOp::And, DType::Bool));
  std::array<DType, 3> types = {DType::Bool, DType::F16, DType::F16};
  EXPECT_EQ(result_type(ScalarOp::Select, types), DType::F16);
  std::array<Scalar, 3> select = {Scalar::of_bool(false), Scalar::of_float(DType::F32, 1),
                                  Scalar::of_float(DType::F32, 2)};
  EXPECT_EQ(evaluate(ScalarOp::Select, select).number, 2);
  EXPECT_EQ(parse_scalar_op("floor_mod"), ScalarOp::FloorMod);
  EXPECT_EQ(parse_scalar_op("nothing"), std::nullopt);
}

TEST(Errors, NamesAreMadePrintable) {
  EXPECT_EQ(printable("a\n\xc3"), "a\\x0a\\xc3");
  EXPECT_EQ(printable(std::string(100, 'x')), std::string(80, 'x') + "...");
}

}  // namespace
}  // namespace lapidary
