// One element and what the scalar operations of scalar_ops.def mean on it: the definition both interpreters, constant
// folding and the tests of every target go by.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "ir/dtype.h"

namespace lapidary {

enum class ScalarOp : uint8_t {
#define SCALAR_OP(kind, text, operands, types, result) kind,
#include "ir/scalar_ops.def"
#undef SCALAR_OP
};

std::string_view name_of(ScalarOp);
std::optional<ScalarOp> parse_scalar_op(std::string_view);
int operand_count(ScalarOp);
bool accepts(ScalarOp, DType);  // by the types column; Select: any
DType result_type(ScalarOp, std::span<const DType> operands);
// A function of mathematics, computed by a polynomial or by libm: some thirty vector instructions.
inline bool is_maths(ScalarOp op) { return (op >= ScalarOp::Exp && op <= ScalarOp::Sigmoid) || op == ScalarOp::Pow; }

// One element of any type: floats in `number`, integers, bool and strings in `integer` (unsigned 64-bit as its bits).
struct Scalar {
  DType dtype = DType::F32;
  double number = 0;
  int64_t integer = 0;

  static Scalar of_float(DType dtype, double value) { return {dtype, value, 0}; }
  static Scalar of_integer(DType dtype, int64_t value) { return {dtype, 0, value}; }
  static Scalar of_bool(bool value) { return {DType::Bool, 0, value}; }
};

// Floats are computed in float64 and rounded to the declared type when `round` is set; integers exactly, then wrapped.
Scalar evaluate(ScalarOp, std::span<const Scalar> operands, bool round = true);

// float → integer saturates and NaN gives 0, but 4 and 2 bits are the last ones of an i32; integer → integer wraps;
// anything → bool is x != 0; float → float rounds to nearest even; in 8 and 4 bits finite numbers saturate.
Scalar convert(const Scalar&, DType to, bool round = true);

double round_to(DType, double);                              // nearest value of a float type, as a double
Scalar load_scalar(DType, const void* data, int64_t index);  // unpacks sub-byte types
void store_scalar(const Scalar&, void* data, int64_t index);

}  // namespace lapidary
