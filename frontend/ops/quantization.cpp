// Quantising and dequantising, of ai.onnx and of com.microsoft.
#include "frontend/ops/float8.h"
#include "frontend/ops/quantized.h"
#include "ir/shape_rules.h"

namespace lapidary::frontend {

Value* aligned(Node& node, Value* parameter, const Shape& x, int axis, int64_t block_size) {
  GraphBuilder& build = node.build;
  int rank = parameter->type.rank();
  Dim one = node.dims().constant(1);
  if (block_size > 0) {
    if (rank != static_cast<int>(x.size())) fail("a blocked scale has rank {}, expected {}", rank, x.size());
    Dim blocks = node.dims().ceildiv(x[axis], node.dims().constant(block_size));
    require_equal(build.module, parameter->type.shape[axis], blocks,
                  fmt::format("blocks of {} along axis {}: the scale's extent and their number", block_size, axis));
    Value* repeated = build.expand_axes(parameter, {axis + 1});
    Shape shape = repeated->type.shape;
    shape[axis + 1] = node.dims().constant(block_size);
    repeated = build.broadcast_to(repeated, shape);
    shape = parameter->type.shape;
    shape[axis] = node.dims().mul(shape[axis], node.dims().constant(block_size));
    return build.slice_axis(build.reshape(repeated, shape), axis, node.dims().constant(0), x[axis]);
  }
  if (rank == 0) return parameter;
  if (rank != 1) fail("a scale has rank {}, expected 0 or 1", rank);
  if (value_of(parameter->type.shape[0]) == 1) return build.reshape(parameter, {});
  if (axis >= static_cast<int>(x.size())) fail("axis {} of a tensor of rank {}", axis, x.size());
  if (known_unequal(parameter->type.shape[0], x[axis]))
    fail("a scale has {} elements, axis {} has extent {}", to_string(parameter->type.shape[0]), axis,
         to_string(x[axis]));
  Shape shape(x.size() - axis, one);
  shape[0] = x[axis];
  return build.reshape(parameter, shape);
}

Value* centred(Node& node, Value* x, Value* zero_point) {
  Value* wide = node.build.convert(x, DType::I32);
  return zero_point ? node.build.sub(wide, node.build.convert(zero_point, DType::I32)) : wide;
}

namespace {

using Values = std::vector<Value*>;

constexpr int64_t kMostBlock = INT64_C(1) << 31;

// Scale and zero point of a node (inputs 1 and 2), as they broadcast to its input 0.
struct Operands {
  Value *scale, *zero_point;
};

Operands operands_of(Node& node) {
  const Shape& x = node.type(0).shape;
  int64_t block = node.integer_or("block_size", 0);
  if (block < 0 || block > kMostBlock) fail("block_size must be from 0 to {}, got {}", kMostBlock, block);
  Value *scale = node.input(1), *zero_point = node.input(2);
  for (auto [one, other] : {std::pair(&scale, zero_point), std::pair(&zero_point, scale)})  // as quantisers write them
    if (*one && other && (*one)->type.rank() == 1 && other->type.rank() == 0 && value_of((*one)->type.shape[0]) == 1)
      *one = node.build.reshape(*one, {});
  if (zero_point && zero_point->type.rank() != scale->type.rank())
    fail("scale has rank {}, zero point {}", scale->type.rank(), zero_point->type.rank());
  bool axis_matters = block > 0 || (scale->type.rank() > 0 && value_of(scale->type.shape[0]) != 1);
  int axis = axis_matters ? normalized_axis(node.integer_or("axis", 1), node.rank()) : 0;
  Operands operands{aligned(node, scale, x, axis, block), nullptr};
  if (zero_point) operands.zero_point = aligned(node, zero_point, x, axis, block);
  return operands;
}

// The element type that attribute of a DataType number names; `otherwise` when it is 0 or absent.
DType dtype_or(Node& node, const char* attribute, DType otherwise) {
  return node.integer_or(attribute, 0) == 0 ? otherwise : node.dtype(attribute);
}

Value* as_float8(Node& node, Value* x, const Operands& operands, DType to) {
  GraphBuilder& build = node.build;
  const DType precision = operands.scale->type.dtype, inside = bit_width(precision) < 32 ? DType::F32 : precision;
  Value* y = build.div(build.convert(x, inside), build.convert(operands.scale, inside));
  if (operands.zero_point) y = build.add(y, build.convert(operands.zero_point, inside));
  return to_float8(node, y, to, node.integer_or("saturate", 1) != 0);
}

Values quantize_linear(Node& node) {
  Value* x = node.input(0);
  DType to = dtype_or(node, "output_dtype", node.input(2) ? node.type(2).dtype : DType::U8);
  if (node.input(2) && node.type(2).dtype != to)
    fail("output_dtype {} differs from the zero point's {}", name_of(to), name_of(node.type(2).dtype));
  Operands operands = operands_of(node);
  DType precision = dtype_or(node, "precision", DType::Undefined);
  if (precision != DType::Undefined) {
    x = node.build.convert(x, precision);
    operands.scale = node.build.convert(operands.scale, precision);
  }
  if (is_float8(to)) return {as_float8(node, x, operands, to)};
  return {composites::quantize(node.build, x, operands.scale, zero_point_or(node, operands.zero_point, to))};
}

Values dequantize_linear(Node& node) {
  Operands operands = operands_of(node);
  Value* y = composites::dequantize(node.build, node.input(0), operands.scale, operands.zero_point);
  return {node.build.convert(y, dtype_or(node, "output_dtype", node.type(1).dtype))};
}

Values dynamic_quantize_linear(Node& node) {
  Quantized y = dynamically_quantized(node, node.input(0));
  return {y.codes, y.scale, y.zero_point};
}

constexpr OpEntry kOps[] = {
    {"DequantizeLinear", dequantize_linear},
    {"DequantizeLinear", dequantize_linear,
     "x: T1, x_scale: T2, x_zero_point?: T1 -> y: T2 | axis?: int, block_size = 0 |"
     " T1 = i8 u8 i16 u16 i32 i4 u4, T2 = f16 f32"},
    {"DynamicQuantizeLinear", dynamic_quantize_linear},
    {"QuantizeLinear", quantize_linear},
    {"QuantizeLinear", quantize_linear,
     "x: T1, y_scale: T1, y_zero_point?: T2 -> y: T2 | axis?: int, saturate = 1, block_size = 0, output_dtype = 0 |"
     " T1 = f16 f32, T2 = i8 u8 i16 u16 i4 u4"},
};

}  // namespace

// The range always holds 0, which then has a code of its own. x of zeros alone has scale 1, as ONNX Runtime has it.
Quantized dynamically_quantized(Node& node, Value* x) {
  GraphBuilder& build = node.build;
  std::vector<int64_t> all = axes_from(0, x->type.rank());
  Value* zero = build.like(x, 0);
  Value* top = build.scalar_op(ScalarOp::Max, {build.reduce(OpKind::ReduceMax, x, all), zero});
  Value* bottom = build.scalar_op(ScalarOp::Min, {build.reduce(OpKind::ReduceMin, x, all), zero});
  Value* flat = build.scalar_op(ScalarOp::Equal, {top, bottom});
  Value* scale = build.select(flat, build.like(x, 1), build.div(build.sub(top, bottom), build.like(x, 255)));
  Value* zero_point = build.convert(build.scalar_op(ScalarOp::Round, {build.neg(build.div(bottom, scale))}), DType::U8);
  return {composites::quantize(build, x, scale, zero_point), scale, zero_point};
}

std::span<const OpEntry> quantization_ops() { return kOps; }

}  // namespace lapidary::frontend
