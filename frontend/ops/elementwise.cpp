// Operators that are one scalar operation, or nearly: maths, comparison, logic, bits, casts, variadic min, max, sum,
// mean.
#include "frontend/ops/float8.h"
#include "frontend/ops/strings.h"
#include "ir/shape_rules.h"

namespace lapidary::frontend {
namespace {

using Values = std::vector<Value*>;

template <ScalarOp op>
Values unary(Node& node) {
  return {node.build.scalar_op(op, {node.input(0)})};
}

template <ScalarOp op>
Values binary(Node& node) {
  return {node.build.scalar_op(op, {node.input(0), legacy_aligned(node, node.input(0), node.input(1))})};
}

// a > b is b < a
template <ScalarOp op>
Values swapped(Node& node) {
  return {node.build.scalar_op(op, {legacy_aligned(node, node.input(0), node.input(1)), node.input(0)})};
}

template <ScalarOp op>
Values variadic(Node& node) {
  Value* result = node.input(0);
  for (int i = 1; i < node.input_count(); ++i) result = node.build.scalar_op(op, {result, node.input(i)});
  return {result};
}

Values mean(Node& node) {
  Value* sum = variadic<ScalarOp::Add>(node)[0];
  return {node.build.div(sum, node.build.like(sum, node.input_count()))};
}

Values reciprocal(Node& node) {
  Value* x = node.input(0);
  return {node.build.div(node.build.like(x, 1), x)};
}

// Result in the base's type. An integer base with a float exponent is computed in the exponent's type.
Values pow(Node& node) {
  Value *base = node.input(0), *exponent = legacy_aligned(node, base, node.input(1));
  DType result = base->type.dtype, other = exponent->type.dtype;
  if (result == other) return {node.build.scalar_op(ScalarOp::Pow, {base, exponent})};
  DType inside = is_float(result) || !is_float(other) ? result : other;
  Value* power =
      node.build.scalar_op(ScalarOp::Pow, {node.build.convert(base, inside), node.build.convert(exponent, inside)});
  return {node.build.convert(power, result)};
}

Values mod(Node& node) {
  bool truncates = node.integer("fmod") != 0;
  if (!truncates && node.version < 28 && is_float(node.type(0).dtype))
    fail("fmod must be 1 for {}", name_of(node.type(0).dtype));
  return {node.build.scalar_op(truncates ? ScalarOp::TruncMod : ScalarOp::FloorMod, {node.input(0), node.input(1)})};
}

Values bit_shift(Node& node) {
  std::string direction = node.text("direction");
  if (direction != "LEFT" && direction != "RIGHT")
    fail("direction '{}' is neither LEFT nor RIGHT", printable(direction));
  return {node.build.scalar_op(direction == "LEFT" ? ScalarOp::ShiftLeft : ScalarOp::ShiftRight,
                               {node.input(0), node.input(1)})};
}

Values is_inf(Node& node) {
  Value* x = node.input(0);
  Value* infinite = node.build.scalar_op(ScalarOp::IsInf, {x});
  bool positive = node.integer("detect_positive") != 0, negative = node.integer("detect_negative") != 0;
  if (positive && negative) return {infinite};
  if (!positive && !negative) return {node.build.scalar_op(ScalarOp::NotEqual, {infinite, infinite})};
  Value* sign = positive ? node.build.scalar_op(ScalarOp::Less, {zero(node, x), x})
                         : node.build.scalar_op(ScalarOp::Less, {x, zero(node, x)});
  return {node.build.scalar_op(ScalarOp::And, {infinite, sign})};
}

// Bounds are attributes up to opset 6, operands since opset 11; min(max(x, lo), hi) as ONNX says.
Values clip(Node& node) {
  Value* x = node.input(0);
  Value *low = node.input(1), *high = node.input(2);
  if (node.version < 11) {
    if (node.has("min")) low = node.build.like(x, node.number("min"));
    if (node.has("max")) high = node.build.like(x, node.number("max"));
  }
  for (Value* bound : {low, high}) {
    if (bound && known_unequal(node.dims().product(bound->type.shape), node.dims().constant(1)))
      fail("a bound has shape {}, expected a scalar", to_string(bound->type.shape));
  }
  if (low) x = node.build.scalar_op(ScalarOp::Max, {x, low});
  if (high) x = node.build.scalar_op(ScalarOp::Min, {x, high});
  return {x};
}

Values converted(Node& node, DType to) {
  if (to == DType::String) return {formatted(node, node.input(0))};
  if (node.type(0).dtype == DType::String) return {parsed(node, node.input(0), to)};
  if (!is_float8(to)) return {node.build.convert(node.input(0), to)};
  return {to_float8(node, node.input(0), to, node.integer_or("saturate", 1) != 0,
                    node.version >= 24 ? node.text("round_mode") : "up")};
}

// Cast-1 gives the type's name.
Values cast(Node& node) {
  if (node.version >= 6) return converted(node, node.dtype("to"));
  onnx::TensorProto_DataType type;
  if (!onnx::TensorProto_DataType_Parse(node.text("to"), &type))
    fail("attribute 'to': unknown type '{}'", printable(node.text("to")));
  std::optional<DType> dtype = dtype_of(type);
  if (!dtype) fail("attribute 'to': type '{}'", node.text("to"));
  return converted(node, *dtype);
}

Values cast_like(Node& node) { return converted(node, node.type(1).dtype); }
std::vector<Binding> identity(Node& node) { return {node.binding(0)}; }
Values where(Node& node) { return {node.build.select(node.input(0), node.input(1), node.input(2))}; }

constexpr OpEntry kOps[] = {
    {"Abs", unary<ScalarOp::Abs>},
    {"Acos", unary<ScalarOp::Acos>},
    {"Acosh", unary<ScalarOp::Acosh>},
    {"Add", binary<ScalarOp::Add>},
    {"And", binary<ScalarOp::And>},
    {"Asin", unary<ScalarOp::Asin>},
    {"Asinh", unary<ScalarOp::Asinh>},
    {"Atan", unary<ScalarOp::Atan>},
    {"Atanh", unary<ScalarOp::Atanh>},
    {"BitShift", bit_shift},
    {"BitwiseAnd", binary<ScalarOp::And>},
    {"BitwiseNot", unary<ScalarOp::BitNot>},
    {"BitwiseOr", binary<ScalarOp::Or>},
    {"BitwiseXor", binary<ScalarOp::Xor>},
    {"Cast", cast},
    {"CastLike", cast_like},
    {"Ceil", unary<ScalarOp::Ceil>},
    {"Clip", clip},
    {"Cos", unary<ScalarOp::Cos>},
    {"Cosh", unary<ScalarOp::Cosh>},
    {"Div", binary<ScalarOp::Div>},
    {"Equal", binary<ScalarOp::Equal>},
    {"Erf", unary<ScalarOp::Erf>},
    {"Exp", unary<ScalarOp::Exp>},
    {"Floor", unary<ScalarOp::Floor>},
    {"Greater", swapped<ScalarOp::Less>},
    {"GreaterOrEqual", swapped<ScalarOp::LessEqual>},
    {"Identity", identity},
    {"IsInf", is_inf},
    {"IsNaN", unary<ScalarOp::IsNan>},
    {"Less", binary<ScalarOp::Less>},
    {"LessOrEqual", binary<ScalarOp::LessEqual>},
    {"Log", unary<ScalarOp::Log>},
    {"Max", variadic<ScalarOp::Max>},
    {"Mean", mean},
    {"Min", variadic<ScalarOp::Min>},
    {"Mod", mod},
    {"Mul", binary<ScalarOp::Mul>},
    {"Neg", unary<ScalarOp::Neg>},
    {"Not", unary<ScalarOp::Not>},
    {"Or", binary<ScalarOp::Or>},
    {"Pow", pow},
    {"Reciprocal", reciprocal},
    {"Round", unary<ScalarOp::Round>},
    {"Sigmoid", unary<ScalarOp::Sigmoid>},
    {"Sign", unary<ScalarOp::Sign>},
    {"Sin", unary<ScalarOp::Sin>},
    {"Sinh", unary<ScalarOp::Sinh>},
    {"Sqrt", unary<ScalarOp::Sqrt>},
    {"Sub", binary<ScalarOp::Sub>},
    {"Sum", variadic<ScalarOp::Add>},
    {"Tan", unary<ScalarOp::Tan>},
    {"Tanh", unary<ScalarOp::Tanh>},
    {"Where", where},
    {"Xor", binary<ScalarOp::Xor>},
};

}  // namespace

std::span<const OpEntry> elementwise_ops() { return kOps; }

}  // namespace lapidary::frontend
