// Weights of 2, 4 or 8 bits in blocks along their input axis, each block with a scale of its own: what language models
// are stored in.
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

// A · dequantised(B)ᵀ + bias: A [.., K], B u8 [N, K / block_size, block_size · bits / 8], the lowest bits first.
Values matmul_nbits(Node& node) {
  GraphBuilder& build = node.build;
  Value *a = node.input(0), *b = node.input(1), *scales = node.input(2), *zeros = node.input(3), *bias = node.input(5);
  int64_t k = extent_of(node, "K"), n = extent_of(node, "N"), bits = node.integer("bits"),
          block = extent_of(node, "block_size");
  if (node.input(4)) unsupported("g_idx");
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
  Value* y = composites::matmul_packed(build, a, packed);
  return {bias ? build.add(y, bias) : y};
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
    {"MatMulNBits", matmul_nbits,
     "A: T1, B: u8, scales: T1, zero_points?: T3, g_idx?: i32, bias?: T1 -> Y: T1 |"
     " K: int, N: int, bits = 4, block_size: int, accuracy_level = 0 | T1 = f32 f16 bf16, T3 = u8 f32 f16 bf16"},
};

}  // namespace

std::span<const OpEntry> packed_weight_ops() { return kOps; }

}  // namespace lapidary::frontend
