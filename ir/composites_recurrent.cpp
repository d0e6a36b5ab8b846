// The composite `recurrent`: layers of RNN, GRU and LSTM cells, in primitives.
#include <algorithm>

#include "ir/composites.h"
#include "ir/error.h"

namespace lapidary::composites {

using Values = std::span<Value* const>;

namespace {

Value* activated(GraphBuilder& b, const CellActivation& by, Value* x) {
  auto op = [&](ScalarOp scalar, Value* value) { return b.scalar_op(scalar, {value}); };
  auto number = [&](double value) { return b.like(x, value); };
  auto line = [&](Value* value) { return b.add(b.mul(number(by.alpha), value), number(by.beta)); };
  auto where_negative = [&](Value* below) { return b.select(b.scalar_op(ScalarOp::Less, {x, number(0)}), below, x); };
  if (by.name == "sigmoid") return op(ScalarOp::Sigmoid, x);
  if (by.name == "tanh") return op(ScalarOp::Tanh, x);
  if (by.name == "relu") return b.scalar_op(ScalarOp::Max, {x, number(0)});
  if (by.name == "affine") return line(x);
  if (by.name == "leakyrelu") return where_negative(b.mul(number(by.alpha), x));
  if (by.name == "thresholdedrelu")
    return b.select(b.scalar_op(ScalarOp::LessEqual, {number(by.alpha), x}), x, number(0));
  if (by.name == "scaledtanh") return b.mul(number(by.alpha), op(ScalarOp::Tanh, b.mul(number(by.beta), x)));
  if (by.name == "hardsigmoid")
    return b.scalar_op(ScalarOp::Max, {b.scalar_op(ScalarOp::Min, {line(x), number(1)}), number(0)});
  if (by.name == "elu") return where_negative(b.mul(number(by.alpha), b.sub(op(ScalarOp::Exp, x), number(1))));
  if (by.name == "softsign") return b.div(x, b.add(op(ScalarOp::Abs, x), number(1)));
  LPD_CHECK(by.name == "softplus", "activation '{}'", by.name);
  Value* decay = op(ScalarOp::Exp, b.neg(op(ScalarOp::Abs, x)));
  return b.add(b.scalar_op(ScalarOp::Max, {x, number(0)}), op(ScalarOp::Log, b.add(decay, number(1))));
}

std::vector<CellActivation> usual_activations(std::string_view cell) {
  if (cell == "lstm") return {{"sigmoid"}, {"tanh"}, {"tanh"}};
  if (cell == "gru" || cell == "gru_linear") return {{"sigmoid"}, {"tanh"}};
  return {{cell == "rnn" ? "tanh" : "relu"}};
}

// One time step of one direction.
struct CellStep {
  GraphBuilder& b;
  std::string_view cell;
  Dim hidden;
  std::span<const CellActivation> activations;
  double clip;
  bool coupled, keeps_gates;
  Value *x, *h, *c, *r, *r_bias, *peepholes;  // x [B, G·H], h and c [B, H], r [G·H, H], r_bias [H], peepholes [3·H]
  Value* gates = nullptr;                     // of lstm, behind their activations [B, 4·H]: set by next()

  Value* part(Value* of, int axis, int gate, int count = 1) {
    return b.slice_axis(of, axis, b.module.dims.mul(hidden, b.dim(gate)), b.module.dims.mul(hidden, b.dim(count)));
  }
  Value* apply(size_t activation, Value* value) {
    if (clip != 0) {
      value = b.scalar_op(ScalarOp::Max, {value, b.like(value, -clip)});
      value = b.scalar_op(ScalarOp::Min, {value, b.like(value, clip)});
    }
    return activated(b, activations[activation], value);
  }
  Value* product(Value* left, Value* rows) { return b.contract(left, rows, "bk,gk->bg"); }

  // → the next h, and for an LSTM the next c.
  std::vector<Value*> next() {
    if (cell == "gru") return {gru()};
    if (cell == "gru_linear") return {gru_linear()};
    if (cell == "lstm") return lstm();
    return {apply(0, b.add(x, product(h, r)))};
  }

  std::vector<Value*> lstm() {
    Value* gates = b.add(x, product(h, r));
    auto gate = [&](size_t activation, int index, Value* state) {
      Value* sum = part(gates, 1, index);
      return apply(activation, peepholes && state ? b.add(sum, b.mul(part(peepholes, 0, index), state)) : sum);
    };
    Value* in = gate(0, 0, c);
    Value* forget = coupled ? b.sub(b.like(in, 1), in) : gate(0, 2, c);
    Value *kept = b.mul(forget, c), *candidate = gate(1, 3, nullptr);
    Value* next_c = b.add(kept, b.mul(in, candidate));
    Value* out = gate(0, 1, next_c);
    if (keeps_gates) this->gates = b.concat({in, out, forget, candidate}, 1);
    return {b.mul(out, activated(b, activations[2], next_c)), next_c};  // c is not clipped: as ONNX Runtime
  }

  // (1 - z)·n + z·h
  Value* mixed(Value* z, Value* n) { return b.add(n, b.mul(z, b.sub(h, n))); }

  Value* gru() {
    Value* zr = apply(0, b.add(part(x, 1, 0, 2), product(h, part(r, 0, 0, 2))));
    Value* kept = b.mul(part(zr, 1, 1), h);
    return mixed(part(zr, 1, 0), apply(1, b.add(part(x, 1, 2), product(kept, part(r, 0, 2)))));
  }

