// The composite `recurrent_gradient`: an LSTM's way back through time, in primitives. Of one direction, in the gates'
// order i, o, f, z, with a_t = xw_t + h_(t-1)·rᵀ:
//
//   c_t = f·c_(t-1) + i·z       h_t = o·tanh(c_t)
//
// From the last step to the first, with dh and dc coming back:
//
//   dh += dy_t                     da_t = (dc·z·i(1-i), dh·tanh(c_t)·o(1-o), dc·c_(t-1)·f(1-f), dc·i·(1-z²))
//   dc += dh·o·(1 - tanh²(c_t))    dc = dc·f      dh = da_t·r
//
// whose factors without dh and dc are made for all steps before.
#include "ir/composites.h"

namespace lapidary::composites {

namespace {

class LstmDirection {
 public:
  // r [4·H, H], dh, dc and c0 [B, H], dy and cells [S, B, H], gates [S, B, 4·H].
  LstmDirection(GraphBuilder& builder, bool reverse, const RecurrentGradient& of)
      : b_(builder), reverse_(reverse), steps_(of.dy->type.shape[0]), hidden_(of.c0->type.shape[1]), of_(of) {}

  // → da [S, B, 4·H] and dc before the first step [B, H].
  std::vector<Value*> backwards() {
    Value *i = gate(0), *o = gate(1), *f = gate(2), *z = gate(3);
    Value* bent = b_.scalar_op(ScalarOp::Tanh, {of_.cells});
    Value* of_c = b_.mul(o, one_minus(b_.mul(bent, bent)));
    std::vector<Value*> parts = {b_.mul(z, slope(i)), b_.mul(bent, slope(o)), slope(f),
                                 b_.mul(i, one_minus(b_.mul(z, z)))};
    for (Value*& part : parts) part = b_.expand_axes(part, {2});
    Value* factors = b_.concat(parts, 2);  // [S, B, 4, H]
    const std::vector<Value*> done =
        b_.loop(steps_, {of_.dh, of_.dc}, {of_.dy, of_c, f, factors, of_.r, of_.cells, of_.c0}, !reverse_,
                [&](GraphBuilder& step, std::span<Value* const> at) {
                  Value* t = time(step, at[0]);
                  const auto now = [&](int capture) { return step.gather(at[3 + capture], t, 0); };
                  Value* h = step.add(at[1], now(0));
                  Value* c = step.add(at[2], step.mul(h, now(1)));
                  Value* a = step.mul(now(3), of_gates(step, h, c, before(step, t, at[8], at[9])));
                  a = step.reshape(a, {a->type.shape[0], times(4)});
                  return std::vector<Value*>{step.contract(a, at[7], "bg,gh->bh"), step.mul(c, now(2)), a};
                });
    return {done[2], done[1]};
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
  Value* one_minus(Value* x) { return b_.sub(b_.like(x, 1), x); }
  Value* slope(Value* sigmoid) { return b_.mul(sigmoid, one_minus(sigmoid)); }
  Dim times(int64_t gates) { return b_.module.dims.mul(hidden_, b_.dim(gates)); }
  Value* gate(int index) { return b_.slice_axis(of_.gates, 2, times(index), hidden_); }

  Value* time(GraphBuilder& step, Value* iteration) const {
    if (reverse_) return iteration;
    return step.sub(step.dims_tensor({step.module.dims.sub(steps_, step.dim(1))}, {}), iteration);
  }

  GraphBuilder& b_;
  const bool reverse_;
  const Dim steps_, hidden_;
  const RecurrentGradient of_;
};

std::vector<Value*> directions_of(GraphBuilder& b, const RecurrentGradient& of) {
  const int directions = of.direction == kBothDirections ? 2 : 1;
  std::vector<Value*> of_gates, of_c0;
  for (int d = 0; d < directions; ++d) {
    const auto taken = [&](Value* value, int axis) {
      return b.drop_axes(b.slice_axis(value, axis, b.dim(d), b.dim(1)), {axis});
    };
    LstmDirection lstm(b, of.direction == kReverse || d == 1,
                       {.r = taken(of.r, 0),
                        .dy = taken(of.dy, 1),
                        .dh = taken(of.dh, 0),
                        .dc = taken(of.dc, 0),
                        .gates = taken(of.gates, 2),
                        .cells = taken(of.cells, 1),
                        .c0 = taken(of.c0, 0)});
    const std::vector<Value*> back = lstm.backwards();
    of_gates.push_back(b.expand_axes(back[0], {2}));
    of_c0.push_back(b.expand_axes(back[1], {0}));
  }
  if (directions == 1) return {of_gates[0], of_c0[0]};
  return {b.concat(of_gates, 2), b.concat(of_c0, 0)};
}

}  // namespace

std::vector<Value*> recurrent_gradient(GraphBuilder& builder, const RecurrentGradient& of) {
  return builder.composite("recurrent_gradient", {{"direction", int64_t{of.direction}}},
                           {of.r, of.dy, of.dh, of.dc, of.gates, of.cells, of.c0},
                           [&](GraphBuilder& b, std::span<Value* const> in) {
                             return directions_of(b, {.direction = of.direction,
                                                      .r = in[0],
                                                      .dy = in[1],
                                                      .dh = in[2],
                                                      .dc = in[3],
                                                      .gates = in[4],
                                                      .cells = in[5],
                                                      .c0 = in[6]});
                           });
}

}  // namespace lapidary::composites
