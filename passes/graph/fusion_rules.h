// What may be in one kernel with what: the contract between form_groups and the lowerings in passes/lower. What a
// lowering cannot take is not formed, and both sides read it here.
//
// A Group holds ordinary ops, an `anchor` that decides the iteration space, and a `family` that names the lowering:
//
//   contraction  anchor contract. Before it: views of operands (transpose, reshape, slice, broadcast, convert) that
//                strided_view (views.h) can turn into strides over the group's operand. After it: the epilogue.
//   conv         anchor conv or conv_transpose; epilogue. Weights and bias are operands of the group.
//   pool         anchor max_pool or average_pool.
//   attention    anchor the composite; views of q, k, v before it, transpose and reshape of its result after it.
//   lstm         anchor the composite.
//   row          reductions over trailing axes and softmax, layer_norm, rms_norm composites over one row space, with
//                elementwise ops before, between and after them; values have the row space's shape or are constant
//                along the reduced axes.
//   reduce       anchor another reduction; elementwise ops before it (the operand's shape) and after it (the result's).
//   elementwise  everything else: scalar ops, converts and ops that only move elements, evaluated backwards from the
//                results through index maps; all results have one shape.
//   loop         anchor a loop; its region holds groups in turn.
//
// Epilogue: scalar ops and converts of the anchor's shape, applied to the anchor's result before it is stored. Other
// operands are scalar constants in the group, or operands of the group: of the anchor's shape, or of less through
// broadcast.
#pragma once

#include "ir/graph.h"

namespace lapidary::passes {

// The family of a group whose anchor this op is.
std::string_view family_of(const Op&);

bool is_elementwise(const Op&);   // scalar ops and converts: element i of the result from element i of the operands
bool is_reduction(const Op&);
bool is_movement(const Op&);      // moves elements and computes none
bool is_stored_constant(const Module&, const Op&);   // of several elements: lives outside groups
bool is_leaf(const Module&, const Op&);              // computed from nothing, so copied into each group that reads it

}  // namespace lapidary::passes