  Value* gru_linear() {
    Value* sums = product(h, r);
    Value* zr = apply(0, b.add(part(x, 1, 0, 2), part(sums, 1, 0, 2)));
    Value* linear = b.mul(part(zr, 1, 1), b.add(part(sums, 1, 2), r_bias));
    return mixed(part(zr, 1, 0), apply(1, b.add(part(x, 1, 2), linear)));
  }
};

// Element `index` of an axis.
Value* taken(GraphBuilder& b, Value* value, int axis, int index) {
  return b.drop_axes(b.slice_axis(value, axis, b.dim(index), b.dim(1)), {axis});
}

// One direction: y [S, B, H] and the last states.
std::vector<Value*> direction_loop(GraphBuilder& b, const Recurrence& of, int index, bool reverse) {
  const bool has_c = of.c0;
  const std::vector<CellActivation> usual = usual_activations(of.cell);
  const std::span all(of.activations.empty() ? usual : of.activations);
  const std::span activations =
      of.activations.empty() ? all : all.subspan(static_cast<size_t>(index) * usual.size(), usual.size());
  const Dim time = of.xw->type.shape[0], hidden = of.h0->type.shape[2];
  std::vector<Value*> carried = {taken(b, of.h0, 0, index)},
                      captures = {taken(b, of.xw, 2, index), taken(b, of.r, 0, index)};
  if (has_c) carried.push_back(taken(b, of.c0, 0, index));
  if (of.r_bias) captures.push_back(taken(b, of.r_bias, 0, index));
  if (of.peepholes) captures.push_back(taken(b, of.peepholes, 0, index));
  if (of.lengths) captures.push_back(b.expand_axes(b.convert(of.lengths, DType::I64), {1}));
  std::vector<Value*> done = b.loop(time, carried, captures, reverse, [&](GraphBuilder& step, Values at) {
    Value* t = at[0];
    if (reverse) t = step.sub(step.dims_tensor({step.module.dims.sub(time, step.dim(1))}, {}), t);
    const std::span state = at.subspan(1, carried.size()), in = at.subspan(1 + carried.size());
    CellStep cell{.b = step,
                  .cell = of.cell,
                  .hidden = hidden,
                  .activations = activations,
                  .clip = of.clip,
                  .coupled = of.coupled,
                  .keeps_gates = of.gates,
                  .x = step.gather(in[0], t, 0),
                  .h = state[0],
                  .c = has_c ? state[1] : nullptr,
                  .r = in[1],
                  .r_bias = of.r_bias ? in[2] : nullptr,
                  .peepholes = of.peepholes ? in[2] : nullptr};
    std::vector<Value*> next = cell.next();
    Value* y = next[0];
    if (of.lengths) {
      Value* inside = step.scalar_op(ScalarOp::Less, {t, in.back()});
      for (size_t i = 0; i < next.size(); ++i) next[i] = step.select(inside, next[i], state[i]);
      y = step.select(inside, y, step.like(y, 0));
    }
    next.push_back(y);
    if (of.gates) next.insert(next.end(), {cell.gates, next[1]});
    return next;
  });
  const auto y = done.begin() + static_cast<int64_t>(carried.size());
  std::rotate(done.begin(), y, y + 1);
  return done;
}

std::vector<Value*> directions_of(GraphBuilder& b, const Recurrence& of) {
  const int directions = of.direction == kBothDirections ? 2 : 1;
  const std::vector<int> axes = {1, 0, 0, 2, 1};  // of the directions, in y, h, c, gates and cells
  std::vector<std::vector<Value*>> results(of.gates ? 5 : of.c0 ? 3 : 2);
  for (int index = 0; index < directions; ++index) {
    const std::vector<Value*> done = direction_loop(b, of, index, of.direction == kReverse || index == 1);
    for (size_t i = 0; i < done.size(); ++i) results[i].push_back(b.expand_axes(done[i], {axes[i]}));
  }
  std::vector<Value*> joined;
  for (size_t i = 0; i < results.size(); ++i)
    joined.push_back(directions == 1 ? results[i][0] : b.concat(results[i], axes[i]));
  return joined;
}

}  // namespace

int gates_of(std::string_view cell) { return cell == "lstm" ? 4 : cell == "gru" || cell == "gru_linear" ? 3 : 1; }

std::vector<Value*> recurrent(GraphBuilder& builder, const Recurrence& of) {
  if (!of.is_usual()) return directions_of(builder, of);
  std::vector<Value*> operands = {of.xw, of.r, of.h0};
  for (Value* optional : {of.c0, of.r_bias, of.lengths})
    if (optional) operands.push_back(optional);
  Params params{{"cell", of.cell}, {"direction", int64_t{of.direction}}, {"lengths", int64_t{of.lengths != nullptr}}};
  if (of.gates) params.set("gates", int64_t{1});
  return builder.composite("recurrent", params, operands, [&](GraphBuilder& b, Values in) {
    Recurrence inner = of;
    inner.xw = in[0], inner.r = in[1], inner.h0 = in[2];
    size_t next = 3;
    for (Value** optional : {&inner.c0, &inner.r_bias, &inner.lengths})
      if (*optional) *optional = in[next++];
    return directions_of(b, inner);
  });
}

std::vector<Value*> recurrent_layer(GraphBuilder& builder, Value* x, Value* w, Value* bias, Recurrence of) {
  const Shape xs = x->type.shape, ws = w->type.shape;
  Value* rows = builder.reshape(x, {builder.module.dims.mul(xs[0], xs[1]), xs[2]});
  Dim columns = builder.module.dims.mul(ws[0], ws[1]);
  Value* gates = builder.contract(rows, builder.reshape(w, {columns, ws[2]}), "mk,nk->mn");
  if (bias) gates = builder.add(gates, builder.reshape(bias, {columns}));
  of.xw = builder.reshape(gates, {xs[0], xs[1], ws[0], ws[1]});
  return recurrent(builder, of);
}

}  // namespace lapidary::composites
