// The one table of element types: width, class and spelling.
#include "ir/dtype.h"

#include <array>

namespace lapidary {
namespace {

enum class Class : uint8_t { None, Float, Signed, Unsigned, Bool, Complex };
struct Entry {
  std::string_view name;
  int bits;
  Class kind;
};

constexpr std::array<Entry, 27> kTypes = {{
    {"undefined", 0, Class::None},   {"f32", 32, Class::Float},    {"u8", 8, Class::Unsigned},
    {"i8", 8, Class::Signed},        {"u16", 16, Class::Unsigned}, {"i16", 16, Class::Signed},
    {"i32", 32, Class::Signed},      {"i64", 64, Class::Signed},   {"string", 64, Class::None},
    {"bool", 8, Class::Bool},        {"f16", 16, Class::Float},    {"f64", 64, Class::Float},
    {"u32", 32, Class::Unsigned},    {"u64", 64, Class::Unsigned}, {"c64", 64, Class::Complex},
    {"c128", 128, Class::Complex},   {"bf16", 16, Class::Float},   {"f8e4m3fn", 8, Class::Float},
    {"f8e4m3fnuz", 8, Class::Float}, {"f8e5m2", 8, Class::Float},  {"f8e5m2fnuz", 8, Class::Float},
    {"u4", 4, Class::Unsigned},      {"i4", 4, Class::Signed},     {"f4e2m1", 4, Class::Float},
    {"f8e8m0", 8, Class::Float},     {"u2", 2, Class::Unsigned},   {"i2", 2, Class::Signed},
}};

const Entry& entry(DType dtype) {
  auto index = static_cast<size_t>(dtype);
  return kTypes[index < kTypes.size() ? index : 0];
}

}  // namespace

int bit_width(DType dtype) { return entry(dtype).bits; }
bool is_float(DType dtype) { return entry(dtype).kind == Class::Float; }
bool is_signed_integer(DType dtype) { return entry(dtype).kind == Class::Signed; }
bool is_integer(DType dtype) { return is_signed_integer(dtype) || entry(dtype).kind == Class::Unsigned; }
std::string_view name_of(DType dtype) { return entry(dtype).name; }

std::optional<DType> parse_dtype(std::string_view name) {
  for (size_t i = 0; i < kTypes.size(); i++)
    if (kTypes[i].name == name) return static_cast<DType>(i);
  return std::nullopt;
}

std::optional<int64_t> byte_size(DType dtype, int64_t count) {
  int bits = bit_width(dtype);
  int64_t total;
  if (bits == 0 || count < 0) return std::nullopt;
  if (bits >= 8) {
    if (__builtin_mul_overflow(count, bits / 8, &total)) return std::nullopt;
    return total;
  }
  int per_byte = 8 / bits;
  return count / per_byte + (count % per_byte != 0);
}

}  // namespace lapidary
