// Element types of tensors, numbered as ONNX's TensorProto.DataType numbers them, so that a model's own code
// needs no table. Both IR levels, the runtime's ABI and the tools share this one list.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace lapidary {

enum class DType : uint8_t {
  Undefined = 0,
  F32 = 1,
  U8 = 2,
  I8 = 3,
  U16 = 4,
  I16 = 5,
  I32 = 6,
  I64 = 7,
  String = 8,
  Bool = 9,
  F16 = 10,
  F64 = 11,
  U32 = 12,
  U64 = 13,
  C64 = 14,
  C128 = 15,
  BF16 = 16,
  F8E4M3FN = 17,
  F8E4M3FNUZ = 18,
  F8E5M2 = 19,
  F8E5M2FNUZ = 20,
  U4 = 21,
  I4 = 22,
  F4E2M1 = 23,
  F8E8M0 = 24,
  U2 = 25,
  I2 = 26,
};

// Bits of one element as stored; sub-byte types are packed as in ONNX. Undefined has none (0); a string is the number
// of its text (ir/strings.h).
int bit_width(DType);

bool is_float(DType);    // f16, bf16, f32, f64 and the 8- and 4-bit floats
bool is_integer(DType);  // signed and unsigned, not bool
bool is_signed_integer(DType);

// "f32", "i64", "bool", "bf16", …: the spelling of both text forms.
std::string_view name_of(DType);
std::optional<DType> parse_dtype(std::string_view);

// Bytes of `count` elements, sub-byte types rounded up. Nothing on overflow or for types without a width.
std::optional<int64_t> byte_size(DType, int64_t count);

}  // namespace lapidary
