// The elements of small integer tensors as Dims, so that the shape arithmetic of exporters (Shape, Gather, Unsqueeze,
// Concat, Mul, Div, Where, … into Reshape) becomes extents at compile time:
//
//   Shape(x: f32[N, S, 768]) → {N, S, 768}    Gather(_, 1) → S    Concat([N], [S], [12], [64]) → {N, S, 12, 64}
//
// Covers i64, i32 and bool tensors of at most 64 elements through elementwise operations and everything that moves
// elements. Arithmetic on unknown extents is taken not to wrap: Dims are overflow-checked when they are evaluated.
// Test: test/ir/graph_builder_test.cpp.
#include <algorithm>
#include <numeric>

#include "ir/infer.h"

namespace lapidary {

namespace {

using Extents = std::vector<int64_t>;
using Elements = std::vector<Dim>;

int64_t count_of(const Extents& extents) {
  return std::accumulate(extents.begin(), extents.end(), int64_t{1}, std::multiplies<>());
}

Extents coordinates(const Extents& extents, int64_t index) {
  Extents result(extents.size());
  for (size_t axis = extents.size(); axis-- > 0; index /= extents[axis]) result[axis] = index % extents[axis];
  return result;
}

int64_t flat_index(const Extents& extents, const Extents& at) {
  int64_t index = 0;
  for (size_t axis = 0; axis < extents.size(); axis++) index = index * extents[axis] + at[axis];
  return index;
}

// --- elementwise -------------------------------------------------------------------------------------------------

// Division that rounds to zero, x/0 = 0, in terms of the one that rounds down.
Dim truncating_div(DimPool& dims, Dim a, Dim b) {
  if (range(a).lo >= 0 && range(b).lo >= 0) return dims.floordiv(a, b);
  Dim zero = dims.constant(0);
  Dim quotient = dims.floordiv(dims.max(a, dims.neg(a)), dims.max(b, dims.neg(b)));
  return dims.select(dims.equal(dims.less(a, zero), dims.less(b, zero)), quotient, dims.neg(quotient));
}

Dim logical_not(DimPool& dims, Dim a) { return dims.sub(dims.constant(1), a); }

// One element of a result; null when it has no form as a Dim.
Dim apply_dims(DimPool& dims, ScalarOp op, DType dtype, const Elements& x) {
  bool truth = dtype == DType::Bool;
  Dim zero = dims.constant(0);
  switch (op) {
    case ScalarOp::Neg:
      return dims.neg(x[0]);
    case ScalarOp::Abs:
      return dims.max(x[0], dims.neg(x[0]));
    case ScalarOp::Sign:
      return dims.sub(dims.less(zero, x[0]), dims.less(x[0], zero));
    case ScalarOp::Not:
      return logical_not(dims, x[0]);
    case ScalarOp::BitNot:
      return dims.sub(dims.constant(-1), x[0]);  // ~x == -1 - x
    case ScalarOp::Add:
      return dims.add(x[0], x[1]);
    case ScalarOp::Sub:
      return dims.sub(x[0], x[1]);
    case ScalarOp::Mul:
      return dims.mul(x[0], x[1]);
    case ScalarOp::Div:
      return truncating_div(dims, x[0], x[1]);
    case ScalarOp::FloorMod:
      return dims.mod(x[0], x[1]);
    case ScalarOp::TruncMod:
      return range(x[0]).lo >= 0 && range(x[1]).lo >= 0 ? dims.mod(x[0], x[1]) : nullptr;
    case ScalarOp::Min:
      return dims.min(x[0], x[1]);
    case ScalarOp::Max:
      return dims.max(x[0], x[1]);
    case ScalarOp::And:
      return truth ? dims.min(x[0], x[1]) : nullptr;
    case ScalarOp::Or:
      return truth ? dims.max(x[0], x[1]) : nullptr;
    case ScalarOp::Xor:
      return truth ? logical_not(dims, dims.equal(x[0], x[1])) : nullptr;
    case ScalarOp::Equal:
      return dims.equal(x[0], x[1]);
    case ScalarOp::NotEqual:
      return logical_not(dims, dims.equal(x[0], x[1]));
    case ScalarOp::Less:
      return dims.less(x[0], x[1]);
    case ScalarOp::LessEqual:
      return logical_not(dims, dims.less(x[1], x[0]));
    case ScalarOp::Select:
      return dims.select(x[0], x[1], x[2]);
    case ScalarOp::Pow:  // known constants alone, as below
    case ScalarOp::ShiftLeft:
    case ScalarOp::ShiftRight:
      return nullptr;
    case ScalarOp::Floor:  // floats alone
    case ScalarOp::Ceil:
    case ScalarOp::Round:
    case ScalarOp::Trunc:
    case ScalarOp::Sqrt:
    case ScalarOp::Exp:
    case ScalarOp::Log:
    case ScalarOp::Sin:
    case ScalarOp::Cos:
    case ScalarOp::Tan:
    case ScalarOp::Asin:
    case ScalarOp::Acos:
    case ScalarOp::Atan:
    case ScalarOp::Sinh:
    case ScalarOp::Cosh:
    case ScalarOp::Tanh:
    case ScalarOp::Asinh:
    case ScalarOp::Acosh:
    case ScalarOp::Atanh:
    case ScalarOp::Erf:
    case ScalarOp::Sigmoid:
    case ScalarOp::IsNan:
    case ScalarOp::IsInf:
      return nullptr;
  }
  LPD_UNREACHABLE("scalar operation {}", static_cast<int>(op));
}

// Constants are computed as the scalar operation says, wrapping included.
Dim apply_constants(DimPool& dims, ScalarOp op, std::span<Value* const> operands, const Elements& x) {
  std::vector<Scalar> scalars;
  for (size_t i = 0; i < x.size(); i++) {
    std::optional<int64_t> value = value_of(x[i]);
    if (!value) return nullptr;
    scalars.push_back(Scalar::of_integer(operands[i]->type.dtype, *value));
  }
  return dims.constant(evaluate(op, scalars).integer);
}

// An INT64_MAX ("to the end" in exporters' slices) in a sum has no form either.
Dim apply(DimPool& dims, ScalarOp op, DType dtype, const Elements& x) {
  try {
    return apply_dims(dims, op, dtype, x);
  } catch (const Error&) { return nullptr; }
}

std::optional<Elements> scalar_elements(DimPool& dims, ScalarOp op, std::span<Value* const> operands) {
  Elements result;
  DType dtype = operands.back()->type.dtype;
  for (size_t i = 0; i < operands[0]->elements.size(); i++) {
    Elements x;
    for (const Value* operand : operands) x.push_back(operand->elements[i]);
    Dim element = apply_constants(dims, op, operands, x);
    if (!element) element = apply(dims, op, dtype, x);
    if (!element) return std::nullopt;
    result.push_back(element);
  }
  return result;
}

Dim convert_element(DimPool& dims, Dim x, DType from, DType to) {
  if (std::optional<int64_t> value = value_of(x)) {
    return dims.constant(convert(Scalar::of_integer(from, *value), to).integer);
  }
  return to == DType::Bool && from != DType::Bool ? logical_not(dims, dims.equal(x, dims.constant(0))) : x;
}

// --- what moves elements -------------------------------------------------------------------------------------------

// result[at] = operand[where(at)] for every coordinate of the result.
template <class Where>
Elements moved(const Value& operand, const Extents& from, const Extents& to, Where where) {
  Elements result;
  for (int64_t i = 0; i < count_of(to); i++) {
    result.push_back(operand.elements[flat_index(from, where(coordinates(to, i)))]);
  }
  return result;
}

Elements broadcast_elements(const Value& x, const Extents& from, const Extents& to, const Extents& axes) {
  return moved(x, from, to, [&](const Extents& at) {
    Extents source;
    for (size_t i = 0; i < axes.size(); i++) source.push_back(from[i] == 1 ? 0 : at[axes[i]]);
    return source;
  });
}

Elements transpose_elements(const Value& x, const Extents& from, const Extents& to, const Extents& perm) {
  return moved(x, from, to, [&](const Extents& at) {
    Extents source(at.size());
    for (size_t i = 0; i < perm.size(); i++) source[perm[i]] = at[i];
    return source;
  });
}

std::optional<Elements> slice_elements(const Value& x, const Extents& from, const Extents& to, const Params& params) {
  std::optional<Extents> starts = constant_extents(params.dims("starts"));
  if (!starts) return std::nullopt;
  const Extents& steps = params.integers("steps");
  return moved(x, from, to, [&](Extents at) {
    for (size_t i = 0; i < at.size(); i++) at[i] = (*starts)[i] + at[i] * steps[i];
    return at;
  });
}

std::optional<Elements> concat_elements(std::span<Value* const> operands, const Extents& to, int64_t axis) {
  Elements result(count_of(to));
  int64_t offset = 0;
  for (const Value* operand : operands) {
    std::optional<Extents> from = constant_extents(operand->type.shape);
    if (!from) return std::nullopt;
    for (int64_t i = 0; i < count_of(*from); i++) {
      Extents at = coordinates(*from, i);
      at[axis] += offset;
      result[flat_index(to, at)] = operand->elements[i];
    }
    offset += (*from)[axis];
  }
  return result;
}

// The indices of a gather as numbers in [0, extent).
std::optional<Extents> known_indices(const Value& indices, int64_t extent) {
  std::optional<Extents> result = constant_extents(indices.elements);
  if (!result) return std::nullopt;
  for (int64_t& index : *result) {
    if (index < -extent || index >= extent) {
      throw Error(Fault::Input, fmt::format("index {} is out of range for extent {}", index, extent));
    }
    if (index < 0) index += extent;
  }
  return result;
}

std::optional<Elements> gather_elements(std::span<Value* const> operands, const Extents& from, const Extents& to,
                                        int64_t axis) {
  std::optional<Extents> indices = known_indices(*operands[1], from[axis]);
  std::optional<Extents> index_extents = constant_extents(operands[1]->type.shape);
  if (!indices || !index_extents) return std::nullopt;
  auto index_rank = static_cast<int64_t>(index_extents->size());
  return moved(*operands[0], from, to, [&](const Extents& at) {
    Extents source(at.begin(), at.begin() + axis);
    Extents index(at.begin() + axis, at.begin() + axis + index_rank);
    source.push_back((*indices)[flat_index(*index_extents, index)]);
    source.insert(source.end(), at.begin() + axis + index_rank, at.end());
    return source;
  });
}

std::optional<Elements> pick_elements(std::span<Value* const> operands, const Extents& from, const Extents& to,
                                      int64_t axis) {
  std::optional<Extents> indices = known_indices(*operands[1], from[axis]);
  if (!indices) return std::nullopt;
  return moved(*operands[0], from, to, [&](Extents at) {
    at[axis] = (*indices)[flat_index(to, at)];
    return at;
  });
}

Elements iota_elements(DimPool& dims, const Extents& to, const Params& params) {
  Dim start = params.has("start") ? params.dim("start") : dims.constant(0);
  Dim step = params.has("step") ? params.dim("step") : dims.constant(1);
  Elements result;
  for (int64_t i = 0; i < count_of(to); i++) {
    Dim at = dims.constant(coordinates(to, i)[params.integer("axis")]);
    result.push_back(dims.add(start, dims.mul(at, step)));
  }
  return result;
}

// --- reductions ----------------------------------------------------------------------------------------------------

Dim reduce_pair(DimPool& dims, OpKind kind, Dim a, Dim b) {
  if (kind == OpKind::ReduceSum) return dims.add(a, b);
  if (kind == OpKind::ReduceProd) return dims.mul(a, b);
  return kind == OpKind::ReduceMax ? dims.max(a, b) : dims.min(a, b);
}

std::optional<Elements> reduce_elements(DimPool& dims, OpKind kind, const Value& x, const Extents& from,
                                        const Extents& to, const Extents& axes) {
  Elements result(count_of(to), nullptr);
  for (int64_t i = 0; i < count_of(from); i++) {
    Extents at = coordinates(from, i), kept;
    for (size_t axis = 0; axis < at.size(); axis++) {
      if (std::find(axes.begin(), axes.end(), static_cast<int64_t>(axis)) == axes.end()) kept.push_back(at[axis]);
    }
    Dim& sum = result[flat_index(to, kept)];
    sum = sum ? reduce_pair(dims, kind, sum, x.elements[i]) : x.elements[i];
  }
  bool sums = kind == OpKind::ReduceSum || kind == OpKind::ReduceProd;
  for (Dim& element : result) {
    if (element) continue;
    if (!sums) return std::nullopt;  // the maximum of nothing
    element = dims.constant(kind == OpKind::ReduceProd ? 1 : 0);
  }
  return result;
}

Elements constant_elements(Module& module, ConstantId id) {
  Elements result;
  for (const Scalar& scalar : module.constants.scalars_of(id)) result.push_back(module.dims.constant(scalar.integer));
  return result;
}

}  // namespace

bool carries_elements(const Type& type) {
  bool whole = type.dtype == DType::I64 || type.dtype == DType::I32 || type.dtype == DType::Bool;
  if (type.kind != Type::Kind::Tensor || !whole) return false;
  int64_t count = 1;
  for (Dim extent : type.shape) {
    std::optional<int64_t> value = value_of(extent);
    if (!value || *value < 0 || *value > kMaxElements) return false;
    count *= *value;
    if (count > kMaxElements) return false;
  }
  return true;
}

std::optional<std::vector<Dim>> elements_of(Module& module, OpKind kind, std::span<Value* const> operands,
                                            const Params& params, const Type& type) {
  if (!carries_elements(type)) return std::nullopt;
  for (const Value* operand : operands) {
    if (!operand->has_elements() || !carries_elements(operand->type)) return std::nullopt;
  }
  DimPool& dims = module.dims;
  if (is_scalar_op(kind)) return scalar_elements(dims, scalar_op(kind), operands);
  Extents to = *constant_extents(type.shape);
  Extents from = operands.empty() ? Extents{} : *constant_extents(operands[0]->type.shape);
  switch (kind) {
#define SCALAR_OP(kind, text, operands, types, result) case OpKind::kind:
#include "ir/scalar_ops.def"
#undef SCALAR_OP
    break;  // above
    case OpKind::Constant:
      return constant_elements(module, params.constant("value"));
    case OpKind::DimsTensor:
      return params.dims("elements");
    case OpKind::Iota:
      return iota_elements(dims, to, params);
    case OpKind::Convert: {
      Elements result;
      for (Dim x : operands[0]->elements) {
        result.push_back(convert_element(dims, x, operands[0]->type.dtype, type.dtype));
      }
      return result;
    }
    case OpKind::Broadcast:
      return broadcast_elements(*operands[0], from, to, params.integers("axes"));
    case OpKind::Reshape:
    case OpKind::Relayout:
      return operands[0]->elements;
    case OpKind::Transpose:
      return transpose_elements(*operands[0], from, to, params.integers("perm"));
    case OpKind::Slice:
      return slice_elements(*operands[0], from, to, params);
    case OpKind::Concat:
      return concat_elements(operands, to, params.integer("axis"));
    case OpKind::Gather:
      return gather_elements(operands, from, to, params.integer("axis"));
    case OpKind::GatherElements:
      return pick_elements(operands, from, to, params.integer("axis"));
    case OpKind::ReduceSum:
    case OpKind::ReduceProd:
    case OpKind::ReduceMax:
    case OpKind::ReduceMin:
      return reduce_elements(dims, kind, *operands[0], from, to, params.integers("axes"));
    case OpKind::Pad:  // no exporter computes shapes with these
    case OpKind::Scatter:
    case OpKind::Scan:
    case OpKind::TopK:
    case OpKind::BitCast:
    case OpKind::ReduceMean:
    case OpKind::Contract:
    case OpKind::Conv:
    case OpKind::ConvTranspose:
    case OpKind::ConvFilterGradient:
    case OpKind::MaxPool:
    case OpKind::AveragePool:
    case OpKind::MaxPoolTap:
    case OpKind::MaxPoolGradient:
    case OpKind::HostCall:
    case OpKind::ToHost:  // names its own, below
    case OpKind::TruePositions:
    case OpKind::Suppress:
    case OpKind::Loop:
    case OpKind::If:
    case OpKind::Composite:
    case OpKind::Group:
    case OpKind::Yield:
      return std::nullopt;
  }
  LPD_UNREACHABLE("no elements rule for {}", name_of(kind));
}

void infer_elements(Module& module, Op& op) {
  if (op.results.size() != 1) return;
  if (op.is(OpKind::ToHost) && carries_elements(op.type())) {
    const Interval interval{op.params.integer_or("lo", kDimMin), op.params.integer_or("hi", kDimMax)};
    const int64_t count = count_of(*constant_extents(op.type().shape));
    for (int64_t i = 0; i < count; ++i)
      op.result()->elements.push_back(module.dims.element(op.result()->id, i, interval));
    return;
  }
  std::optional<Elements> elements = elements_of(module, op.kind, op.operands, op.params, op.type());
  if (elements) op.result()->elements = std::move(*elements);
}

}  // namespace lapidary
