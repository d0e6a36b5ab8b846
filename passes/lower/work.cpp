#include "passes/lower/work.h"

#include <algorithm>

#include "ir/contract_spec.h"
#include "ir/layout.h"

namespace lapidary::lowering {

namespace {

Dim region_flops(Module& module, const Op& op) {
  Dim total = module.dims.constant(0);
  for (const auto& region : op.regions)
    for (const Op& inner : region->ops) total = module.dims.add(total, flops_of(module, inner));
  return total;
}

// 2 · every extent once.
Dim contraction_flops(Module& module, const Op& op) {
  const ContractSpec spec = contract_spec(op);
  std::string seen = spec.result;
  Dim total = module.dims.mul(module.dims.constant(2), element_count(module.dims, op.type()));
  for (size_t i = 0; i < spec.left.size(); ++i) {
    if (seen.find(spec.left[i]) != std::string::npos) continue;
    seen += spec.left[i];
    total = module.dims.mul(total, op.operand(0)->type.shape[i]);
  }
  return total;
}

Dim convolution_flops(Module& module, const Op& op) {
  const Value* walked = op.is(OpKind::Conv) ? op.result() : op.operand(0);
  const Type& weights = op.operand(1)->type;
  Dim total = module.dims.mul(module.dims.constant(2), element_count(module.dims, walked->type));
  for (size_t i = 1; i < weights.shape.size(); ++i) total = module.dims.mul(total, weights.shape[i]);
  return total;
}

// A product for each element of dy and each weight of its output channel.
Dim filter_gradient_flops(Module& module, const Op& op) {
  DimPool& dims = module.dims;
  Dim total = dims.mul(dims.constant(2), element_count(dims, op.operand(1)->type));
  for (size_t axis = 1; axis < op.type().shape.size(); ++axis) total = dims.mul(total, op.type().shape[axis]);
  return total;
}

Dim pool_flops(Module& module, const Op& op) {
  Dim total = element_count(module.dims, op.type());
  for (int64_t extent : op.params.integers("kernel")) total = module.dims.mul(total, module.dims.constant(extent));
  return total;
}

}  // namespace

Dim flops_of(Module& module, const Op& op) {
  switch (op.kind) {
#define SCALAR_OP(kind, text, operands, types, result) case OpKind::kind:
#include "ir/scalar_ops.def"
#undef SCALAR_OP
    return element_count(module.dims, op.type());
    case OpKind::Scatter:
      return element_count(module.dims, op.operand(2)->type);
    case OpKind::Scan:
    case OpKind::TopK:
    case OpKind::ReduceSum:
    case OpKind::ReduceProd:
    case OpKind::ReduceMax:
    case OpKind::ReduceMin:
    case OpKind::ReduceMean:
      return element_count(module.dims, op.operand(0)->type);
    case OpKind::Contract:
      return contraction_flops(module, op);
    case OpKind::Conv:
    case OpKind::ConvTranspose:
      return convolution_flops(module, op);
    case OpKind::ConvFilterGradient:
      return filter_gradient_flops(module, op);
    case OpKind::MaxPool:
    case OpKind::AveragePool:
    case OpKind::MaxPoolTap:
    case OpKind::MaxPoolGradient:
      return pool_flops(module, op);
    case OpKind::Loop:
      return module.dims.mul(op.params.dim("trips"), region_flops(module, op));
    case OpKind::Composite:
    case OpKind::Group:
      return region_flops(module, op);
    case OpKind::TruePositions:
      return element_count(module.dims, op.operand(0)->type);
    case OpKind::Suppress:
    case OpKind::HostCall:
    case OpKind::If:  // of which one branch runs
    case OpKind::ToHost:
    case OpKind::Constant:
    case OpKind::DimsTensor:
    case OpKind::Iota:
    case OpKind::Convert:
    case OpKind::Broadcast:
    case OpKind::Reshape:
    case OpKind::Transpose:
    case OpKind::Slice:
    case OpKind::Concat:
    case OpKind::Pad:
    case OpKind::Gather:
    case OpKind::GatherElements:
    case OpKind::BitCast:
    case OpKind::Relayout:
    case OpKind::Yield:
      return module.dims.constant(0);
  }
  return module.dims.constant(0);
}

namespace {

// Of a slice: only what is its own.
Dim own_bytes(Module& module, Type type) {
  type.layout.leading = nullptr;
  return physical_bytes(module.dims, type);
}

// Of an operand, inside the group. A table that is only gathered from is read where it is gathered, not as a whole.
Dim bytes_read(Module& module, const Value& argument) {
  auto is_gather = [](const Use& use) {
    return use.operand == 0 && (use.op->is(OpKind::Gather) || use.op->is(OpKind::GatherElements));
  };
  if (argument.uses.empty() || !std::ranges::all_of(argument.uses, is_gather)) return own_bytes(module, argument.type);
  Dim total = module.dims.constant(0);
  for (const Use& use : argument.uses) total = module.dims.add(total, own_bytes(module, use.op->type()));
  return total;
}

}  // namespace

Dim bytes_of(Module& module, const Op& group) {
  Dim total = module.dims.constant(0);
  for (const auto& argument : group.regions[0]->arguments)
    total = module.dims.add(total, bytes_read(module, *argument));
  for (const auto& result : group.results) total = module.dims.add(total, own_bytes(module, result->type));
  return total;
}

int vector_instructions(const Region& region, const Op* after) {
  int count = 0;
  bool follows = !after;
  for (const Op& op : region.ops) {
    if (follows && is_scalar_op(op.kind)) count += is_maths(scalar_op(op.kind)) ? 30 : 1;
    for (const auto& inner : op.regions)
      if (follows) count += vector_instructions(*inner);
    follows |= &op == after;
  }
  return count;
}

}  // namespace lapidary::lowering
