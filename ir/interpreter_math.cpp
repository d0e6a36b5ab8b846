// Elementwise operations, conversions, reductions and contractions.
#include <algorithm>
#include <array>
#include <limits>
#include <map>

#include "ir/contract_spec.h"
#include "ir/interpreter_ops.h"

namespace lapidary {

Tensor run_scalar_op(const Execution& x) {
  ScalarOp op = scalar_op(x.op.kind);
  std::array<Scalar, 3> values;
  std::array<DType, 3> dtypes{};
  size_t count = x.operands.size();
  for (size_t i = 0; i < count; i++) {
    dtypes[i] = x.operand(i).dtype;
    if (x.operand(i).shape != x.operand(0).shape)
      x.fail(fmt::format("shapes [{}] and [{}] differ", fmt::join(x.operand(0).shape, ", "),
                         fmt::join(x.operand(i).shape, ", ")));
  }
  Tensor result = Tensor::zeros(result_type(op, {dtypes.data(), count}), x.operand(0).shape);
  int64_t elements = result.elements();
  for (int64_t e = 0; e < elements; e++) {
    for (size_t i = 0; i < count; i++) values[i] = x.operand(i).at(e);
    result.set(e, evaluate(op, {values.data(), count}, x.round));
  }
  return result;
}

Tensor run_convert(const Execution& x) {
  const Tensor& from = x.operand(0);
  Tensor result = Tensor::zeros(x.params().dtype("to"), from.shape);
  int64_t elements = result.elements();
  for (int64_t e = 0; e < elements; e++) result.set(e, convert(from.at(e), result.dtype, x.round));
  return result;
}

// --- reductions --------------------------------------------------------------------------------------------------

Scalar identity_of(ScalarOp combine, DType dtype) {
  const auto number = [&](double value) { return convert(Scalar::of_float(DType::F64, value), dtype); };
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (combine == ScalarOp::Mul || combine == ScalarOp::And) return number(1);
  if (combine == ScalarOp::Max) return number(-kInfinity);
  if (combine == ScalarOp::Min) return number(kInfinity);
  return {dtype, 0, 0};
}

namespace {

struct Reduction {
  ScalarOp op;
  Scalar start;  // what a reduction over nothing gives
};

Reduction reduction_of(OpKind kind, DType dtype) {
  const bool boolean = dtype == DType::Bool;
  ScalarOp op = ScalarOp::Add;
  if (kind == OpKind::ReduceProd) op = ScalarOp::Mul;
  if (kind == OpKind::ReduceMax) op = boolean ? ScalarOp::Or : ScalarOp::Max;
  if (kind == OpKind::ReduceMin) op = boolean ? ScalarOp::And : ScalarOp::Min;
  return {op, identity_of(op, dtype)};
}

// A mean of integers truncates.
Scalar divided(const Scalar& sum, int64_t count) {
  if (is_float(sum.dtype)) return Scalar::of_float(sum.dtype, sum.number / static_cast<double>(count));
  if (count == 0) return Scalar{sum.dtype, 0, 0};
  bool is_unsigned = !is_signed_integer(sum.dtype);
  uint64_t quotient = is_unsigned ? static_cast<uint64_t>(sum.integer) / static_cast<uint64_t>(count)
                                  : static_cast<uint64_t>(sum.integer / count);
  return Scalar::of_integer(sum.dtype, static_cast<int64_t>(quotient));
}

}  // namespace

Tensor run_reduce(const Execution& x) {
  const Tensor& from = x.operand(0);
  const Extents& axes = x.params().integers("axes");
  if (axes.empty()) return from;
  Extents perm, kept;
  for (int64_t axis = 0; axis < static_cast<int64_t>(from.shape.size()); axis++) {
    if (std::find(axes.begin(), axes.end(), axis) != axes.end()) continue;
    perm.push_back(axis);
    kept.push_back(from.shape[axis]);
  }
  perm.insert(perm.end(), axes.begin(), axes.end());
  Tensor rows = transposed(from, perm), result = Tensor::zeros(from.dtype, kept);
  int64_t count = 1;
  for (int64_t axis : axes) count *= from.shape[axis];
  Reduction reduction = reduction_of(x.op.kind, from.dtype);
  int64_t elements = result.elements();
  for (int64_t e = 0; e < elements; e++) {
    Scalar value = reduction.start;
    for (int64_t i = 0; i < count; i++)
      value = evaluate(reduction.op, std::array{value, rows.at(e * count + i)}, /*round=*/false);
    result.set(e, x.op.is(OpKind::ReduceMean) ? divided(value, count) : value);
  }
  round_elements(result, x.round);
  return result;
}

// --- contractions ------------------------------------------------------------------------------------------------

namespace {

// The letters of "bmk,bnk->bmn" by where they stand: batch b, rows m, columns n, summed k.
struct Letters : ContractSpec {
  std::string batch, rows, columns, summed;
};

Letters letters_of(const Op& op) {
  Letters spec{contract_spec(op), "", "", "", ""};
  auto has = [](const std::string& letters, char c) { return letters.find(c) != std::string::npos; };
  for (char c : spec.left) {
    if (has(spec.right, c))
      (has(spec.result, c) ? spec.batch : spec.summed) += c;
    else
      spec.rows += c;
  }
  for (char c : spec.right)
    if (!has(spec.left, c)) spec.columns += c;
  return spec;
}

Extents positions(const std::string& wanted, const std::string& letters) {
  Extents result;
  for (char c : wanted) result.push_back(static_cast<int64_t>(letters.find(c)));
  return result;
}

}  // namespace

Tensor run_contract(const Execution& x) {
  const Tensor &a = x.operand(0), &b = x.operand(1);
  const Letters spec = letters_of(x.op);
  std::map<char, int64_t> extents;
  for (size_t i = 0; i < spec.left.size(); i++) extents[spec.left[i]] = a.shape[i];
  for (size_t i = 0; i < spec.right.size(); i++)
    if (extents.try_emplace(spec.right[i], b.shape[i]).first->second != b.shape[i])
      x.fail(fmt::format("extents '{}' are {} and {}", spec.right[i], extents[spec.right[i]], b.shape[i]));
  auto shape_of = [&](const std::string& letters) {
    Extents shape;
    for (char c : letters) shape.push_back(extents[c]);
    return shape;
  };
  int64_t batch = product_of(shape_of(spec.batch)), m = product_of(shape_of(spec.rows));
  int64_t n = product_of(shape_of(spec.columns)), k = product_of(shape_of(spec.summed));
  Tensor left = transposed(a, positions(spec.batch + spec.rows + spec.summed, spec.left));
  Tensor right = transposed(b, positions(spec.batch + spec.summed + spec.columns, spec.right));
  std::string order = spec.batch + spec.rows + spec.columns;
  DType to = x.params().has("to") ? x.params().dtype("to") : a.dtype;
  Tensor result = Tensor::zeros(to, shape_of(order));
  with_element_type(result, [&](auto element) {
    using T = decltype(element);
    for (int64_t i = 0; i < batch; i++)
      multiply_add<T>(m, n, k, {data_of<T>(left) + i * m * k, k}, {data_of<T>(right) + i * k * n, n},
                      {data_of<T>(result) + i * m * n, n});
  });
  round_elements(result, x.round);
  return transposed(result, positions(spec.result, order));
}

}  // namespace lapidary
