// Weights of 2, 4 or 8 bits in blocks along their input axis, each block with a scale of its own: what language models
// are stored in.
#include "frontend/ops/experts.h"
#include "frontend/ops/quantized.h"

namespace lapidary::frontend {
namespace {

using Values = std::vector<Value*>;

constexpr int64_t kMostExtent = INT64_C(1) << 31;

int64_t extent_of(Node& node, const char* attribute) {
  int64_t extent = node.integer(attribute);
  if (extent < 1 || extent > kMostExtent) fail("{} must be from 1 to {}, got {}", attribute, kMostExtent, extent);
  return extent;
}

void require_elements(Value* x, const char* what, int64_t expected, DimPool& dims) {
  std::optional<int64_t> count = value_of(dims.product(x->type.shape));
  if (!count) unsupported("{} of a shape known only at run time", what);
  if (*count != expected) fail("{} has {}, expected {}", what, counted(*count, "element"), expected);
}

// Each input column has the scale and zero point of the group that g_idx [K] names. Weights are dequantised in each
// run.
Value* product_by_groups(Node& node, Value* a, const composites::PackedWeights& packed, Value* groups) {
  GraphBuilder& build = node.build;
  if (groups->type.rank() != 1) fail("g_idx has rank {}, expected 1", groups->type.rank());
  require_elements(groups, "g_idx", packed.k, node.dims());
  const DType dtype = a->type.dtype;
  const int bits = static_cast<int>(packed.bits);
  auto bytes = [&](Value* x) {  // of [N, …] as codes [N, …]
    return composites::unpacked(build, x, bits);
  };
  const int64_t blocks = (packed.k + packed.block - 1) / packed.block;
  Value* codes = build.reshape(bytes(packed.codes), build.shape({packed.n, blocks * packed.block}));
  codes = build.convert(build.slice_axis(codes, 1, build.dim(0), build.dim(packed.k)), DType::F32);
  auto of_columns = [&](Value* of_groups) { return build.convert(build.gather(of_groups, groups, 1), DType::F32); };
  Value* zeros = packed.zero_points;
  if (zeros && zeros->type.dtype == DType::U8)
    zeros = build.slice_axis(bytes(zeros), 1, build.dim(0), build.dim(blocks));
  zeros = zeros ? of_columns(zeros) : build.like(codes, static_cast<double>(int64_t{1} << (bits - 1)));
  Value* w = build.mul(build.sub(codes, zeros), of_columns(packed.scales));
  return build.convert(build.matmul(build.convert(a, DType::F32), build.transpose(w, {1, 0})), dtype);
}

// A · dequantised(B)ᵀ + bias: A [.., K], B u8 [N, K / block_size, block_size · bits / 8], the lowest bits first.
Values matmul_nbits(Node& node) {
  GraphBuilder& build = node.build;
  Value *a = node.input(0), *b = node.input(1), *scales = node.input(2), *zeros = node.input(3), *bias = node.input(5);
  int64_t k = extent_of(node, "K"), n = extent_of(node, "N"), bits = node.integer("bits"),
          block = extent_of(node, "block_size");
  if (bits != 2 && bits != 4 && bits != 8) unsupported("{} bits", bits);
  if (block < 16 || (block & (block - 1)) != 0) fail("block_size must be a power of two from 16 on, got {}", block);
  if (a->type.rank() == 0) fail("A has rank 0, expected 1 or more");
  if (known_unequal(a->type.shape.back(), node.dims().constant(k)))
    fail("A has {} columns, expected K = {}", to_string(a->type.shape.back()), k);
  int64_t blocks = (k + block - 1) / block, bytes = block * bits / 8;
  require_elements(b, "B", n * blocks * bytes, node.dims());
  require_elements(scales, "scales", n * blocks, node.dims());
  composites::PackedWeights packed{k, n, bits, block};
  packed.codes = build.reshape(b, build.shape({n, blocks, bytes}));
  packed.scales = build.reshape(scales, build.shape({n, blocks}));
  if (zeros && is_integer(zeros->type.dtype)) {
    int64_t row = (blocks * bits + 7) / 8;
    require_elements(zeros, "zero_points", n * row, node.dims());
    packed.zero_points = build.reshape(zeros, build.shape({n, row}));
  } else if (zeros) {
    require_elements(zeros, "zero_points", n * blocks, node.dims());
    packed.zero_points = build.convert(build.reshape(zeros, build.shape({n, blocks})), scales->type.dtype);
  }
  Value* y =
      node.input(4) ? product_by_groups(node, a, packed, node.input(4)) : composites::matmul_packed(build, a, packed);
  return {bias ? build.add(y, bias) : y};
}

// NF4 and FP4 codes as numbers: quantiles of a normal distribution, and sign, exponent and mantissa bits.
constexpr double kNormalFloats[16] = {-1.0,
                                      -0.6961928009986877,
                                      -0.5250730514526367,
                                      -0.39491748809814453,
                                      -0.28444138169288635,
                                      -0.18477343022823334,
                                      -0.09105003625154495,
                                      0.0,
                                      0.07958029955625534,
                                      0.16093020141124725,
                                      0.24611230194568634,
                                      0.33791524171829224,
                                      0.44070982933044434,
                                      0.5626170039176941,
                                      0.7229568362236023,
                                      1.0};
constexpr double kSmallFloats[8] = {0.0, 0.005208333333, 0.66666667, 1.0, 0.33333333, 0.5, 0.16666667, 0.25};

// A · dequantised(B)ᵀ: B holds two codes a byte, the high one first, and absmax scales blocks of them.
Values matmul_bnb4(Node& node) {
  GraphBuilder& build = node.build;
  Value *a = node.input(0), *codes = node.input(1), *scales = node.input(2);
  const int64_t k = extent_of(node, "K"), n = extent_of(node, "N"), block = extent_of(node, "block_size");
  const int64_t type = node.integer("quant_type");
  if (type != 0 && type != 1) fail("quant_type {}", type);
  if (node.integer("transB") == 0) unsupported("transB = 0");
  if (n * k % block != 0) unsupported("{} weights in blocks of {}", n * k, block);
  require_elements(codes, "B", n * k / 2, node.dims());
  require_elements(scales, "absmax", n * k / block, node.dims());
  std::vector<Scalar> numbers;
  for (int code = 0; code < 16; ++code)
    numbers.push_back(Scalar::of_float(
        DType::F32,
        round_to(DType::F32, type == 1 ? kNormalFloats[code] : kSmallFloats[code % 8] * (code < 8 ? 1 : -1))));
  Value* table = build.constant(build.module.constants.add_scalars(DType::F32, {16}, numbers));
  Value* pairs = composites::unpacked(build, build.reshape(codes, build.shape({n * k / 2, 1})), 4);  // low first
  auto nibble = [&](int64_t index) { return build.slice_axis(pairs, 1, build.dim(index), build.dim(1)); };
  Value* in_order = build.reshape(build.concat({nibble(1), nibble(0)}, 1), build.shape({n * k / block, block}));
  Value* w = build.gather(table, build.convert(in_order, DType::I64), 0, /*inside=*/true);
  w = build.mul(w, build.convert(build.reshape(scales, build.shape({n * k / block, 1})), DType::F32));
  Value* y = build.matmul(build.convert(a, DType::F32), build.transpose(build.reshape(w, build.shape({n, k})), {1, 0}));
  return {build.convert(y, a->type.dtype)};
}

// Rows of a table that lies in blocks, dequantised: data, indices, scales, zero_points. Bytes hold 8 / bits codes of
// the last axis.
Values gather_block_quantized(Node& node) {
  GraphBuilder& build = node.build;
  Value *data = node.input(0), *indices = node.input(1), *scales = node.input(2), *zeros = node.input(3);
  const int rank = data->type.rank();
  const int along = node.axis("gather_axis", rank), quantized = node.axis("quantize_axis", rank);
  int64_t block = extent_of(node, "block_size"), bits = node.integer("bits");
  if (along == quantized) fail("gather_axis and quantize_axis are both {}", along);
  if (scales->type.rank() != rank) fail("scales have rank {}, expected {}", scales->type.rank(), rank);
  const bool packed = data->type.dtype == DType::U8;
  if (packed && bits != 2 && bits != 4 && bits != 8) unsupported("{} bits", bits);
  if (packed && bits < 8 && quantized != rank - 1) unsupported("codes in bytes along axis {}", quantized);
  auto rows = [&](Value* table) { return build.gather(table, indices, along); };
  Value* codes = rows(data);
  zeros = zeros ? rows(zeros) : nullptr;
  if (packed) {
    codes = composites::unpacked(build, codes, static_cast<int>(bits));
    if (zeros) zeros = composites::unpacked(build, zeros, static_cast<int>(bits));
    if (!zeros) zeros = build.like(codes, static_cast<double>(int64_t{1} << (bits - 1)));
  }
  const int axis = quantized > along ? quantized + indices->type.rank() - 1 : quantized;
  const Shape shape = codes->type.shape;
  if (zeros && zeros->type.rank() > 0) {
    zeros = build.slice_axis(zeros, axis, build.dim(0), rows(scales)->type.shape[axis]);
    zeros = aligned(node, zeros, shape, axis, block);
  }
  return {composites::dequantize(build, codes, aligned(node, rows(scales), shape, axis, block), zeros)};
}

constexpr OpEntry kOps[] = {
    {"GatherBlockQuantized", gather_block_quantized,
     "data: T1, indices: i32/i64, scales: T2, zero_points?: T1 -> output: T2 |"
     " bits = 4, block_size = 128, gather_axis = 0, quantize_axis = 1 | T1 = i4 u4 u8, T2 = f32 f16 bf16"},
    {"MatMulBnb4", matmul_bnb4,
     "A: T1, B: u8, absmax: T1 -> Y: T1 | K: int, N: int, block_size: int, quant_type: int, training_mode = 0,"
     " transB = 1 | T1 = f32 f16 bf16"},
    {"MatMulNBits", matmul_nbits,
     "A: T1, B: u8, scales: T1, zero_points?: T3, g_idx?: i32, bias?: T1 -> Y: T1 |"
     " K: int, N: int, bits = 4, block_size: int, accuracy_level = 0 | T1 = f32 f16 bf16, T3 = u8 f32 f16 bf16"},
    {"MoE", moe,
     "input: T, router_probs: T, fc1_experts_weights: T, fc1_experts_bias?: T, fc2_experts_weights: T,"
     " fc2_experts_bias?: T, fc3_experts_weights?: T, fc3_experts_bias?: T -> output: T | k = 1,"
     " activation_type = \"relu\", normalize_routing_weights = 0, use_sparse_mixer = 0, activation_alpha = 1.0,"
     " activation_beta = 0.0, swiglu_fusion = 0, swiglu_limit?: float, swiglu_limit_after_activation = 0 |"
     " T = f32 f16 bf16"},
    {"QMoE", qmoe,
     "input: T, router_probs: T, fc1_experts_weights: T1, fc1_scales?: T2, fc1_experts_bias?: T,"
     " fc2_experts_weights: T1, fc2_scales?: T2, fc2_experts_bias?: T, fc3_experts_weights?: T1, fc3_scales?: T2,"
     " fc3_experts_bias?: T, fc1_zero_points?: T1, fc2_zero_points?: T1, fc3_zero_points?: T1, router_weights?: T,"
     " fc1_global_scale?: f32, fc2_global_scale?: f32, fc1_act_scale?: f32, fc2_act_scale?: f32,"
     " fc1_act_block_scale?: T2, fc2_act_block_scale?: T2 -> output: T | k = 1, activation_type = \"relu\","
     " normalize_routing_weights = 0, use_sparse_mixer = 0, activation_alpha = 1.0, activation_beta = 0.0,"
     " swiglu_fusion = 0, swiglu_limit?: float, swiglu_limit_after_activation = 0, expert_weight_bits = 4,"
     " block_size?: int, quant_type = \"int\", fc1_expert_weight_bits?: int, fc2_expert_weight_bits?: int,"
     " fc3_expert_weight_bits?: int, weights_prepacked = -1, accuracy_level = 0 |"
     " T = f32 f16 bf16, T1 = u8, T2 = f32 f16 bf16"},
};

}  // namespace

std::span<const OpEntry> packed_weight_ops() { return kOps; }

}  // namespace lapidary::frontend
