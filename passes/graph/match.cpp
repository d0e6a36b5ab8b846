// See match.h.
#include "passes/graph/match.h"

#include <algorithm>
#include <cmath>

#include "passes/graph/walk.h"

namespace lapidary::passes {

namespace {

bool is_one(Dim dim) { return value_of(dim) == 1; }

bool changes_units_only(const Op& reshape) {
  Shape from = reshape.operand(0)->type.shape, to = reshape.type().shape;
  std::erase_if(from, is_one);
  std::erase_if(to, is_one);
  return from == to;
}

// `steps`: how many ops may still be looked through; a value squared sixty times has 2^60 factors.
void collect(const Module& module, Value* value, Product& product, int& steps) {
  if (steps-- <= 0) return product.factors.push_back(value);
  if (Op* mul = producer_of_kind(value, OpKind::Mul)) {
    collect(module, mul->operand(0), product, steps);
    collect(module, mul->operand(1), product, steps);
    return;
  }
  if (auto number = number_of(module, value)) {
    product.number *= *number;
    return;
  }
  if (Op* div = producer_of_kind(value, OpKind::Div))
    if (auto divisor = number_of(module, div->operand(1))) {
      product.number /= *divisor;
      collect(module, div->operand(0), product, steps);
      return;
    }
  product.factors.push_back(value);
}

}  // namespace

Product product_of(const Module& module, Value* value) {
  constexpr int kMostSteps = 32;
  Product product;
  int steps = kMostSteps;
  collect(module, value, product, steps);
  return product;
}

bool close_to(double a, double b, DType dtype) {
  const double off = dtype == DType::F16 ? 0x1p-10 : dtype == DType::BF16 ? 0x1p-7 : 1e-6;
  return std::abs(a - b) <= off * std::max(std::abs(a), std::abs(b));
}

Value* plus_number(const Module& module, Value* value, double* number) {
  Op* add = producer_of_kind(value, OpKind::Add);
  if (!add) return nullptr;
  for (int i = 0; i < 2; ++i)
    if (auto found = number_of(module, add->operand(i))) {
      *number = *found;
      return add->operand(1 - i);
    }
  return nullptr;
}

Value* without_broadcast(Value* value) {
  while (value->producer) {
    const Op& op = *value->producer;
    if (!op.is(OpKind::Broadcast) && !(op.is(OpKind::Reshape) && changes_units_only(op))) break;
    value = op.operand(0);
  }
  return value;
}

Value* mean_of(Value* value, int* axis) {
  Op* mean = producer_of_kind(without_broadcast(value), OpKind::ReduceMean);
  if (!mean) return nullptr;
  const auto& axes = mean->params.integers("axes");
  int rank = mean->operand(0)->type.rank();
  if (axes.empty() || axes.front() + static_cast<int64_t>(axes.size()) != rank) return nullptr;
  *axis = static_cast<int>(axes.front());
  return mean->operand(0);
}

Value* aligned_with_trailing_axes(Value* value, int axis) {
  Op* broadcast = producer_of_kind(value, OpKind::Broadcast);
  if (!broadcast) return nullptr;
  Value* source = broadcast->operand(0);
  const auto& axes = broadcast->params.integers("axes");
  Shape trailing(value->type.shape.begin() + axis, value->type.shape.end());
  for (size_t i = 0; i < axes.size(); ++i)
    if (axes[i] < axis || axes[i] != axis + static_cast<int64_t>(i)) return nullptr;
  return source->type.shape == trailing ? source : nullptr;
}

}  // namespace lapidary::passes
