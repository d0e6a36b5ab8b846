// The forward pass keeps the gates and c of every step; the composite `recurrent_gradient` goes back through them to
// the gradient of all sums before the gates, da. Those of r and of the states before the first step are products with
// it.
#include "ir/gradient_recurrent.h"

#include "ir/composites.h"

namespace lapidary {

namespace {

Value* taken(GraphBuilder& b, Value* value, int axis, int index) {
  return b.drop_axes(b.slice_axis(value, axis, b.dim(index), b.dim(1)), {axis});
}

bool goes_backwards(int64_t direction, int index) { return direction == composites::kReverse || index == 1; }

// How many steps are the first one: 1, or 0 of none.
Dim first_steps(DimPool& dims, Dim steps) { return dims.less(dims.constant(0), steps); }

// What each step of a direction found: [S, B, H] one step later, behind what the first one began with [B, H].
Value* shifted(GraphBuilder& b, Value* states, Value* first, bool reverse) {
  DimPool& dims = b.module.dims;
  const Dim steps = states->type.shape[0], count = first_steps(dims, steps), rest = dims.sub(steps, count);
  Value* begin = b.slice_axis(b.expand_axes(first, {0}), 0, b.dim(0), count);
  if (reverse) return b.concat({b.slice_axis(states, 0, count, rest), begin}, 0);
  return b.concat({begin, b.slice_axis(states, 0, b.dim(0), rest)}, 0);
}

// What comes back to h before the first step: from its gates [S, B, 4·H]; without a step, what came back to the last h.
Value* before_first(GraphBuilder& b, Value* of_gates, Value* r, Value* of_last_h, bool reverse) {
  DimPool& dims = b.module.dims;
  const Dim steps = of_gates->type.shape[0], count = first_steps(dims, steps);
  Value* first = b.slice_axis(of_gates, 0, reverse ? dims.sub(steps, count) : b.dim(0), count);
  if (value_of(count) == 1) return b.contract(b.drop_axes(first, {0}), r, "bg,gh->bh");
  Value* of_h0 = b.contract(b.reduce(OpKind::ReduceSum, first, {0}), r, "bg,gh->bh");
  Value* is_none = b.scalar_op(ScalarOp::Equal, {b.dims_tensor({count}, {}), b.dims_tensor({b.dim(0)}, {})});
  return b.select(is_none, of_last_h, of_h0);
}

// The same layer with its gates kept, in its place.
std::vector<Value*> with_gates(Module& module, const Op& op) {
  GraphBuilder forward(module, *op.region, op.self);
  forward.origin = op.origin;
  composites::Recurrence of{.cell = "lstm", .direction = static_cast<int>(op.params.integer("direction"))};
  of.xw = op.operand(0), of.r = op.operand(1), of.h0 = op.operand(2), of.c0 = op.operand(3);
  of.gates = true;
  return composites::recurrent(forward, of);
}

void lstm(Gradients& gradients, const Op& op) {
  GraphBuilder& b = gradients.build;
  const int64_t direction = op.params.integer("direction");
  const int directions = direction == composites::kBothDirections ? 2 : 1;
  const std::vector<Value*> forward = with_gates(b.module, op);
  const auto gradient = [&](int result) {
    const Type& type = forward[static_cast<size_t>(result)]->type;
    Value* g = gradients.of(op.result(result));
    return g ? g : b.splat(type.dtype, type.shape, 0);
  };
  Value* of_last_h = gradient(1);
  const std::vector<Value*> back = composites::recurrent_gradient(b, {.direction = static_cast<int>(direction),
                                                                      .r = op.operand(1),
                                                                      .dy = gradient(0),
                                                                      .dh = of_last_h,
                                                                      .dc = gradient(2),
                                                                      .gates = forward[3],
                                                                      .cells = forward[4],
                                                                      .c0 = op.operand(3)});
  std::vector<Value*> of_r, of_h0;
  for (int d = 0; d < directions; ++d) {
    const bool reverse = goes_backwards(direction, d);
    Value *of_gates = taken(b, back[0], 2, d), *r = taken(b, op.operand(1), 0, d);  // [S, B, 4·H], [4·H, H]
    Value* states = shifted(b, taken(b, forward[0], 1, d), taken(b, op.operand(2), 0, d), reverse);
    of_r.push_back(b.expand_axes(b.contract(of_gates, states, "sbg,sbk->gk"), {0}));
    if (!gradients.wants(op.operand(2))) continue;
    of_h0.push_back(b.expand_axes(before_first(b, of_gates, r, taken(b, of_last_h, 0, d), reverse), {0}));
  }
  const auto joined = [&](const std::vector<Value*>& parts) { return directions == 1 ? parts[0] : b.concat(parts, 0); };
  gradients.add(op.operand(0), back[0]);
  gradients.add(op.operand(1), joined(of_r));
  if (!of_h0.empty()) gradients.add(op.operand(2), joined(of_h0));
  gradients.add(op.operand(3), back[1]);
  for (int i = 0; i < 3; ++i) op.result(i)->replace_all_uses(forward[static_cast<size_t>(i)]);
}

}  // namespace

// What an LSTM keeps for its gradient, the gates and c of every step, a gradient of that gradient comes back to: then
// the rule of the loop that it is made of is the one.
GradientRule recurrent_rule(const Op& op) {
  for (size_t i = 3; i < op.results.size(); ++i)
    if (!op.results[i]->uses.empty()) return nullptr;
  return op.params.text("cell") == "lstm" && op.params.integer("lengths") == 0 ? lstm : nullptr;
}

}  // namespace lapidary
