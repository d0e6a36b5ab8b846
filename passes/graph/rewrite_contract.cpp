// Transposes next to a contraction become part of its spec: the lowering walks any order of axes by strides.
//
//   %3 = transpose %2 perm=[0, 1, 3, 2]   %4 = contract %1, %3 spec="abmk,abkn->abmn"
//   →  %4 = contract %1, %2 spec="abmk,abnk->abmn"
#include <algorithm>

#include "ir/contract_spec.h"
#include "passes/graph/rewrites.h"
#include "passes/graph/walk.h"

namespace lapidary::passes {

namespace {

// contract(transpose(a), b; spec) == contract(a, b; spec with a's letters permuted back)
Value* transposed_operand(GraphBuilder& b, Op& op) {
  if (!op.is(OpKind::Contract)) return nullptr;
  ContractSpec spec = contract_spec(op);
  for (int i = 0; i < 2; ++i) {
    Op* transpose = producer_of_kind(op.operand(i), OpKind::Transpose);
    if (!transpose) continue;
    std::string& letters = i == 0 ? spec.left : spec.right;
    std::string before = letters;
    const auto& perm = transpose->params.integers("perm");
    for (size_t axis = 0; axis < perm.size(); ++axis) before[perm[axis]] = letters[axis];
    letters = before;
    return b.contract(i == 0 ? transpose->operand(0) : op.operand(0), i == 1 ? transpose->operand(0) : op.operand(1),
                      to_string(spec));
  }
  return nullptr;
}

// transpose(contract(a, b; spec)) == contract(a, b; spec with the result's letters permuted), when the result's last
// letter belongs to one operand: then it is still written in whole vectors.
Value* transposed_result(GraphBuilder& b, Op& op) {
  if (!op.is(OpKind::Transpose)) return nullptr;
  Op* contract = producer_of_kind(op.operand(0), OpKind::Contract);
  if (!contract || !contract->result()->has_one_use()) return nullptr;
  ContractSpec spec = contract_spec(*contract);
  std::string result;
  for (int64_t axis : op.params.integers("perm")) result += spec.result[axis];
  bool in_left = spec.left.find(result.back()) != std::string::npos,
       in_right = spec.right.find(result.back()) != std::string::npos;
  if (in_left && in_right) return nullptr;
  spec.result = result;
  return b.contract(contract->operand(0), contract->operand(1), to_string(spec));
}

constexpr Rewrite kRewrites[] = {transposed_operand, transposed_result};

}  // namespace

std::span<const Rewrite> contract_rewrites() { return kRewrites; }

}  // namespace lapidary::passes
