// Gradients of reductions, prefix sums and products of tensors.
#include <algorithm>

#include "ir/differentiate.h"
#include "ir/error.h"

namespace lapidary {

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

Value* running(GraphBuilder& b, const Op& scan, Value* x, const std::string& op, bool exclusive,
               bool other_way = false) {
  const bool reverse = (scan.params.integer_or("reverse", 0) != 0) != other_way;
  return b
      .create(OpKind::Scan, {x},
              {{"axis", scan.params.integer("axis")},
               {"op", op},
               {"exclusive", int64_t{exclusive}},
               {"reverse", int64_t{reverse}}})
      .result();
}

// With p the product of all before x_j, dx_j = p·s_j where s_j = Σ g_i · (product from behind x_j up to y_i), which is
// one recurrence the other way: m = x_j·(g_j + m) gives s_j = g_j + m, or, exclusive, m = g_j + x_j·m gives s_j = m.
Value* of_running_product(GraphBuilder& b, const Op& op, Value* g, bool exclusive) {
  Value* x = op.operand(0);
  const auto axis = static_cast<int>(op.params.integer("axis"));
  const bool reverse = op.params.integer_or("reverse", 0) != 0;
  const Dim count = x->type.shape[static_cast<size_t>(axis)];
  Shape line = x->type.shape;
  line.erase(line.begin() + axis);
  Value* stacked = b.loop(
      count, {b.splat(g->type.dtype, line, 0)}, {x, g}, !reverse, [&](GraphBuilder& step, std::span<Value* const> at) {
        Value* last = step.dims_tensor({step.module.dims.sub(count, step.dim(1))}, {});
        Value* place = reverse ? at[0] : step.sub(last, at[0]);
        Value *x_now = step.gather(at[2], place, axis, true), *g_now = step.gather(at[3], place, axis, true);
        if (exclusive) return std::vector<Value*>{step.add(g_now, step.mul(x_now, at[1])), at[1]};
        Value* sum = step.add(g_now, at[1]);
        return std::vector<Value*>{step.mul(x_now, sum), sum};
      })[1];
  std::vector<int64_t> perm;
  for (int64_t i = 1; i < x->type.rank(); ++i) perm.push_back(i);
  perm.insert(perm.begin() + axis, 0);
  return b.mul(running(b, op, x, "mul", true), b.transpose(stacked, perm));
}

// Each gradient goes to the element that was the extreme then, which is the last one before that exceeded all others.
Value* of_running_extreme(GraphBuilder& b, const Op& op, Value* g, bool exclusive) {
  Value* x = op.operand(0);
  const std::string& kind = op.params.text("op");
  const auto axis = static_cast<int>(op.params.integer("axis"));
  const bool reverse = op.params.integer_or("reverse", 0) != 0;
  Value* before = running(b, op, x, kind, true);
  Value* exceeds = kind == "max" ? b.scalar_op(ScalarOp::Less, {before, x}) : b.scalar_op(ScalarOp::Less, {x, before});
  Value *place = b.iota(DType::I64, x->type.shape, axis), *zero = b.like(place, 0);
  Value* count = b.broadcast(b.dims_tensor({x->type.shape[static_cast<size_t>(axis)]}, {}), {}, x->type.shape);
  Value* none = reverse ? count : b.broadcast(b.like(place, -1), {}, x->type.shape);
  Value* source = running(b, op, b.select(exceeds, place, none), reverse ? "min" : "max", exclusive);
  Value* is_there =
      reverse ? b.scalar_op(ScalarOp::Less, {source, count}) : b.scalar_op(ScalarOp::LessEqual, {zero, source});
  Value* nothing = b.splat(g->type.dtype, g->type.shape, 0);
  return b.scatter(nothing, b.select(is_there, source, zero), b.select(is_there, g, nothing), axis, true, "add");
}

void scan(Gradients& gradients, const Op& op) {
  GraphBuilder& b = gradients.build;
  Value *x = op.operand(0), *g = gradients.of(op.result());
  const std::string& kind = op.params.text("op");
  const bool exclusive = op.params.integer_or("exclusive", 0) != 0;
  if (kind == "add")  // the running sum the other way
    gradients.add(x, running(b, op, g, kind, exclusive, true));
  else
    gradients.add(x, kind == "mul" ? of_running_product(b, op, g, exclusive) : of_running_extreme(b, op, g, exclusive));
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
      LPD_UNREACHABLE("{} is of another file", name_of(op.kind));
  }
}

}  // namespace lapidary
