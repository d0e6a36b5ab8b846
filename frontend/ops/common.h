// Small things several operator families share.
#pragma once

#include <optional>

#include "frontend/op_table.h"

namespace lapidary::frontend {

// The constant a value is, when it comes straight from a constant op.
const Constant* constant_of(const Module&, const Value*);
// Its elements as numbers; nothing when it is no constant or has more than 64 elements.
std::optional<std::vector<Scalar>> scalars_of(const Module&, const Value*);
// One element known now: of a constant, or of integers with known elements.
std::optional<Scalar> scalar_of(const Module&, const Value*);

// x where `condition` holds, 0 elsewhere, and the like: a scalar of x's element type.
inline Value* zero(Node& node, Value* x) { return node.build.like(x, 0); }

// Operators up to opset 6 align b's axes with a's axes from `axis` on, when `broadcast` is set.
Value* legacy_aligned(Node&, Value* a, Value* b);

// Constant indices are looked at now; others are the run's affair. Consecutive ones go round these extents.
void check_indices(Node&, const Value* indices, std::span<const Dim> extents);

// ONNX's index tuples [..., width] into the first axes of this shape as row-major positions [...]. A tuple that is out
// of range in any place becomes a position that is.
struct IndexTuples {
  int64_t width;
  Value* positions;
};
IndexTuples index_tuples(Node&, const Shape&, Value* indices);
void check_rank(const Value*, int rank, const char* what);
// Some exporters give single numbers one axis of one element.
Value* as_scalar(GraphBuilder&, Value*, const char* what);
void require_same(Node&, Dim, Dim, const char* what);  // now, or when shapes are bound

// Parts of these sizes, one after the other along an axis.
std::vector<Value*> split_into(Node&, Value* x, int axis, const Shape& sizes);  // ops/move.cpp
// a as rank 2: all axes before `axis`, and all others.
Value* flattened(Node&, Value* a, int axis);
// Computes in at least float32: f16 and bf16 are converted before and the result after `compute`.
template <typename Compute>
Value* in_float32(Node& node, Value* x, Compute compute) {
  DType dtype = x->type.dtype;
  if (dtype != DType::F16 && dtype != DType::BF16) return compute(x);
  return node.build.convert(compute(node.build.convert(x, DType::F32)), dtype);
}

// What operators fused by ONNX Runtime end with, named by the attribute `activation` (none: x itself); its numbers
// are one list, activation_params, or one attribute each, activation_alpha and activation_beta.
Value* activated(Node&, Value* x);  // ops/activation.cpp

}  // namespace lapidary::frontend
