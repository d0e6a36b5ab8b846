// Gradients of reductions, prefix sums and products of tensors.
#include <algorithm>

#include "ir/error.h"
#include "passes/train/differentiate.h"

namespace lapidary::train {

namespace {

// A reduction's result or its gradient, as far as it goes: one for each element reduced.
Value* spread_over(GraphBuilder& b, Value* reduced, const Op& reduction) {
  return b.broadcast_to(b.expand_axes(reduced, reduction.params.integers("axes")), reduction.operand(0)->type.shape);
}

Dim elements_of(GraphBuilder& b, const Op& reduction) {
  Dim count = b.dim(1);
  for (int64_t axis : reduction.params.integers("axes"))
    count = b.module.dims.mul(count, reduction.operand(0)->type.shape[static_cast<size_t>(axis)]);
  return count;
}

void sum(Gradients& gradients, const Op& op) {
  gradients.add(op.operand(0), spread_over(gradients.build, gradients.of(op.result()), op));
}

void mean(Gradients& gradients, const Op& op) {
  GraphBuilder& b = gradients.build;
  Value* g = gradients.of(op.result());
  const Dim count = elements_of(b, op);
  Value* share = value_of(count)
                     ? b.mul(g, b.like(g, 1.0 / static_cast<double>(std::max<int64_t>(*value_of(count), 1))))
                     : b.div(g, b.convert(b.dims_tensor({count}, {}), g->type.dtype));
  gradients.add(op.operand(0), spread_over(b, share, op));
}

// Those that are the greatest share it.
void extreme(Gradients& gradients, const Op& op) {
  GraphBuilder& b = gradients.build;
  Value *x = op.operand(0), *g = gradients.of(op.result());
  Value* reached = b.scalar_op(ScalarOp::Equal, {x, spread_over(b, op.result(), op)});
  Value* one = b.convert(reached, g->type.dtype);
  Value* share = b.div(g, b.reduce(OpKind::ReduceSum, one, op.params.integers("axes")));
  gradients.add(x, b.select(reached, spread_over(b, share, op), b.splat(g->type.dtype, x->type.shape, 0)));
}

Value* running_product(GraphBuilder& b, Value* x, int axis, bool reverse) {
  return b
      .create(OpKind::Scan, {x},
              {{"axis", int64_t{axis}},
               {"op", std::string("mul")},
               {"exclusive", int64_t{1}},
               {"reverse", int64_t{reverse}}})
      .result();
}

// The product of the others, as that of those before times that of those behind: right where some are 0.
void product(Gradients& gradients, const Op& op) {
  GraphBuilder& b = gradients.build;
  Value* x = op.operand(0);
  const std::vector<int64_t>& axes = op.params.integers("axes");
  std::vector<int64_t> perm, back(static_cast<size_t>(x->type.rank()));
  for (int64_t axis = 0; axis < x->type.rank(); ++axis)
    if (std::ranges::find(axes, axis) == axes.end()) perm.push_back(axis);
  const auto kept = static_cast<int>(perm.size());
  perm.insert(perm.end(), axes.begin(), axes.end());
  for (size_t i = 0; i < perm.size(); ++i) back[static_cast<size_t>(perm[i])] = static_cast<int64_t>(i);
  Value* moved = b.transpose(x, perm);
  Shape flat(moved->type.shape.begin(), moved->type.shape.begin() + kept);
  flat.push_back(elements_of(b, op));
  Value* line = b.reshape(moved, flat);
  Value* others = b.mul(running_product(b, line, kept, false), running_product(b, line, kept, true));
  others = b.transpose(b.reshape(others, moved->type.shape), back);
  gradients.add(x, b.mul(spread_over(b, gradients.of(op.result()), op), others));
}

// Of a running sum, the running sum the other way.
void scan(Gradients& gradients, const Op& op) {
  GraphBuilder& b = gradients.build;
  if (op.params.text("op") != "add")
    throw Error(Fault::Unsupported,
                fmt::format("{}: the gradient of a running {}", b.module.describe(op.origin), op.params.text("op")));
  Params params = op.params;
  params.set("reverse", int64_t{op.params.integer_or("reverse", 0) == 0});
  gradients.add(op.operand(0), b.create(OpKind::Scan, {gradients.of(op.result())}, params).result());
}

void contract(Gradients& gradients, const Op& op) {
  GraphBuilder& b = gradients.build;
  const std::string& spec = op.params.text("spec");
  const size_t comma = spec.find(','), arrow = spec.find("->");
  const std::string left = spec.substr(0, comma), right = spec.substr(comma + 1, arrow - comma - 1),
                    result = spec.substr(arrow + 2);
  Value *x = op.operand(0), *y = op.operand(1), *g = gradients.of(op.result());
  if (gradients.wants(x)) gradients.add(x, b.contract(g, y, fmt::format("{},{}->{}", result, right, left)));
  if (gradients.wants(y)) gradients.add(y, b.contract(x, g, fmt::format("{},{}->{}", left, result, right)));
}

}  // namespace

GradientRule sum_rule(const Op& op) {
  switch (op.kind) {
    case OpKind::ReduceSum:
      return sum;
    case OpKind::ReduceMean:
      return mean;
    case OpKind::ReduceMax:
    case OpKind::ReduceMin:
      return extreme;
    case OpKind::ReduceProd:
      return product;
    case OpKind::Scan:
      return scan;
    case OpKind::Contract:
      return op.params.has("to") ? nullptr : contract;
    default:
      return nullptr;
  }
}

}  // namespace lapidary::train
