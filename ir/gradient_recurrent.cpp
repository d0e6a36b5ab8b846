// One direction of an LSTM, in the gates' order i, o, f, z, with a_t = xw_t + h_(t-1)·rᵀ:
//
//   c_t = f·c_(t-1) + i·z       h_t = o·tanh(c_t)
//
// The forward pass keeps the gates and c of every step. From the last step to the first, with dh and dc coming back:
//
//   dh += dy_t                     da_t = (dc·z·i(1-i), dh·tanh(c_t)·o(1-o), dc·c_(t-1)·f(1-f), dc·i·(1-z²))
//   dc += dh·o·(1 - tanh²(c_t))    dc = dc·f      dh = da_t·r
//
// whose factors without dh and dc are made for all steps before; and dr is one product of all da and all h.
#include "ir/gradient_recurrent.h"

#include "ir/composites.h"

namespace lapidary {

namespace {

class LstmDirection {
 public:
  // r [4·H, H], h0 and c0 [B, H], y and c of each step [S, B, H], the gates behind their activations [S, B, 4·H].
  struct Forward {
    Value *r, *h0, *c0, *y, *cells, *gates;
  };
  LstmDirection(GraphBuilder& builder, bool reverse, const Forward& of)
      : b_(builder), reverse_(reverse), steps_(of.y->type.shape[0]), hidden_(of.h0->type.shape[1]), of_(of) {}

  struct Result {
    Value *xw, *r, *h0, *c0;
  };
  // Of gradients by y [S, B, H] and the last h and c [B, H].
  Result backwards(Value* dy, Value* dh, Value* dc) {
    Value *i = gate(0), *o = gate(1), *f = gate(2), *z = gate(3);
    Value* bent = op(ScalarOp::Tanh, of_.cells);
    Value* of_c = b_.mul(o, one_minus(b_.mul(bent, bent)));
    std::vector<Value*> parts = {b_.mul(z, slope(i)), b_.mul(bent, slope(o)), slope(f),
                                 b_.mul(i, one_minus(b_.mul(z, z)))};
    for (Value*& part : parts) part = b_.expand_axes(part, {2});
    Value* factors = b_.concat(parts, 2);  // [S, B, 4, H]
    const std::vector<Value*> done =
        b_.loop(steps_, {dh, dc}, {dy, of_c, f, factors, of_.r, of_.cells, of_.c0}, !reverse_,
                [&](GraphBuilder& step, std::span<Value* const> at) {
                  Value* t = time(step, at[0], !reverse_);
                  const auto now = [&](int capture) { return step.gather(at[3 + capture], t, 0); };
                  Value* h = step.add(at[1], now(0));
                  Value* c = step.add(at[2], step.mul(h, now(1)));
                  Value* a = step.mul(now(3), of_gates(step, h, c, before(step, t, at[8], at[9])));
                  a = step.reshape(a, {a->type.shape[0], times(4)});
                  return std::vector<Value*>{step.contract(a, at[7], "bg,gh->bh"), step.mul(c, now(2)), a};
                });
    return {done[2], b_.contract(done[2], shifted(of_.y, of_.h0), "sbg,sbk->gk"), done[0], done[1]};
  }

 private:
  // [B, H] → [B, 4, H]: what comes back to the gates, to o by h, to the others by c, to f times c before the step.
  static Value* of_gates(GraphBuilder& step, Value* h, Value* c, Value* c_before) {
    Value* gate = step.iota(DType::I32, {step.dim(4), step.dim(1)}, 0);
    const auto is = [&](int index) { return step.scalar_op(ScalarOp::Equal, {gate, step.like(gate, index)}); };
    Value* of_f = step.expand_axes(step.mul(c, c_before), {1});
    return step.select(is(1), step.expand_axes(h, {1}), step.select(is(2), of_f, step.expand_axes(c, {1})));
  }
  // c before step t.
  Value* before(GraphBuilder& step, Value* t, Value* cells, Value* c0) const {
    Value* last = step.dims_tensor({step.module.dims.sub(steps_, step.dim(1))}, {});
    Value* first = reverse_ ? last : step.like(t, 0);
    Value* one = step.like(t, 1);
    Value* at = reverse_ ? step.scalar_op(ScalarOp::Min, {step.add(t, one), last})
                         : step.scalar_op(ScalarOp::Max, {step.sub(t, one), first});
    return step.select(step.scalar_op(ScalarOp::Equal, {t, first}), c0, step.gather(cells, at, 0));
  }
  Value* op(ScalarOp kind, Value* x) { return b_.scalar_op(kind, {x}); }
  Value* one_minus(Value* x) { return b_.sub(b_.like(x, 1), x); }
  Value* slope(Value* sigmoid) { return b_.mul(sigmoid, one_minus(sigmoid)); }
  Dim times(int64_t gates) { return b_.module.dims.mul(hidden_, b_.dim(gates)); }
  Value* gate(int index) { return b_.slice_axis(of_.gates, 2, times(index), hidden_); }

  Value* time(GraphBuilder& step, Value* iteration, bool reverse) {
    if (!reverse) return iteration;
    return step.sub(step.dims_tensor({step.module.dims.sub(steps_, step.dim(1))}, {}), iteration);
  }

  // What each step found: [S, B, H] one step later, behind what the first one began with.
  Value* shifted(Value* states, Value* first) {
    const Dim rest = b_.module.dims.sub(steps_, b_.dim(1));
    Value* begin = b_.expand_axes(first, {0});
    if (reverse_) return b_.concat({b_.slice_axis(states, 0, b_.dim(1), rest), begin}, 0);
    return b_.concat({begin, b_.slice_axis(states, 0, b_.dim(0), rest)}, 0);
  }

  GraphBuilder& b_;
  const bool reverse_;
  const Dim steps_, hidden_;
  const Forward of_;
};

Value* taken(GraphBuilder& b, Value* value, int axis, int index) {
  return b.drop_axes(b.slice_axis(value, axis, b.dim(index), b.dim(1)), {axis});
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
  std::vector<Value*> parts[4];
  for (int d = 0; d < directions; ++d) {
    const auto gradient = [&](int result, int axis) {
      Value* g = gradients.of(op.result(result));
      const Type type = taken(b, forward[static_cast<size_t>(result)], axis, d)->type;
      return g ? taken(b, g, axis, d) : b.splat(type.dtype, type.shape, 0);
    };
    LstmDirection lstm(b, direction == composites::kReverse || d == 1,
                       {.r = taken(b, op.operand(1), 0, d),
                        .h0 = taken(b, op.operand(2), 0, d),
                        .c0 = taken(b, op.operand(3), 0, d),
                        .y = taken(b, forward[0], 1, d),
                        .cells = taken(b, forward[4], 1, d),
                        .gates = taken(b, forward[3], 2, d)});
    const LstmDirection::Result of = lstm.backwards(gradient(0, 1), gradient(1, 0), gradient(2, 0));
    parts[0].push_back(b.expand_axes(of.xw, {2}));
    parts[1].push_back(b.expand_axes(of.r, {0}));
    parts[2].push_back(b.expand_axes(of.h0, {0}));
    parts[3].push_back(b.expand_axes(of.c0, {0}));
  }
  for (int operand = 0; operand < 4; ++operand) {
    const int axis = operand == 0 ? 2 : 0;
    gradients.add(op.operand(operand), directions == 1 ? parts[operand][0] : b.concat(parts[operand], axis));
  }
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
