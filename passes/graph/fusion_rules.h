// What may be in one kernel with what: the contract between form_groups and the lowerings in passes/lower. What a
// lowering cannot take is not formed, and both sides read it here.
//
// A Group holds ordinary ops, an `anchor` that decides the iteration space, and a `family` that names the lowering:
//
//   contraction  anchor contract. Before it: shape ops on operands of the group that are a strided view (views.h).
//                After it: the epilogue, and reshape and transpose of the result.
//   conv         anchor conv or conv_transpose; epilogue. Input, weights and bias are operands of the group.
//   In both, a residual may lie as codes of a byte: the ops that make numbers of it are inside (dequantizes).
//   pool         anchor max_pool or average_pool, alone.
//   attention    anchor the composite; strided views of q, k, v with adjacent last axes before it; after it the
//                epilogue, reshape and transpose.
//   packed       anchor the composite matmul_packed; epilogue, and reshape and transpose of the result.
//   recurrent, linear_attention, trees, scatter, scan, top_k, bit_cast, positions, suppress  anchor the op of that
//   name, alone. row          reductions over trailing axes and softmax, layer_norm, rms_norm composites over one row
//   space, with
//                elementwise ops before, between and after them; values have the row space's shape or are constant
//                along the reduced axes.
//   reduce       anchor another reduction; elementwise ops before it (the operand's shape) and after it (the result's).
//   elementwise  everything else: scalar ops, converts and ops that only move elements, evaluated backwards from the
//                results through index maps; all results have one shape.
//   loop         anchor a loop, alone; its region holds groups in turn.
//
// Epilogue: scalar ops and converts of the anchor's shape, applied to the anchor's result before it is stored; one
// result. Their other operands are scalars inside the group, or values of the group's operands of that shape, directly
// or through broadcast and reshape.
//
// What an anchor reads itself is an operand of the group, constants of one element included; numbers that other ops
// read are inside.
#pragma once

#include "ir/graph.h"

namespace lapidary::passes {

// The family of a group whose anchor this op is; "elementwise" for all that anchor nothing.
std::string_view family_of(const Op&);

bool is_elementwise(const Op&);  // scalar ops and converts: element i of the result from element i of the operands
bool is_reduction(const Op&);
// A conversion of bytes to wider numbers, or such times or plus numbers known to be the same for all.
bool dequantizes(const Module&, const Op&);
bool is_movement(const Op&);             // moves elements and computes none
bool keeps_last_axis(const Op&);         // a shape op after which vectors along the last axis are still vectors
bool is_leaf(const Module&, const Op&);  // computed from nothing, so copied into each group that reads it
bool is_kept_composite(const Op&);       // one a lowering knows by name; others are replaced by their bodies

// May this op follow the anchor in a group of the anchor's family, when one of its operands is in the group?
bool may_follow(const Op& anchor, const Op& op);

// May this op, all readers of which inside the group are `reader`s that are not the anchor, be computed in a group of
// this family instead of being read from memory? For ops that only move elements; `elementwise` producers of row,
// reduce and elementwise groups are form_groups' own matter.
bool may_move_into(std::string_view family, const Op& movement);

}  // namespace lapidary::passes
