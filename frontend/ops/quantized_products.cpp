// Products and convolutions of quantised numbers: sums of products of integers in i32, scaled afterwards.
#include <cmath>

#include "frontend/ops/quantized.h"
#include "frontend/ops/windows.h"

namespace lapidary::frontend {
namespace {

using Values = std::vector<Value*>;

// A scale or zero point of the left operand or of the result: one for each row. Those of the right one, one for each
// column, broadcast as they are.
Value* for_rows(Node& node, Value* parameter) {
  if (!parameter || parameter->type.rank() != 1) return parameter;
  if (value_of(parameter->type.shape[0]) == 1) return node.build.reshape(parameter, {});
  return node.build.expand_axes(parameter, {1});
}

Value* integer_product(Node& node, Value* a, Value* a_zero, Value* b, Value* b_zero) {
  if (a->type.rank() == 0 || b->type.rank() == 0)
    fail("operands have ranks {} and {}, expected 1 or more", a->type.rank(), b->type.rank());
  return node.build.matmul(centred(node, a, for_rows(node, a_zero)), centred(node, b, b_zero));
}

// round(sum · multiplier) + zero point, saturated.
Value* requantized(Node& node, Value* sum, Value* multiplier, Value* zero_point) {
  GraphBuilder& build = node.build;
  DType wide = multiplier->type.dtype == DType::F32 ? DType::F32 : multiplier->type.dtype;
  Value* scaled = build.scalar_op(ScalarOp::Round, {build.mul(build.convert(sum, wide), multiplier)});
  return build.convert(build.add(scaled, build.convert(zero_point, wide)), zero_point->type.dtype);
}

Value* in_f32(Node& node, Value* x) { return node.build.convert(x, DType::F32); }

// The factor from sums of products to codes of the result, a_scale · b_scale / y_scale.
Value* multiplier_of(Node& node, Value* a_scale, Value* b_scale, Value* y_scale) {
  return node.build.div(node.build.mul(in_f32(node, a_scale), in_f32(node, b_scale)), in_f32(node, y_scale));
}

Values matmul_integer(Node& node) {
  return {integer_product(node, node.input(0), node.input(2), node.input(1), node.input(3))};
}

// Integers of 16 bits, summed in 32.
Values matmul_integer16(Node& node) {
  const bool is_signed = node.type(0).dtype == DType::I16 || node.type(1).dtype == DType::I16;
  const DType sum = is_signed ? DType::I32 : DType::U32;
  return {node.build.matmul(node.build.convert(node.input(0), sum), node.build.convert(node.input(1), sum))};
}

Values qlinear_matmul(Node& node) {
  Value* sum = integer_product(node, node.input(0), node.input(2), node.input(3), node.input(5));
  Value* multiplier = multiplier_of(node, for_rows(node, node.input(1)), node.input(4), for_rows(node, node.input(6)));
  return {requantized(node, sum, multiplier, for_rows(node, node.input(7)))};
}

Values matmul_integer_to_float(Node& node) {
  Value* sum = integer_product(node, node.input(0), node.input(4), node.input(1), node.input(5));
  Value* scale = node.build.mul(for_rows(node, node.input(2)), node.input(3));
  Value* y = node.build.mul(node.build.convert(sum, scale->type.dtype), scale);
  return {node.input(6) ? node.build.add(y, node.input(6)) : y};
}

// A, B, b_scale, b_zero_point, bias
Values dynamic_quantize_matmul(Node& node) {
  Quantized a = dynamically_quantized(node, node.input(0));
  Value* sum = integer_product(node, a.codes, a.zero_point, node.input(1), node.input(3));
  Value* y = node.build.mul(in_f32(node, sum), node.build.mul(a.scale, node.input(2)));
  return {node.input(4) ? node.build.add(y, node.input(4)) : y};
}

// alpha · A'·B' + C: C is in units of the scales of A and B. Without y_scale the result is float.
Values qgemm(Node& node) {
  Value *a = node.input(0), *b = node.input(3), *c = node.input(6), *y_scale = node.input(7);
  if (a->type.rank() != 2 || b->type.rank() != 2)
    fail("operands have ranks {} and {}, expected 2", a->type.rank(), b->type.rank());
  bool left = node.integer("transA") != 0, right = node.integer("transB") != 0;
  int columns = right ? 0 : 1;
  Value* b_zero = aligned(node, node.input(5), b->type.shape, columns);
  Value* sum = node.build.contract(centred(node, a, node.input(2)), centred(node, b, b_zero),
                                   std::string(left ? "km" : "mk") + (right ? ",nk" : ",kn") + "->mn");
  if (c) sum = node.build.add(sum, node.build.broadcast_to(c, sum->type.shape));
  Value* scale = node.build.mul(node.build.mul(node.input(1), node.input(4)),
                                node.build.like(node.input(1), node.number("alpha")));
  if (!y_scale) return {node.build.mul(in_f32(node, sum), scale)};
  Value* zero = zero_point_or(node, node.input(8), a->type.dtype);
  return {requantized(node, sum, node.build.div(scale, y_scale), zero)};
}

// --- convolutions ----------------------------------------------------------------------------------------------------

// x [N, C, spatial…] and w [O, C/group, kernel…], each less its zero point: padding is 0, the zero point's meaning.
Value* integer_convolution(Node& node, Value* x, Value* x_zero, Value* w, Value* w_zero, Value* bias) {
  if (w_zero) w_zero = aligned(node, w_zero, w->type.shape, 0);
  if (x_zero && x_zero->type.rank() > 0) x_zero = node.build.reshape(x_zero, {});
  return convolved(node, centred(node, x, x_zero), centred(node, w, w_zero), bias);
}

Values conv_integer(Node& node) {
  return {integer_convolution(node, node.input(0), node.input(2), node.input(1), node.input(3), nullptr)};
}

// The axes [N, spatial…, C] of a tensor of that rank as [N, C, spatial…], and back.
std::vector<int64_t> channels_first(int rank) {
  std::vector<int64_t> perm = {0, rank - 1};
  for (int axis = 1; axis < rank - 1; ++axis) perm.push_back(axis);
  return perm;
}
std::vector<int64_t> channels_last(int rank) {
  std::vector<int64_t> perm = {0};
  for (int axis = 2; axis < rank; ++axis) perm.push_back(axis);
  perm.push_back(1);
  return perm;
}

Values qlinear_conv(Node& node) {
  Value *x = node.input(0), *w = node.input(3);
  int rank = x->type.rank();
  if (rank < 3) fail("input has rank {}, expected 3 or more", rank);
  bool last = node.integer_or("channels_last", 0) != 0;
  if (last) x = node.build.transpose(x, channels_first(rank));
  Value* sum = integer_convolution(node, x, node.input(2), w, node.input(5), node.input(8));
  Value* w_scale = aligned(node, node.input(4), sum->type.shape, 1);
  Value* multiplier = multiplier_of(node, node.input(1), w_scale, node.input(6));
  Value* y = requantized(node, sum, multiplier, node.input(7));
  return {last ? node.build.transpose(y, channels_last(rank)) : y};
}

// --- attention -------------------------------------------------------------------------------------------------------

// What is added to the scores [B, heads, S, T]: `filter` at keys that do not count. The mask says of each batch how
// many keys do (i32 [B]) or of each key whether it does (i32 [B, T]).
Value* attention_mask(Node& node, Value* mask, Dim keys, double filter) {
  GraphBuilder& build = node.build;
  if (mask->type.rank() < 1 || mask->type.rank() > 2) unsupported("a mask of rank {}", mask->type.rank());
  Value* hidden;
  if (mask->type.rank() == 1) {
    Dim batch = mask->type.shape[0];
    Value* key = build.iota(DType::I32, {batch, keys}, 1);
    hidden = build.scalar_op(ScalarOp::LessEqual, {build.expand_axes(mask, {1}), key});
  } else {
    hidden = build.scalar_op(ScalarOp::Equal, {mask, zero(node, mask)});
  }
  Value* added = build.select(hidden, build.scalar(DType::F32, filter), build.scalar(DType::F32, 0));
  return build.expand_axes(added, {1, 2});
}

// x·w + bias is q, k and v side by side; past and present are keys and values, [2, B, heads, T, size].
Values qattention(Node& node) {
  GraphBuilder& build = node.build;
  DimPool& dims = node.dims();
  Value *x = node.input(0), *w = node.input(1), *mask = node.input(5), *past = node.input(8);
  if (x->type.rank() != 3 || w->type.rank() != 2)
    fail("input has rank {} and weight {}, expected 3 and 2", x->type.rank(), w->type.rank());
  for (const char* name : {"do_rotary", "past_present_share_buffer"})
    if (node.integer(name) != 0) unsupported("{}", name);
  const int64_t heads = node.integer("num_heads");
  std::optional<int64_t> width = value_of(w->type.shape[1]);
  if (!width) unsupported("a weight of an extent known only at run time");
  if (heads < 1 || *width % 3 != 0 || *width / 3 % heads != 0)
    fail("{} columns for q, k and v of {} heads", *width, heads);
  const int64_t size = *width / 3 / heads;
  Value* sum = integer_product(node, x, node.input(6), w, node.input(7));
  Value* qkv = build.mul(in_f32(node, sum), build.mul(node.input(3), node.input(4)));
  qkv = build.reshape(build.add(qkv, node.input(2)),
                      {x->type.shape[0], x->type.shape[1], build.dim(3), build.dim(heads), build.dim(size)});
  qkv = build.transpose(qkv, {2, 0, 3, 1, 4});
  auto part = [&](Value* of, int index) {
    return build.drop_axes(build.slice_axis(of, 0, build.dim(index), build.dim(1)), {0});
  };
  Value* present = build.slice_axis(qkv, 0, build.dim(1), build.dim(2));
  if (past) present = build.concat({past, present}, 3);
  Value *q = part(qkv, 0), *k = part(present, 0), *v = part(present, 1);
  if (mask) mask = attention_mask(node, mask, k->type.shape[2], node.number("mask_filter_value"));
  const double scale =
      node.number_or("scale", 0) != 0 ? node.number("scale") : 1 / std::sqrt(static_cast<double>(size));
  Value* y = composites::attention(build, q, k, v, mask, scale, node.integer("unidirectional") != 0);
  y = build.reshape(build.transpose(y, {0, 2, 1, 3}),
                    {x->type.shape[0], x->type.shape[1], dims.constant(heads * size)});
  return {y, present};
}

constexpr OpEntry kOps[] = {
    {"ConvInteger", conv_integer},
    {"DynamicQuantizeMatMul", dynamic_quantize_matmul,
     "A: f32, B: T2, b_scale: f32, b_zero_point?: T2, bias?: f32 -> Y: f32 || T2 = i8 u8"},
    {"MatMulInteger", matmul_integer},
    {"MatMulInteger16", matmul_integer16, "A: T1, B: T2 -> Y: T3 || T1 = i16 u16, T2 = i16 u16, T3 = i32 u32"},
    {"MatMulIntegerToFloat", matmul_integer_to_float,
     "A: T1, B: T2, a_scale: T3, b_scale: T3, a_zero_point?: T1, b_zero_point?: T2, bias?: T3 -> Y: T3 ||"
     " T1 = i8 u8, T2 = i8 u8, T3 = f32 f16"},
    {"QAttention", qattention,
     "input: T1, weight: T2, bias: f32, input_scale: f32, weight_scale: f32, mask_index?: i32, input_zero_point?: T1,"
     " weight_zero_point?: T2, past?: f32 -> output: f32, present?: f32 |"
     " num_heads: int, unidirectional = 0, past_present_share_buffer = 0, mask_filter_value = -10000.0, do_rotary = 0,"
     " scale?: float | T1 = i8 u8, T2 = i8 u8"},
    {"QGemm", qgemm,
     "A: TA, a_scale: f32, a_zero_point: TA, B: TB, b_scale: f32, b_zero_point: TB, C?: i32, y_scale?: f32,"
     " y_zero_point?: TY -> Y: TO | transA = 0, transB = 0, alpha = 1.0 |"
     " TA = i8 u8, TB = i8 u8, TY = i8 u8, TO = f32 i8 u8"},
    {"QLinearConv", qlinear_conv},
    {"QLinearConv", qlinear_conv,
     "x: T1, x_scale: f32, x_zero_point: T1, w: T2, w_scale: f32, w_zero_point: T2, y_scale: f32, y_zero_point: T3,"
     " B?: i32 -> y: T3 | auto_pad = \"NOTSET\", kernel_shape?: ints, dilations?: ints, strides?: ints, pads?: ints,"
     " group = 1, channels_last = 0 | T1 = i8 u8, T2 = i8 u8, T3 = i8 u8"},
    {"QLinearMatMul", qlinear_matmul},
};

}  // namespace

std::span<const OpEntry> quantized_product_ops() { return kOps; }

}  // namespace lapidary::frontend
