// The definitions of the composites, in primitives.
#include "ir/composites.h"

#include <cmath>
#include <numeric>

#include "ir/error.h"

namespace lapidary::composites {

namespace {

using Values = std::span<Value* const>;

std::vector<int64_t> axes_from(int first, int rank) {
  std::vector<int64_t> axes(static_cast<size_t>(rank - first));
  std::iota(axes.begin(), axes.end(), first);
  return axes;
}

}  // namespace

Value* softmax(GraphBuilder& builder, Value* x, int axis) {
  return builder.composite("softmax", {{"axis", int64_t{axis}}}, {x}, [&](GraphBuilder& b, Values in) {
    Value* shifted = b.sub(in[0], b.reduce(OpKind::ReduceMax, in[0], {axis}, true));
    Value* power = b.scalar_op(ScalarOp::Exp, {shifted});
    return std::vector<Value*>{b.div(power, b.reduce(OpKind::ReduceSum, power, {axis}, true))};
  })[0];
}

std::vector<Value*> layer_norm(GraphBuilder& builder, Value* x, Value* scale, Value* bias, int axis, double epsilon) {
  std::vector<Value*> operands = {x, scale};
  if (bias) operands.push_back(bias);
  return builder.composite("layer_norm", {{"axis", int64_t{axis}}, {"epsilon", epsilon}}, operands, [&](GraphBuilder& b, Values in) {
    std::vector<int64_t> axes = axes_from(axis, in[0]->type.rank());
    Value* mean = b.reduce(OpKind::ReduceMean, in[0], axes, true);
    Value* centred = b.sub(in[0], mean);
    Value* variance = b.reduce(OpKind::ReduceMean, b.mul(centred, centred), axes, true);
    Value* deviation = b.scalar_op(ScalarOp::Sqrt, {b.add(variance, b.like(in[0], epsilon))});
    Value* inverse = b.div(b.like(in[0], 1), deviation);
    Value* y = b.mul(b.mul(centred, inverse), in[1]);
    if (in.size() > 2) y = b.add(y, in[2]);
    return std::vector<Value*>{y, mean, inverse};
  });
}

Value* rms_norm(GraphBuilder& builder, Value* x, Value* scale, int axis, double epsilon) {
  return builder.composite("rms_norm", {{"axis", int64_t{axis}}, {"epsilon", epsilon}}, {x, scale}, [&](GraphBuilder& b, Values in) {
    Value* square = b.reduce(OpKind::ReduceMean, b.mul(in[0], in[0]), axes_from(axis, in[0]->type.rank()), true);
    Value* deviation = b.scalar_op(ScalarOp::Sqrt, {b.add(square, b.like(in[0], epsilon))});
    return std::vector<Value*>{b.mul(b.div(in[0], deviation), in[1])};
  })[0];
}

Value* gelu(GraphBuilder& builder, Value* x, bool approximate) {
  return builder.composite("gelu", {{"approximate", int64_t{approximate}}}, {x}, [&](GraphBuilder& b, Values in) {
    Value* half = b.mul(in[0], b.like(in[0], 0.5));
    Value* curve;
    if (approximate) {   // tanh(√(2/π) · (x + 0.044715 x³))
      Value* cube = b.mul(b.mul(in[0], in[0]), in[0]);
      Value* inner = b.add(in[0], b.mul(cube, b.like(in[0], 0.044715)));
      curve = b.scalar_op(ScalarOp::Tanh, {b.mul(inner, b.like(in[0], std::sqrt(2 / M_PI)))});
    } else {
      curve = b.scalar_op(ScalarOp::Erf, {b.mul(in[0], b.like(in[0], M_SQRT1_2))});
    }
    return std::vector<Value*>{b.mul(half, b.add(curve, b.like(in[0], 1)))};
  })[0];
}

namespace {

// Key t is hidden from query s when t > s + T - S.
Value* hide_future(GraphBuilder& b, Value* scores, Dim queries, Dim keys) {
  Value* query = b.iota(DType::I64, {queries, keys}, 0);
  Value* key = b.iota(DType::I64, {queries, keys}, 1);
  Value* shift = b.dims_tensor({b.module.dims.sub(keys, queries)}, {});
  Value* hidden = b.scalar_op(ScalarOp::Less, {b.add(query, shift), key});
  return b.select(hidden, b.like(scores, -INFINITY), scores);
}

}  // namespace

Value* attention(GraphBuilder& builder, Value* q, Value* k, Value* v, Value* mask, double scale, bool causal) {
  std::vector<Value*> operands = {q, k, v};
  if (mask) operands.push_back(mask);
  return builder.composite("attention", {{"scale", scale}, {"causal", int64_t{causal}}}, operands, [&](GraphBuilder& b, Values in) {
    const Shape qs = in[0]->type.shape, ks = in[1]->type.shape, vs = in[2]->type.shape;   // B H S D, B G T D, B G T E
    Dim ratio = b.module.dims.floordiv(qs[1], ks[1]);
    Value* grouped = b.reshape(in[0], {qs[0], ks[1], ratio, qs[2], qs[3]});
    Value* scores = b.contract(b.mul(grouped, b.like(in[0], scale)), in[1], "bghsd,bgtd->bghst");
    scores = b.reshape(scores, {qs[0], qs[1], qs[2], ks[2]});
    if (in.size() > 3) scores = b.add(scores, in[3]);
    if (causal) scores = hide_future(b, scores, qs[2], ks[2]);
    Value* shifted = b.sub(scores, b.reduce(OpKind::ReduceMax, scores, {3}, true));
    Value* power = b.scalar_op(ScalarOp::Exp, {shifted});
    Value* weights = b.div(power, b.reduce(OpKind::ReduceSum, power, {3}, true));
    weights = b.reshape(weights, {qs[0], ks[1], ratio, qs[2], ks[2]});
    return std::vector<Value*>{b.reshape(b.contract(weights, in[2], "bghst,bgte->bghse"), {qs[0], qs[1], qs[2], vs[3]})};
  })[0];
}

std::vector<Value*> lstm_recurrence(GraphBuilder& builder, Value* xw, Value* r, Value* h0, Value* c0, bool reverse) {
  Params params{{"reverse", int64_t{reverse}}};
  return builder.composite("lstm", params, {xw, r, h0, c0}, [&](GraphBuilder& b, Values in) {
    Dim time = in[0]->type.shape[0], hidden = in[1]->type.shape[1];
    std::vector<Value*> done = b.loop(time, {in[2], in[3]}, {in[0], in[1]}, reverse, [&](GraphBuilder& step, Values at) {
      Value *t = at[0], *h = at[1], *c = at[2];
      if (reverse) t = step.sub(step.dims_tensor({step.module.dims.sub(time, step.dim(1))}, {}), t);
      Value* gates = step.add(step.gather(at[3], t, 0), step.contract(h, at[4], "bk,gk->bg"));
      auto gate = [&](int index, ScalarOp activation) {
        Dim start = step.module.dims.mul(hidden, step.dim(index));
        return step.scalar_op(activation, {step.slice_axis(gates, 1, start, hidden)});
      };
      Value *in_gate = gate(0, ScalarOp::Sigmoid), *out = gate(1, ScalarOp::Sigmoid), *forget = gate(2, ScalarOp::Sigmoid);
      Value* next_c = step.add(step.mul(forget, c), step.mul(in_gate, gate(3, ScalarOp::Tanh)));
      Value* next_h = step.mul(out, step.scalar_op(ScalarOp::Tanh, {next_c}));
      return std::vector<Value*>{next_h, next_c, next_h};
    });
    return std::vector<Value*>{done[2], done[0], done[1]};
  });
}

std::vector<Value*> lstm(GraphBuilder& builder, Value* x, Value* w, Value* r, Value* b, Value* h0, Value* c0, bool reverse) {
  const Shape& xs = x->type.shape;
  Value* rows = builder.reshape(x, {builder.module.dims.mul(xs[0], xs[1]), xs[2]});
  Value* gates = builder.add(builder.contract(rows, w, "mk,nk->mn"), b);
  Value* xw = builder.reshape(gates, {xs[0], xs[1], w->type.shape[0]});
  return lstm_recurrence(builder, xw, r, h0, c0, reverse);
}

}  // namespace lapidary::composites
