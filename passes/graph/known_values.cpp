#include "passes/graph/known_values.h"

#include "ir/shape_rules.h"
#include "passes/graph/match.h"

namespace lapidary::passes {

namespace {

constexpr int64_t kMostParameters = 64 << 10;  // elements of a scale, zero point or bias that is computed now

double number(const Scalar& scalar) {
  return is_float(scalar.dtype) ? scalar.number : static_cast<double>(scalar.integer);
}

}  // namespace

std::optional<Tensor> evaluated(const Module& module, const Value* value, int depth) {
  auto extents = constant_extents(value->type.shape);
  if (!extents || !value->producer || depth == 0 || value->producer->results.size() != 1) return std::nullopt;
  int64_t count = 1;
  for (int64_t extent : *extents)
    if (__builtin_mul_overflow(count, extent, &count) || count > kMostParameters) return std::nullopt;
  std::vector<Tensor> operands;
  for (const Value* operand : value->producer->operands) {
    auto tensor = evaluated(module, operand, depth - 1);
    if (!tensor) return std::nullopt;
    operands.push_back(std::move(*tensor));
  }
  auto results = interpret_op(module, *value->producer, operands);
  return results ? std::optional((*results)[0]) : std::nullopt;
}

std::optional<Scalar> evaluated_scalar(const Module& module, const Value* value) {
  auto tensor = evaluated(module, without_broadcast(const_cast<Value*>(value)));
  return tensor && tensor->elements() == 1 ? std::optional(tensor->at(0)) : std::nullopt;
}

bool is_zero(const Module& module, const Value* value) {
  auto tensor = evaluated(module, value);
  if (!tensor) return false;
  for (int64_t i = 0; i < tensor->elements(); ++i)
    if (tensor->at(i).integer != 0) return false;
  return true;
}

std::optional<std::vector<double>> along_axis(const Module& module, const Value* value, int axis, int rank) {
  auto tensor = evaluated(module, value);
  if (!tensor) return std::nullopt;
  const int own = axis - (rank - value->type.rank());  // scales broadcast to the trailing axes
  for (int i = 0; i < value->type.rank(); ++i)
    if (i != own && tensor->shape[static_cast<size_t>(i)] != 1) return std::nullopt;
  std::vector<double> numbers;
  for (int64_t i = 0; i < tensor->elements(); ++i) numbers.push_back(number(tensor->at(i)));
  return numbers;
}

}  // namespace lapidary::passes
