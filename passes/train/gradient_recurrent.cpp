// One direction of an LSTM, in the gates' order i, o, f, z, with a_t = xw_t + h_(t-1)·rᵀ:
//
//   c_t = f·c_(t-1) + i·z       h_t = o·tanh(c_t)
//
// Given y, all a_t are one product; only c recurs. Then from the last step to the first, with dh and dc coming back:
//
//   dh += dy_t     dc += dh·o·(1 - tanh²(c_t))     da_t = (dc·z·i(1-i), dh·tanh(c_t)·o(1-o), dc·c_(t-1)·f(1-f),
//   dc·i·(1-z²)) dc = dc·f      dh = da_t·r
//
// whose factors without dh and dc are made for all steps before; and dr is one product of all da and all h.
#include "passes/train/gradient_recurrent.h"

#include "ir/composites.h"

namespace lapidary::train {

namespace {

class LstmDirection {
 public:
  LstmDirection(GraphBuilder& builder, bool reverse, Value* xw, Value* r, Value* h0, Value* c0, Value* y)
      : b_(builder),
        reverse_(reverse),
        steps_(xw->type.shape[0]),
        hidden_(h0->type.shape[1]),
        r_(r),
        c0_(c0),
        before_(shifted(y, h0)) {
    Value* sums = b_.add(xw, b_.contract(before_, r, "sbk,gk->sbg"));
    Value* three = op(ScalarOp::Sigmoid, b_.slice_axis(sums, 2, b_.dim(0), times(3)));
    i_ = gate(three, 0), o_ = gate(three, 1), f_ = gate(three, 2);
    z_ = op(ScalarOp::Tanh, gate(sums, 3));
  }

  struct Result {
    Value *xw, *r, *h0, *c0;
  };
  // Of gradients by y [S, B, H] and the last h and c [B, H].
  Result backwards(Value* dy, Value* dh, Value* dc) {
    const auto [cells_before, cells] = all_cells();
    Value* bent = op(ScalarOp::Tanh, cells);
    Value* of_c = b_.mul(o_, one_minus(b_.mul(bent, bent)));
    std::vector<Value*> parts = {b_.mul(z_, slope(i_)), b_.mul(bent, slope(o_)), b_.mul(cells_before, slope(f_)),
                                 b_.mul(i_, one_minus(b_.mul(z_, z_)))};
    for (Value*& part : parts) part = b_.expand_axes(part, {2});
    Value* factors = b_.concat(parts, 2);  // [S, B, 4, H]
    const std::vector<Value*> done = b_.loop(
        steps_, {dh, dc}, {dy, of_c, f_, factors, r_}, !reverse_, [&](GraphBuilder& step, std::span<Value* const> at) {
          const auto now = [&](int capture) { return step.gather(at[3 + capture], time(step, at[0], !reverse_), 0); };
          Value* h = step.add(at[1], now(0));
          Value* c = step.add(at[2], step.mul(h, now(1)));
          Value* a = step.mul(now(3), of_gates(step, h, c));
          a = step.reshape(a, {a->type.shape[0], times(4)});
          return std::vector<Value*>{step.contract(a, at[7], "bg,gh->bh"), step.mul(c, now(2)), a};
        });
    return {done[2], b_.contract(done[2], before_, "sbg,sbk->gk"), done[0], done[1]};
  }

 private:
  // [B, H] → [B, 4, H]: what comes back to the gates, to o by h and to the others by c.
  static Value* of_gates(GraphBuilder& step, Value* h, Value* c) {
    Value* gate = step.iota(DType::I32, {step.dim(4), step.dim(1)}, 0);
    return step.select(step.scalar_op(ScalarOp::Equal, {gate, step.like(gate, 1)}), step.expand_axes(h, {1}),
                       step.expand_axes(c, {1}));
  }
  Value* op(ScalarOp kind, Value* x) { return b_.scalar_op(kind, {x}); }
  Value* one_minus(Value* x) { return b_.sub(b_.like(x, 1), x); }
  Value* slope(Value* sigmoid) { return b_.mul(sigmoid, one_minus(sigmoid)); }
  Dim times(int64_t gates) { return b_.module.dims.mul(hidden_, b_.dim(gates)); }
  Value* gate(Value* of, int index) { return b_.slice_axis(of, 2, times(index), hidden_); }

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

  // c before each step, and behind it: [S, B, H].
  std::pair<Value*, Value*> all_cells() {
    const std::vector<Value*> done =
        b_.loop(steps_, {c0_}, {f_, b_.mul(i_, z_)}, reverse_, [&](GraphBuilder& step, std::span<Value* const> at) {
          const auto now = [&](int capture) { return step.gather(at[2 + capture], time(step, at[0], reverse_), 0); };
          Value* c = step.add(step.mul(now(0), at[1]), now(1));
          return std::vector<Value*>{c, at[1], c};
        });
    return {done[1], done[2]};
  }

  GraphBuilder& b_;
  const bool reverse_;
  const Dim steps_, hidden_;
  Value *r_, *c0_, *before_, *i_ = nullptr, *o_ = nullptr, *f_ = nullptr, *z_ = nullptr;
};

Value* taken(GraphBuilder& b, Value* value, int axis, int index) {
  return b.drop_axes(b.slice_axis(value, axis, b.dim(index), b.dim(1)), {axis});
}

void lstm(Gradients& gradients, const Op& op) {
  GraphBuilder& b = gradients.build;
  const int64_t direction = op.params.integer("direction");
  const int directions = direction == composites::kBothDirections ? 2 : 1;
  std::vector<Value*> parts[4];
  for (int d = 0; d < directions; ++d) {
    const auto gradient = [&](int result, int axis) {
      Value* g = gradients.of(op.result(result));
      Value* like = taken(b, op.result(result), axis, d);
      return g ? taken(b, g, axis, d) : b.splat(like->type.dtype, like->type.shape, 0);
    };
    LstmDirection lstm(b, direction == composites::kReverse || d == 1, taken(b, op.operand(0), 2, d),
                       taken(b, op.operand(1), 0, d), taken(b, op.operand(2), 0, d), taken(b, op.operand(3), 0, d),
                       taken(b, op.result(0), 1, d));
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
}

}  // namespace

GradientRule recurrent_rule(const Op& op) {
  return op.params.text("cell") == "lstm" && op.params.integer("lengths") == 0 ? lstm : nullptr;
}

}  // namespace lapidary::train
