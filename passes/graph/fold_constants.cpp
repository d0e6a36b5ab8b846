// Fold constants: what depends on nothing but constants is computed now.
//
//  - Integer values whose elements are known as Dims become dims_tensor: shape arithmetic disappears even where
//    extents are symbols.
//  - Results of up to 64K elements are evaluated by the interpreter, so folding and the meaning of an op cannot differ.
//  - Large constants are never touched: a transpose, reshape or convert of one is appended to its transforms and done
//    once, when the artifact is written. Other ops on them stay for run time.
//
// Broadcasts are kept: they cost nothing inside a kernel and would store copies. Test: test/passes/fold_constants/.
#include <algorithm>
#include <cmath>

#include "ir/graph_builder.h"
#include "ir/interpreter.h"
#include "passes/graph/graph_passes.h"
#include "passes/graph/walk.h"

namespace lapidary::passes {

namespace {

constexpr int64_t kMaxFolded = 64 << 10;  // elements of a result
constexpr int64_t kMaxRead = 1 << 20;     // elements of an operand: 8 MB while folding

std::optional<std::vector<int64_t>> known_shape(const Shape& shape) {
  std::vector<int64_t> extents;
  for (Dim dim : shape) {
    auto extent = value_of(dim);
    if (!extent) return std::nullopt;
    extents.push_back(*extent);
  }
  return extents;
}

std::optional<int64_t> known_elements(const Type& type) {
  auto extents = known_shape(type.shape);
  if (!extents) return std::nullopt;
  int64_t count = 1;
  for (int64_t extent : *extents)
    if (__builtin_mul_overflow(count, extent, &count)) return std::nullopt;
  return count;
}

// The value as a transform of the constant its producer reads, where there is a transform of that meaning.
Value* as_transform(GraphBuilder& b, Op& op) {
  if (op.operands.size() != 1) return nullptr;
  auto source = constant_of(op.operand(0));
  auto shape = known_shape(op.type().shape);
  if (!source || !shape) return nullptr;
  Transform transform;
  if (op.is(OpKind::Transpose)) {
    transform.kind = Transform::Kind::Transpose;
    transform.axes = op.params.integers("perm");
  } else if (op.is(OpKind::Reshape)) {
    transform.kind = Transform::Kind::Reshape;
    transform.shape = *shape;
  } else if (op.is(OpKind::Convert) && is_float(op.type().dtype) && is_float(op.operand(0)->type.dtype)) {
    transform.kind = Transform::Kind::Convert;
    transform.dtype = op.type().dtype;
  } else {
    return nullptr;
  }
  return b.constant(b.module.constants.transformed(*source, transform));
}

// The known integers of a value that is not spelled as such yet.
Value* as_dims(GraphBuilder& b, Op& op) {
  Value* result = op.result();
  if (!result->has_elements() || result->elements.empty() || op.is(OpKind::DimsTensor) || op.is(OpKind::Constant))
    return nullptr;
  auto shape = known_shape(result->type.shape);
  return shape ? b.dims_tensor(result->elements, *shape, result->type.dtype) : nullptr;
}

// The elements of a constant, of a broadcast of one, or of a row that counts.
std::optional<Tensor> known_tensor(const Module& module, const Value* value) {
  auto count = known_elements(value->type);
  if (!count || *count > kMaxRead) return std::nullopt;
  if (auto id = constant_of(value))
    return Tensor::from_bytes(value->type.dtype, module.constants[*id].shape, module.constants.bytes_of(*id));
  if (Op* iota = producer_of_kind(value, OpKind::Iota); iota && value->type.rank() == 1 && *count <= kMaxFolded) {
    auto counted = interpret_op(module, *iota, {});
    return counted ? std::optional((*counted)[0]) : std::nullopt;
  }
  Op* broadcast = producer_of_kind(value, OpKind::Broadcast);
  auto source = broadcast ? known_tensor(module, broadcast->operand(0)) : std::nullopt;
  if (!source) return std::nullopt;
  return interpret_op(module, *broadcast, {&*source, 1}).value()[0];
}

std::optional<std::vector<Tensor>> known_operands(const Module& module, const Op& op) {
  std::vector<Tensor> tensors;
  for (const Value* operand : op.operands) {
    auto tensor = known_tensor(module, operand);
    if (!tensor) return std::nullopt;
    tensors.push_back(std::move(*tensor));
  }
  return tensors;
}

// Multiplications and comparisons of an op over windows or of products, about.
double work_of(const Op& op) {
  const auto count = [](const Value* value) {
    return static_cast<double>(known_elements(value->type).value_or(INT64_MAX));
  };
  const double results = count(op.result());
  if (op.is(OpKind::Contract)) return std::sqrt(results * count(op.operand(0)) * count(op.operand(1)));
  if (op.is(OpKind::Conv) || op.is(OpKind::ConvFilterGradient)) {  // each y meets the weights of its channel
    const auto outputs = value_of((op.is(OpKind::Conv) ? op.operand(1) : op.result())->type.shape[0]);
    return results * count(op.operand(1)) / static_cast<double>(std::max<int64_t>(outputs.value_or(1), 1));
  }
  if (!op.params.has("kernel")) return results;
  double window = 1;
  for (int64_t extent : op.params.integers("kernel")) window *= static_cast<double>(extent);
  return results * window;
}

bool may_evaluate(const Op& op) {
  if (op.is(OpKind::Constant) || op.is(OpKind::Broadcast) || op.is(OpKind::Yield) || op.is(OpKind::Iota)) return false;
  if (op.is_control() || op.is(OpKind::HostCall)) return false;  // they may take for ever
  for (const auto& result : op.results)
    if (auto count = known_elements(result->type); !count || *count > kMaxFolded) return false;
  constexpr double kMostWork = 5e7;
  if (work_of(op) > kMostWork) return false;
  return true;
}

bool evaluate_now(GraphBuilder& b, Op& op) {
  if (!may_evaluate(op)) return false;
  auto operands = known_operands(b.module, op);
  if (!operands) return false;
  auto results = interpret_op(b.module, op, *operands);
  if (!results) return false;
  for (size_t i = 0; i < results->size(); ++i) {
    const Tensor& tensor = (*results)[i];
    replace_value(op.results[i].get(),
                  b.constant(b.module.constants.add_bytes(tensor.dtype, tensor.shape, tensor.to_bytes())));
  }
  return true;
}

bool fold(Module& module, Region& body, Op& op) {
  if (std::ranges::any_of(op.results, [](const auto& result) { return names_dims(result.get()); })) return false;
  GraphBuilder builder(module, body, op.self);
  builder.origin = op.origin;
  Value* single = nullptr;
  if (op.results.size() == 1) {
    single = as_dims(builder, op);
    if (!single) single = as_transform(builder, op);
  }
  if (single) replace_value(op.result(), single);
  return single || evaluate_now(builder, op);
}

}  // namespace

bool fold_constants(Module& module, const Options&) {
  return for_each_op(module, [&](Region& body, Op& op) {
    if (op.is(OpKind::Yield) || !fold(module, body, op)) return false;
    erase_with_dead_producers(op);
    return true;
  });
}

}  // namespace lapidary::passes
