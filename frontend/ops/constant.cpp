// Operators that make tensors out of nothing but shapes and attributes.
#include <cmath>

#include "frontend/ops/common.h"

namespace lapidary::frontend {
namespace {

using Values = std::vector<Value*>;
constexpr int64_t kMostElements = 64;  // of a tensor whose elements are Dims

Value* vector_of(Node& node, DType dtype, const std::vector<Scalar>& values, bool scalar) {
  std::vector<int64_t> shape;
  if (!scalar) shape.push_back(static_cast<int64_t>(values.size()));
  return node.build.constant(node.build.module.constants.add_scalars(dtype, shape, values));
}

Values constant(Node& node) {
  std::vector<Scalar> values;
  auto floats = [&](const std::vector<double>& numbers) {
    for (double x : numbers) values.push_back(Scalar::of_float(DType::F32, x));
  };
  auto integers = [&](const std::vector<int64_t>& numbers) {
    for (int64_t x : numbers) values.push_back(Scalar::of_integer(DType::I64, x));
  };
  if (node.proto.attribute_size() != 1) fail("takes exactly one attribute, got {}", node.proto.attribute_size());
  if (node.has("value")) return {node.build.constant(node.tensor("value"))};
  if (node.has("value_float"))
    return floats({node.number("value_float")}), Values{vector_of(node, DType::F32, values, true)};
  if (node.has("value_floats"))
    return floats(node.numbers("value_floats")), Values{vector_of(node, DType::F32, values, false)};
  if (node.has("value_int"))
    return integers({node.integer("value_int")}), Values{vector_of(node, DType::I64, values, true)};
  if (node.has("value_ints"))
    return integers(node.integers("value_ints")), Values{vector_of(node, DType::I64, values, false)};
  ConstantTable& constants = node.build.module.constants;
  if (node.has("value_string")) return {node.build.constant(constants.add_strings({}, {{node.text("value_string")}}))};
  if (node.has("value_strings")) {
    const std::vector<std::string> texts = node.texts("value_strings");
    return {node.build.constant(constants.add_strings({static_cast<int64_t>(texts.size())}, texts))};
  }
  unsupported("attribute '{}'", printable(node.proto.attribute(0).name()));
}

Shape checked_extents(const Shape& shape) {
  for (Dim extent : shape) {
    if (range(extent).hi < 0) fail("negative extent {}", to_string(extent));
  }
  return shape;
}

// Integer results of few elements are the stuff of shape arithmetic, so their elements are given as Dims.
Value* filled(Node& node, const Scalar& value, const Shape& shape) {
  bool number = is_integer(value.dtype) || value.dtype == DType::Bool;
  std::optional<int64_t> count = shape.size() == 1 ? value_of(shape[0]) : std::nullopt;
  if (number && count && *count <= kMostElements) {
    return node.build.dims_tensor(Shape(*count, node.dims().constant(value.integer)), {*count}, value.dtype);
  }
  return node.build.broadcast_to(node.build.scalar(value), shape);
}

Values constant_of_shape(Node& node) {
  Scalar value = Scalar::of_float(DType::F32, 0);
  if (node.has("value")) {
    ConstantId id = node.tensor("value");
    if (node.build.module.constants[id].elements() != 1)
      fail("attribute 'value' has {} elements, expected 1", node.build.module.constants[id].elements());
    value = node.build.module.constants.scalars_of(id)[0];
  }
  return {filled(node, value, checked_extents(node.sizes(0)))};
}

// The number of elements of a range whose bounds only a run can tell, computed there. More than `most`, and a NaN,
// fail.
Dim told_count(Node& node, DType type, double most) {
  GraphBuilder& b = node.build;
  auto bound = [&](int i) { return b.convert(node.input(i), type); };
  Value* steps = b.scalar_op(ScalarOp::Ceil, {b.div(b.sub(bound(1), bound(0)), bound(2))});
  Value* fits = b.convert(b.scalar_op(ScalarOp::LessEqual, {steps, b.like(steps, most)}), DType::I64);
  b.module.check(b.to_host(fits, {0, 1})->elements.at(0), "bounds and delta make no range");
  Value* clamped =
      b.scalar_op(ScalarOp::Max, {b.scalar_op(ScalarOp::Min, {steps, b.like(steps, most)}), b.like(steps, 0)});
  return b.to_host(b.convert(clamped, DType::I64), {0, static_cast<int64_t>(most)})->elements.at(0);
}

Values range(Node& node) {
  constexpr double kMost = 1 << 24;
  DType dtype = node.type(0).dtype;
  for (int i = 0; i < 3; ++i)
    if (node.type(i).rank() > 1 || (node.type(i).rank() == 1 && value_of(node.type(i).shape[0]) != 1))
      fail("input {} is {}, expected one element", i, to_string(node.type(i)));
  auto parameter = [](Dim dim) { return ParamValue(dim); };
  if (is_integer(dtype)) {
    Dim start = node.extent(0), limit = node.extent(1), delta = node.extent(2);
    std::optional<int64_t> step = value_of(delta);
    if (step == 0) fail("delta is 0");
    DimPool& dims = node.dims();
    Dim zero = dims.constant(0), up = dims.less(zero, delta);
    node.build.module.check(dims.sub(dims.constant(1), dims.equal(delta, zero)), "delta is 0");
    Dim span = dims.select(up, dims.sub(limit, start), dims.sub(start, limit));
    Dim size = dims.max(dims.constant(1), dims.max(delta, dims.neg(delta)));
    Dim count = dims.max(zero, dims.ceildiv(span, size));
    return {node.build
                .create(OpKind::Iota, {},
                        {{"shape", Shape{count}},
                         {"axis", int64_t{0}},
                         {"dtype", dtype},
                         {"start", parameter(start)},
                         {"step", parameter(delta)}})
                .result()};
  }
  std::vector<double> bound;
  for (int i = 0; i < 3; ++i)
    if (auto value = scalar_of(node.build.module, node.input(i))) bound.push_back(value->number);
  if (bound.size() < 3) {  // start + i · delta, computed in float32 at least
    GraphBuilder& b = node.build;
    const DType wide = dtype == DType::F64 ? DType::F64 : DType::F32;
    Value* i = b.convert(b.iota(DType::I64, {told_count(node, wide, kMost)}, 0), wide);
    return {b.convert(b.add(b.convert(node.input(0), wide), b.mul(i, b.convert(node.input(2), wide))), dtype)};
  }
  double count = std::ceil((bound[1] - bound[0]) / bound[2]);
  if (!(count <= kMost)) fail("range from {} to {} by {}", bound[0], bound[1], bound[2]);
  std::vector<Scalar> values;
  for (int64_t i = 0; i < count; ++i)
    values.push_back(Scalar::of_float(dtype, bound[0] + static_cast<double>(i) * bound[2]));
  return {vector_of(node, dtype, values, false)};
}

// 1 where column = row + k.
Values eye_like(Node& node) {
  const Type& type = node.type(0);
  if (type.rank() != 2) fail("input has rank {}, expected 2", type.rank());
  DType dtype = node.has("dtype") ? node.dtype("dtype") : type.dtype;
  Value* rows = node.build.add(node.build.iota(DType::I64, type.shape, 0),
                               node.build.scalar(Scalar::of_integer(DType::I64, node.integer("k"))));
  return {node.build.convert(node.build.scalar_op(ScalarOp::Equal, {rows, node.build.iota(DType::I64, type.shape, 1)}),
                             dtype)};
}

// Keeps the triangle column - row ≥ k (upper) or ≤ k (lower) of the last two axes.
Values trilu(Node& node) {
  Value* x = node.input(0);
  int rank = x->type.rank();
  if (rank < 2) fail("input has rank {}, expected 2 or more", rank);
  Dim k = node.input(1) ? node.extent(1) : node.dims().constant(0);
  Shape matrix(x->type.shape.end() - 2, x->type.shape.end());
  Value* rows = node.build.add(node.build.iota(DType::I64, matrix, 0), node.build.dims_tensor({k}, {}));
  Value* columns = node.build.iota(DType::I64, matrix, 1);
  bool upper = node.integer("upper") != 0;
  Value* keep = upper ? node.build.scalar_op(ScalarOp::LessEqual, {rows, columns})
                      : node.build.scalar_op(ScalarOp::LessEqual, {columns, rows});
  return {node.build.select(keep, x, zero(node, x))};
}

// Triangles over the bins of a spectrum, spaced evenly on the mel scale, 2595 · log₁₀(1 + f/700); each rises from its
// left neighbour's peak and falls to its right one's.
Values mel_weight_matrix(Node& node) {
  GraphBuilder& build = node.build;
  DimPool& dims = node.dims();
  const Dim filters = node.extent(0), length = node.extent(1), two = dims.constant(2), one = dims.constant(1);
  const Dim points = dims.add(filters, two), bins = dims.add(dims.floordiv(length, two), one);
  if (range(filters).hi < 0 || range(length).hi < 0)
    fail("{} filters over {} samples", to_string(filters), to_string(length));
  auto number = [&](double value) { return build.scalar(DType::F64, value); };
  auto operand = [&](int index) { return build.convert(build.reshape(node.input(index), {}), DType::F64); };
  auto count = [&](Dim value) { return build.convert(build.dims_tensor({value}, {}), DType::F64); };
  const double scale = 2595 / std::log(10.0);
  auto mel = [&](Value* hertz) {
    Value* ratio = build.add(build.div(hertz, number(700)), number(1));
    return build.mul(build.scalar_op(ScalarOp::Log, {ratio}), number(scale));
  };
  Value *low = mel(operand(3)), *step = build.div(build.sub(mel(operand(4)), low), count(points));
  Value* at = build.add(build.mul(build.convert(build.iota(DType::I64, {points}, 0), DType::F64), step), low);
  Value* grown = build.scalar_op(ScalarOp::Exp, {build.div(at, number(scale))});
  Value* hertz = build.mul(build.sub(grown, number(1)), number(700));
  Value* place = build.div(build.mul(hertz, count(dims.add(length, one))), operand(2));
  place = build.scalar_op(ScalarOp::Floor, {place});
  auto from = [&](int64_t first) { return build.slice_axis(place, 0, dims.constant(first), filters); };
  Value *left = from(0), *peak = from(1), *right = from(2);
  Value* bin = build.convert(build.iota(DType::I64, {bins, one}, 0), DType::F64);
  auto both = [&](Value* a, Value* b) { return build.scalar_op(ScalarOp::And, {a, b}); };
  auto up_to = [&](Value* a, Value* b) { return build.scalar_op(ScalarOp::LessEqual, {a, b}); };
  auto below = [&](Value* a, Value* b) { return build.scalar_op(ScalarOp::Less, {a, b}); };
  Value* steep = build.scalar_op(ScalarOp::Equal, {left, peak});
  Value* rising = build.select(steep, number(1), build.div(build.sub(bin, left), build.sub(peak, left)));
  Value* falling = build.div(build.sub(right, bin), build.sub(right, peak));
  Value* weights = build.select(both(up_to(left, bin), up_to(bin, peak)), rising, number(0));
  weights = build.select(both(up_to(peak, bin), below(bin, right)), falling, weights);
  return {build.convert(weights, node.dtype("output_datatype"))};
}

constexpr OpEntry kOps[] = {{"Constant", constant},
                            {"ConstantOfShape", constant_of_shape},
                            {"EyeLike", eye_like},
                            {"MelWeightMatrix", mel_weight_matrix},
                            {"Range", range},
                            {"Trilu", trilu},
                            {"Trilu", trilu,
                             "X: T, k?: i64 -> Y: T | upper = 1 |"
                             " T = f16 f32 f64 bf16 u8 u16 u32 u64 i8 i16 i32 i64 bool"}};

}  // namespace

std::span<const OpEntry> constant_ops() { return kOps; }

}  // namespace lapidary::frontend
