// Operators of com.microsoft that compute on quantised numbers what an operator of ai.onnx does on floats: dequantised,
// computed, quantised.
#include "frontend/ops/quantized.h"
#include "frontend/ops/windows.h"

namespace lapidary::frontend {
namespace {

using Values = std::vector<Value*>;

// Inputs `at`, `at` + 1, `at` + 2: codes, scale, zero point.
Value* operand(Node& node, int at) {
  return composites::dequantize(node.build, node.input(at), node.input(at + 1), node.input(at + 2));
}

// Quantised by the scale and zero point at inputs `at` and `at` + 1.
Values result(Node& node, Value* y, int at, DType dtype) {
  return {composites::quantize(node.build, y, node.input(at), zero_point_or(node, node.input(at + 1), dtype))};
}

template <ScalarOp op>
Values binary(Node& node) {
  return result(node, node.build.scalar_op(op, {operand(node, 0), operand(node, 3)}), 6, node.type(0).dtype);
}

// condition, X, x_scale, x_zero_point, Y, y_scale, y_zero_point, z_scale, z_zero_point
Values where(Node& node) {
  return result(node, node.build.select(node.input(0), operand(node, 1), operand(node, 4)), 7, node.type(1).dtype);
}

Values sigmoid(Node& node) {
  return result(node, node.build.scalar_op(ScalarOp::Sigmoid, {operand(node, 0)}), 3, node.type(0).dtype);
}

Values leaky_relu(Node& node) {
  Value* x = operand(node, 0);
  Value* negative = node.build.scalar_op(ScalarOp::Less, {x, zero(node, x)});
  Value* y = node.build.select(negative, node.build.mul(x, node.build.like(x, node.number("alpha"))), x);
  return result(node, y, 3, node.type(0).dtype);
}

// Up to opset 12 a softmax is one over all axes from `axis` on.
Values softmax(Node& node) {
  Value* x = operand(node, 0);
  int axis = node.axis("axis", x->type.rank());
  Value* y = node.integer("opset") >= 13
                 ? composites::softmax(node.build, x, axis)
                 : node.build.reshape(composites::softmax(node.build, flattened(node, x, axis), 1), x->type.shape);
  return result(node, y, 3, node.type(0).dtype);
}

// Y_scale, Y_zero_point, then codes, scale and zero point of each part.
Values concat(Node& node) {
  if (node.input_count() < 5 || (node.input_count() - 2) % 3 != 0)
    fail("takes the result's scale and zero point and three inputs for each part, got {}", node.input_count());
  Values parts;
  for (int at = 2; at < node.input_count(); at += 3) {
    if (!is_integer(node.type(at).dtype) || node.type(at + 1).dtype != DType::F32 ||
        node.type(at + 2).dtype != node.type(at).dtype)
      fail("inputs {} to {} are no codes, scale and zero point", at, at + 2);
    parts.push_back(operand(node, at));
  }
  int axis = node.axis("axis", parts[0]->type.rank());
  for (Value* part : parts) {
    if (part->type.rank() != parts[0]->type.rank())
      fail("parts have ranks {} and {}", parts[0]->type.rank(), part->type.rank());
  }
  return result(node, node.build.concat(parts, axis), 0, node.type(1).dtype);
}

// --- pooling ---------------------------------------------------------------------------------------------------------

// `pool` of x [N, C, spatial…], or of [N, spatial…, C] when channels_last is set.
template <typename Pool>
Values pooled(Node& node, Pool pool) {
  Value* x = operand(node, 0);
  int rank = x->type.rank();
  if (rank < 3) fail("input has rank {}, expected 3 or more", rank);
  bool last = node.integer("channels_last") != 0;
  std::vector<int64_t> first = {0, rank - 1}, back = {0};
  for (int axis = 1; axis < rank - 1; ++axis) first.push_back(axis), back.push_back(axis + 1);
  back.push_back(1);
  Value* y = pool(last ? node.build.transpose(x, first) : x);
  return result(node, last ? node.build.transpose(y, back) : y, 3, node.type(0).dtype);
}

Values average_pool(Node& node) {
  return pooled(node, [&](Value* x) { return average_pooled(node, x); });
}

Values global_average_pool(Node& node) {
  return pooled(node,
                [&](Value* x) { return node.build.reduce(OpKind::ReduceMean, x, axes_from(2, x->type.rank()), true); });
}

// data, data_scale, data_zero_point, reduced_scale, reduced_zero_point
Values reduce_mean(Node& node) {
  const std::vector<int64_t> axes = normalized_axes(node.integers("axes"), node.rank());
  Value* y = node.build.reduce(OpKind::ReduceMean, operand(node, 0), axes, node.integer("keepdims") != 0);
  return result(node, y, 3, node.type(0).dtype);
}

// Products of integers less their zero points.
Values mul_integer(Node& node) {
  return {node.build.mul(centred(node, node.input(0), node.input(1)), centred(node, node.input(2), node.input(3)))};
}

constexpr std::string_view kBinary =
    "A: T, A_scale: f32, A_zero_point?: T, B: T, B_scale: f32, B_zero_point?: T, C_scale: f32, C_zero_point?: T -> C: T"
    "|| T = u8 i8";

constexpr OpEntry kOps[] = {
    {"MulInteger", mul_integer, "A: T, A_zero_point?: T, B: T, B_zero_point?: T -> C: i32 || T = u8 i8"},
    {"QLinearAdd", binary<ScalarOp::Add>, kBinary},
    {"QLinearAveragePool", average_pool,
     "X: T, X_scale: f32, X_zero_point?: T, Y_scale: f32, Y_zero_point?: T -> Y: T"
     "| auto_pad = \"NOTSET\", kernel_shape: ints, strides?: ints, pads?: ints, ceil_mode = 0,"
     " count_include_pad = 0, channels_last = 0 | T = u8 i8"},
    {"QLinearConcat", concat, "Y_scale: f32, Y_zero_point: T, inputs*: u8/i8/f32 -> Y: T | axis: int | T = u8 i8"},
    {"QLinearGlobalAveragePool", global_average_pool,
     "X: T, x_scale: f32, x_zero_point: T, y_scale: f32, y_zero_point: T -> Y: T | channels_last = 0 | T = u8 i8"},
    {"QLinearLeakyRelu", leaky_relu,
     "X: T, X_scale: f32, X_zero_point?: T, Y_scale: f32, Y_zero_point?: T -> Y: T"
     "| alpha = 0.01 | T = u8 i8"},
    {"QLinearMul", binary<ScalarOp::Mul>, kBinary},
    {"QLinearReduceMean", reduce_mean,
     "data: T, data_scale: f32, data_zero_point?: T, reduced_scale: f32, reduced_zero_point?: T -> reduced: T |"
     " axes: ints, keepdims: int | T = u8 i8"},
    {"QLinearSigmoid", sigmoid,
     "X: T, X_scale: f32, X_zero_point?: T, Y_scale: f32, Y_zero_point?: T -> Y: T"
     "|| T = u8 i8"},
    {"QLinearSoftmax", softmax,
     "X: T, X_scale: f32, x_zero_point?: T, y_scale: f32, y_zero_point: T -> Y: T | axis = -1, opset: int | T = u8 i8"},
    {"QLinearWhere", where,
     "condition: bool, X: T, x_scale: f32, x_zero_point: T, Y: T, y_scale: f32, y_zero_point: T, z_scale: f32,"
     " z_zero_point: T -> Z: T || T = u8 i8"},
};

}  // namespace

std::span<const OpEntry> quantized_elementwise_ops() { return kOps; }

}  // namespace lapidary::frontend
