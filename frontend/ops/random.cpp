// Random numbers. Element i of a node's result is a hash of the node's seed and i (SplitMix64: Steele, Lea, Flood,
// "Fast splittable pseudorandom number generators", OOPSLA 2014), so that it is the same on every machine, whatever
// the number of threads, and in every run: a model is a function of its inputs. A node without a seed is seeded by the
// name of its result, so that two nodes differ. While a model trains, the number of the step is hashed in too, and the
// seed of the training.
#include <bit>
#include <cmath>

#include "frontend/ops/common.h"

namespace lapidary::frontend {
namespace {

using Values = std::vector<Value*>;

constexpr uint64_t kGolden = 0x9E3779B97F4A7C15;

uint64_t seed_of(Node& node) {
  if (node.has("seed")) {
    if (node.proto.op_type() == "Dropout") return static_cast<uint64_t>(node.integer("seed"));
    return std::bit_cast<uint32_t>(static_cast<float>(node.number("seed")));
  }
  uint64_t hash = 0xCBF29CE484222325;  // FNV-1a
  for (char c : node.proto.output(0)) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001B3;
  return hash;
}

struct Bits {
  Node& node;
  GraphBuilder& b;

  Value* number(uint64_t value) { return b.scalar(Scalar::of_integer(DType::U64, static_cast<int64_t>(value))); }
  // As `of` mixes; 0 stays 0.
  static uint64_t mixed(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
    return x ^ (x >> 31);
  }
  Value* op(ScalarOp kind, Value* x, uint64_t operand) { return b.scalar_op(kind, {x, number(operand)}); }
  Value* mixed(Value* x, uint64_t shift) { return b.scalar_op(ScalarOp::Xor, {x, op(ScalarOp::ShiftRight, x, shift)}); }

  // 64 random bits for each element.
  Value* of(const Shape& shape, uint64_t stream) {
    Value* index = b.iota(DType::U64, {b.module.dims.product(shape)}, 0);
    uint64_t start = (seed_of(node) + 1) * kGolden;
    start ^= start >> 32;
    if (node.training) start += mixed(node.training->seed);
    Value* x = op(ScalarOp::Add, op(ScalarOp::Mul, index, kGolden), start + stream * 0xD1B54A32D192ED03);
    if (node.training && node.training->step) {  // other numbers in each step
      Value* step = b.convert(node.training->step, DType::U64);
      x = b.scalar_op(ScalarOp::Add, {x, op(ScalarOp::Mul, step, 0xA24BAED4963EE407)});
    }
    x = op(ScalarOp::Mul, mixed(x, 30), 0xBF58476D1CE4E5B9);
    x = op(ScalarOp::Mul, mixed(x, 27), 0x94D049BB133111EB);
    return b.reshape(mixed(x, 31), shape);
  }

