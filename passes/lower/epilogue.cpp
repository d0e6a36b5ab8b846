#include "passes/lower/epilogue.h"

namespace lapidary::lowering {

namespace {

// Vector instructions of one scalar op, roughly.
int weight_of(const Op& op) {
  switch (op.kind) {
    case OpKind::Exp: case OpKind::Log: case OpKind::Sin: case OpKind::Cos: case OpKind::Tan: case OpKind::Asin:
    case OpKind::Acos: case OpKind::Atan: case OpKind::Sinh: case OpKind::Cosh: case OpKind::Tanh: case OpKind::Asinh:
    case OpKind::Acosh: case OpKind::Atanh: case OpKind::Erf: case OpKind::Sigmoid: case OpKind::Pow:
      return 30;
    default:
      return is_scalar_op(op.kind) ? 1 : 0;
  }
}

int weight_of(const Region& region, const Op* after) {
  int weight = 0;
  bool follows = !after;
  for (const Op& op : region.ops) {
    if (follows) weight += weight_of(op);
    for (const auto& inner : op.regions)
      if (follows) weight += weight_of(*inner, nullptr);
    follows |= &op == after;
  }
  return weight;
}

}  // namespace

loops::Buffer epilogue_stage(KernelBuilder& builder, const Op& group, const Op& anchor, int64_t elements) {
  const int most = builder.target.vector_registers >= 32 ? 12 : 3;
  if (weight_of(*group.regions[0], &anchor) <= most) return nullptr;
  return builder.stage("tile", DType::F32, builder.dim(elements));
}

}  // namespace lapidary::lowering