  // (the bits from `low` on, `count` of them, + offset) / 2^count: in [0, 1), or (0, 1) with offset 1/2.
  Value* fraction(DType dtype, Value* bits, int low, int count, double offset) {
    Value* high = op(ScalarOp::ShiftRight, op(ScalarOp::ShiftLeft, bits, 64 - low - count), 64 - count);
    Value* x = b.convert(b.convert(high, count < 32 ? DType::I32 : DType::I64), dtype);
    if (offset != 0) x = b.add(x, b.like(x, offset));
    return b.mul(x, b.like(x, std::ldexp(1.0, -count)));
  }
};

// The type random numbers are made in.
DType inner_type(DType dtype) { return dtype == DType::F64 ? DType::F64 : DType::F32; }

// In [0, 1).
Value* uniform_random(Node& node, DType dtype, const Shape& shape) {
  Bits bits{node, node.build};
  const bool wide = dtype == DType::F64;
  return bits.fraction(dtype, bits.of(shape, 0), wide ? 11 : 40, wide ? 53 : 24, 0);
}

// √(-2 ln u) · cos(2π v) (Box and Muller)
Value* normal(Node& node, DType dtype, const Shape& shape) {
  Bits bits{node, node.build};
  Value *first = bits.of(shape, 0), *u, *v;
  if (dtype == DType::F64) {
    u = bits.fraction(dtype, first, 11, 53, 0.5), v = bits.fraction(dtype, bits.of(shape, 1), 11, 53, 0);
  } else {
    u = bits.fraction(dtype, first, 40, 24, 0.5), v = bits.fraction(dtype, first, 16, 24, 0);
  }
  GraphBuilder& b = node.build;
  Value* log = b.scalar_op(ScalarOp::Log, {u});
  Value* radius = b.scalar_op(ScalarOp::Sqrt, {b.mul(log, b.like(log, -2))});
  return b.mul(radius, b.scalar_op(ScalarOp::Cos, {b.mul(v, b.like(v, 2 * M_PI))}));
}

DType result_type(Node& node) {
  const DType dtype = node.has("dtype") || !node.input(0) ? node.dtype("dtype") : node.type(0).dtype;
  if (node.proto.op_type() != "Bernoulli" && !is_float(dtype)) fail("random numbers of type {}", name_of(dtype));
  return dtype;
}

Shape result_shape(Node& node) {
  if (node.input(0)) return node.type(0).shape;
  Shape shape;
  for (int64_t extent : node.integers("shape")) {
    if (extent < 0) fail("extent {} of the shape", extent);
    shape.push_back(node.dims().constant(extent));
  }
  return shape;
}

Value* stretched(Node& node, Value* x, double factor, double shift) {
  if (factor != 1) x = node.build.mul(x, node.build.like(x, factor));
  return shift != 0 ? node.build.add(x, node.build.like(x, shift)) : x;
}

Values random_normal(Node& node) {
  const DType dtype = result_type(node);
  Value* x = normal(node, inner_type(dtype), result_shape(node));
  return {node.build.convert(stretched(node, x, node.number("scale"), node.number("mean")), dtype)};
}

Values random_uniform(Node& node) {
  const DType dtype = result_type(node);
  const double low = node.number("low"), high = node.number("high");
  Value* x = uniform_random(node, inner_type(dtype), result_shape(node));
  return {node.build.convert(stretched(node, x, high - low, low), dtype)};
}

Values bernoulli(Node& node) {
  Value* x = node.input(0);
  const DType inside = inner_type(x->type.dtype);
  Value* hit = node.build.scalar_op(ScalarOp::Less,
                                    {uniform_random(node, inside, x->type.shape), node.build.convert(x, inside)});
  return {node.build.convert(hit, result_type(node))};
}

// The class with the largest logit + Gumbel noise is drawn with the logits' softmax as probabilities.
Values multinomial(Node& node) {
  GraphBuilder& b = node.build;
  DimPool& dims = node.dims();
  if (node.rank() != 2) fail("input has rank {}, expected 2", node.rank());
  const int64_t samples = node.integer("sample_size");
  if (samples < 1) fail("sample_size {}", samples);
  const DType inside = inner_type(node.type(0).dtype);
  Value* logits = b.expand_axes(b.convert(node.input(0), inside), {1});
  const Shape shape = {logits->type.shape[0], dims.constant(samples), logits->type.shape[2]};
  Bits bits{node, b};
  auto negative_log = [&](Value* x) { return b.neg(b.scalar_op(ScalarOp::Log, {x})); };
  Value* noise = negative_log(negative_log(
      bits.fraction(inside, bits.of(shape, 0), inside == DType::F64 ? 11 : 40, inside == DType::F64 ? 53 : 24, 0.5)));
  Value* scores = b.add(logits, noise);
  Value* best = b.scalar_op(ScalarOp::Equal, {scores, b.reduce(OpKind::ReduceMax, scores, {2}, true)});
  Value* places = b.select(best, b.iota(DType::I64, shape, 2), b.dims_tensor({shape[2]}, {}));
  return {b.convert(b.reduce(OpKind::ReduceMin, places, {2}), node.dtype("dtype"))};
}

// Opset 12 and later drop when training_mode says so, at run time if need be; the older ones, inference alone but for
// the first two, when they are asked for the mask.
Values dropout(Node& node) {
  GraphBuilder& b = node.build;
  Value* x = node.input(0);
  const DType dtype = x->type.dtype, mask_type = node.version >= 10 ? DType::Bool : dtype;
  Value* training = node.version >= 12 ? node.input(2) : nullptr;
  bool trains = node.version < 7 && node.integer_or("is_test", 0) == 0 && node.wants(1);
  if (training) {
    std::optional<Scalar> known = scalar_of(b.module, training);
    trains = !known || known->integer != 0;
    training = known ? nullptr : b.reshape(training, {});  // what is left to ask at run time
  }
  if (node.infers()) trains = false, training = nullptr;
  if (!trains) return {x, node.wants(1) ? b.splat(mask_type, x->type.shape, 1) : nullptr};
  const DType inside = inner_type(dtype);
  Value* ratio = node.version < 12 ? b.scalar(inside, node.number("ratio"))
                 : node.input(1)   ? b.convert(b.reshape(node.input(1), {}), inside)
                                   : b.scalar(inside, 0.5);
  Value* kept = b.scalar_op(ScalarOp::LessEqual, {ratio, uniform_random(node, inside, x->type.shape)});
  Value* one = b.scalar(inside, 1);
  Value* scaled = b.convert(b.mul(b.convert(x, inside), b.div(one, b.sub(one, ratio))), dtype);
  Value* y = b.select(kept, scaled, b.like(x, 0));
  if (training) {
    y = b.select(training, y, x);
    kept = b.scalar_op(ScalarOp::Or, {b.scalar_op(ScalarOp::Not, {training}), kept});
  }
  return {y, b.convert(kept, mask_type)};
}

constexpr OpEntry kOps[] = {{"Bernoulli", bernoulli},
                            {"Dropout", dropout},
                            {"Multinomial", multinomial},
                            {"RandomNormal", random_normal},
                            {"RandomNormalLike", random_normal},
                            {"RandomUniform", random_uniform},
                            {"RandomUniformLike", random_uniform}};

}  // namespace

std::span<const OpEntry> random_ops() { return kOps; }

}  // namespace lapidary::frontend
