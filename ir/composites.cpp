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
  return builder.composite("layer_norm", {{"axis", int64_t{axis}}, {"epsilon", epsilon}}, operands,
                           [&](GraphBuilder& b, Values in) {
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
  return builder.composite(
      "rms_norm", {{"axis", int64_t{axis}}, {"epsilon", epsilon}}, {x, scale}, [&](GraphBuilder& b, Values in) {
        Value* square = b.reduce(OpKind::ReduceMean, b.mul(in[0], in[0]), axes_from(axis, in[0]->type.rank()), true);
        Value* deviation = b.scalar_op(ScalarOp::Sqrt, {b.add(square, b.like(in[0], epsilon))});
        return std::vector<Value*>{b.mul(b.div(in[0], deviation), in[1])};
      })[0];
}

Value* gelu(GraphBuilder& builder, Value* x, bool approximate) {
  return builder.composite("gelu", {{"approximate", int64_t{approximate}}}, {x}, [&](GraphBuilder& b, Values in) {
    Value* half = b.mul(in[0], b.like(in[0], 0.5));
    Value* curve;
    if (approximate) {  // tanh(√(2/π) · (x + 0.044715 x³))
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

Value* attention_scores(GraphBuilder& b, Value* q, Value* k, double scale) {
  const Shape qs = q->type.shape, ks = k->type.shape;  // B H S D, B G T D
  Dim ratio = b.module.dims.floordiv(qs[1], ks[1]);
  Value* grouped = b.reshape(q, {qs[0], ks[1], ratio, qs[2], qs[3]});
  Value* scores = b.contract(b.mul(grouped, b.like(q, scale)), k, "bghsd,bgtd->bghst");
  return b.reshape(scores, {qs[0], qs[1], qs[2], ks[2]});
}

Value* soft_capped(GraphBuilder& b, Value* scores, double softcap) {
  if (softcap == 0) return scores;
  Value* bent = b.scalar_op(ScalarOp::Tanh, {b.mul(scores, b.like(scores, 1 / softcap))});
  return b.mul(bent, b.like(scores, softcap));
}

Value* attention_values(GraphBuilder& b, Value* weights, Value* v) {
  const Shape ws = weights->type.shape, vs = v->type.shape;  // B H S T, B G T E
  Dim ratio = b.module.dims.floordiv(ws[1], vs[1]);
  Value* grouped = b.reshape(weights, {ws[0], vs[1], ratio, ws[2], ws[3]});
  return b.reshape(b.contract(grouped, v, "bghst,bgte->bghse"), {ws[0], ws[1], ws[2], vs[3]});
}

Value* attention(GraphBuilder& builder, Value* q, Value* k, Value* v, Value* mask, double scale, bool causal,
                 double softcap, std::optional<DType> inside) {
  std::vector<Value*> operands = {q, k, v};
  if (mask) operands.push_back(mask);
  Params params{{"scale", scale}, {"causal", int64_t{causal}}};
  if (softcap != 0) params.set("softcap", softcap);
  return builder.composite("attention", params, operands, [&](GraphBuilder& b, Values given) {
    std::vector<Value*> in(given.begin(), given.end());
    for (Value*& value : in) value = b.convert(value, inside.value_or(value->type.dtype));
    Value* scores = soft_capped(b, attention_scores(b, in[0], in[1], scale), softcap);
    if (in.size() > 3) scores = b.add(scores, in[3]);
    if (causal) scores = hide_future(b, scores, in[0]->type.shape[2], in[1]->type.shape[2]);
    Value* shifted = b.sub(scores, b.reduce(OpKind::ReduceMax, scores, {3}, true));
    Value* power = b.scalar_op(ScalarOp::Exp, {shifted});
    return std::vector<Value*>{attention_values(b, b.div(power, b.reduce(OpKind::ReduceSum, power, {3}, true)), in[2])};
  })[0];
}

// --- quantisation ------------------------------------------------------------------------------------------------

namespace {

bool is_half(DType dtype) { return dtype == DType::F16 || dtype == DType::BF16; }

}  // namespace

// Integers of up to 32 bits are subtracted as such; products are rounded once, from float32.
Value* dequantize(GraphBuilder& builder, Value* x, Value* scale, Value* zero_point) {
  std::vector<Value*> operands = {x, scale};
  if (zero_point) operands.push_back(zero_point);
  return builder.composite("dequantize", {}, operands, [&](GraphBuilder& b, Values in) {
    DType to = in[1]->type.dtype, wide = is_half(to) ? DType::F32 : to;
    Value* codes = in[0];
    if (in.size() > 2) {
      DType between = is_integer(codes->type.dtype) ? DType::I32 : wide;
      codes = b.sub(b.convert(codes, between), b.convert(in[2], between));
    }
    return std::vector<Value*>{b.convert(b.mul(b.convert(codes, wide), b.convert(in[1], wide)), to)};
  })[0];
}

// The conversion to 8 bits and more saturates. The floats of 4 bits have no zero point but 0, and are rounded by the
// conversion.
Value* quantize(GraphBuilder& builder, Value* x, Value* scale, Value* zero_point) {
  return builder.composite("quantize", {}, {x, scale, zero_point}, [&](GraphBuilder& b, Values in) {
    DType to = in[2]->type.dtype, wide = is_half(in[1]->type.dtype) ? DType::F32 : in[1]->type.dtype;
    Value* y = b.div(b.convert(in[0], wide), b.convert(in[1], wide));
    if (is_integer(to)) y = b.scalar_op(ScalarOp::Round, {y});
    y = b.add(y, b.convert(in[2], wide));
    if (is_integer(to) && bit_width(to) < 8) {  // converted by wrapping
      const bool negative = is_signed_integer(to);
      const auto codes = static_cast<double>(int64_t{1} << bit_width(to));
      y = b.scalar_op(ScalarOp::Max, {y, b.like(y, negative ? -codes / 2 : 0)});
      y = b.scalar_op(ScalarOp::Min, {y, b.like(y, (negative ? codes / 2 : codes) - 1)});
    }
    return std::vector<Value*>{b.convert(y, to)};
  })[0];
}

Value* unpacked(GraphBuilder& b, Value* bytes, int bits) {
  if (bits == 8) return bytes;
  int axis = bytes->type.rank();
  std::vector<Value*> parts;
  for (int shift = 0; shift < 8; shift += bits) {
    Value* part = shift ? b.scalar_op(ScalarOp::ShiftRight, {bytes, b.like(bytes, shift)}) : bytes;
    if (shift + bits < 8) part = b.scalar_op(ScalarOp::And, {part, b.like(bytes, (1 << bits) - 1)});
    parts.push_back(b.expand_axes(part, {axis}));
  }
  Shape shape = bytes->type.shape;
  shape.back() = b.module.dims.mul(shape.back(), b.dim(8 / bits));
  return b.reshape(b.concat(parts, axis), shape);
}

PackedWeights packed_weights(const Op& op) {
  PackedWeights weights{op.params.integer("k"), *value_of(op.type().shape.back()), op.params.integer("bits"),
                        op.params.integer("block")};
  weights.codes = op.operand(1), weights.scales = op.operand(2);
  if (op.operands.size() > 3) weights.zero_points = op.operand(3);
  return weights;
}

Value* matmul_packed(GraphBuilder& builder, Value* a, const PackedWeights& w) {
  std::vector<Value*> operands = {a, w.codes, w.scales};
  if (w.zero_points) operands.push_back(w.zero_points);
  return builder.composite(
      "matmul_packed", {{"k", w.k}, {"bits", w.bits}, {"block", w.block}}, operands, [&](GraphBuilder& b, Values in) {
        DType dtype = in[0]->type.dtype;
        Value* codes = b.convert(unpacked(b, in[1], static_cast<int>(w.bits)), dtype);
        Value* zero = b.scalar(dtype, static_cast<double>(int64_t{1} << (w.bits - 1)));
        if (in.size() > 3) {
          Value* zeros = in[3];
          if (zeros->type.dtype == DType::U8)
            zeros = b.slice_axis(unpacked(b, zeros, static_cast<int>(w.bits)), 1, b.dim(0), in[2]->type.shape[1]);
          zero = b.expand_axes(b.convert(zeros, dtype), {2});
        }
        Value* numbers = b.mul(b.sub(codes, zero), b.expand_axes(in[2], {2}));
        numbers =
            b.reshape(numbers, {numbers->type.shape[0], b.module.dims.mul(numbers->type.shape[1], b.dim(w.block))});
        numbers = b.slice_axis(numbers, 1, b.dim(0), b.dim(w.k));
        return std::vector<Value*>{b.matmul(in[0], b.transpose(numbers, {1, 0}))};
      })[0];
}

std::vector<Value*> linear_attention(GraphBuilder& builder, const LinearAttention& of) {
  std::vector<Value*> operands = {of.q, of.k, of.v, of.state};
  for (Value* optional : {of.decay, of.beta})
    if (optional) operands.push_back(optional);
  Params params{{"scale", of.scale}, {"decay", int64_t{of.decay != nullptr}}, {"beta", int64_t{of.beta != nullptr}}};
  return builder.composite("linear_attention", params, operands, [&](GraphBuilder& b, Values in) {
    std::vector<Value*> captures = {in[0], in[1], in[2]};
    captures.insert(captures.end(), in.begin() + 4, in.end());
    const Shape qs = in[0]->type.shape, ss = in[3]->type.shape;
    std::vector<Value*> done = b.loop(qs[1], {in[3]}, captures, false, [&](GraphBuilder& step, Values at) {
      auto now = [&](size_t operand) { return step.gather(at[2 + operand], at[0], 1); };
      Value *q = now(0), *k = now(1), *v = now(2), *state = at[1];
      if (of.decay) state = step.mul(state, step.expand_axes(step.scalar_op(ScalarOp::Exp, {now(3)}), {3}));
      if (of.beta) {
        Value* rate = step.expand_axes(now(of.decay ? 4 : 3), {2});
        v = step.mul(rate, step.sub(v, step.contract(k, state, "bgd,bgde->bge")));
      }
      state = step.add(state, step.mul(step.expand_axes(k, {3}), step.expand_axes(v, {2})));
      Value* grouped = step.reshape(q, {qs[0], ss[1], step.module.dims.floordiv(qs[2], ss[1]), qs[3]});
      Value* y = step.reshape(step.contract(grouped, state, "bgrd,bgde->bgre"), {qs[0], qs[2], ss[3]});
      return std::vector<Value*>{state, step.mul(y, step.like(y, of.scale))};
    });
    return std::vector<Value*>{b.transpose(done[1], {1, 0, 2, 3}), done[0]};
  });
}

// --- tree ensembles ---------------------------------------------------------------------------------------------

namespace {

// Every row walks down every tree, all in step: leaves stay where they are.
Value* reached_nodes(GraphBuilder& b, const TreeEnsemble& of) {
  const Dim splits = of.feature->type.shape[0];
  const Shape walks = {of.x->type.shape[0], of.roots->type.shape[0]};
  std::vector<Value*> captures = {of.x, of.feature, of.threshold, of.left, of.right};
  if (of.missing_left) captures.push_back(of.missing_left);
  return b.loop(b.dim(of.depth), {b.broadcast(of.roots, {1}, walks)}, captures, false,
                [&](GraphBuilder& step, Values at) {
                  Value* node = at[1];
                  Value* first_leaf = step.dims_tensor({splits}, {}, DType::I32);
                  Value* last_split = step.dims_tensor({step.module.dims.sub(splits, step.dim(1))}, {}, DType::I32);
                  Value* split = step.scalar_op(ScalarOp::Min, {node, last_split});
                  auto of_split = [&](Value* table) { return step.gather(table, split, 0); };
                  Value* x = step.gather_elements(at[2], of_split(at[3]), 1);
                  Value* below = step.scalar_op(ScalarOp::LessEqual, {x, of_split(at[4])});
                  if (of.missing_left) {
                    Value* missing = step.scalar_op(ScalarOp::IsNan, {x});
                    missing = step.scalar_op(ScalarOp::And, {missing, of_split(at[7])});
                    below = step.scalar_op(ScalarOp::Or, {below, missing});
                  }
                  Value* next = step.select(below, of_split(at[5]), of_split(at[6]));
                  Value* is_split = step.scalar_op(ScalarOp::Less, {node, first_leaf});
                  return std::vector<Value*>{step.select(is_split, next, node)};
                })[0];
}

}  // namespace

Value* tree_ensemble(GraphBuilder& builder, const TreeEnsemble& of) {
  std::vector<Value*> operands = {of.x, of.feature, of.threshold, of.left, of.right, of.roots, of.target, of.weight};
  if (of.missing_left) operands.push_back(of.missing_left);
  Params params{{"targets", of.targets}, {"depth", of.depth}, {"reduce", std::string(name_of(of.reduce))}};
  return builder.composite("tree_ensemble", params, operands, [&](GraphBuilder& b, Values in) {
    TreeEnsemble inner = of;
    Value** fields[] = {&inner.x,     &inner.feature, &inner.threshold, &inner.left,        &inner.right,
                        &inner.roots, &inner.target,  &inner.weight,    &inner.missing_left};
    for (size_t i = 0; i < in.size(); ++i) *fields[i] = in[i];
    Value* first_leaf = b.dims_tensor({in[1]->type.shape[0]}, {}, DType::I32);
    Value* leaf = b.sub(reached_nodes(b, inner), first_leaf);
    Shape spread = {in[0]->type.shape[0], in[5]->type.shape[0], in[6]->type.shape[1], b.dim(of.targets)};
    auto at_leaf = [&](Value* table) { return b.broadcast(b.gather(table, leaf, 0), {0, 1, 2}, spread); };
    Value* says = b.scalar_op(ScalarOp::Equal, {at_leaf(in[6]), b.iota(DType::I32, spread, 3)});
    const double none = of.reduce == OpKind::ReduceSum ? 0 : of.reduce == OpKind::ReduceMin ? INFINITY : -INFINITY;
    Value* weights = b.select(says, at_leaf(in[7]), b.like(in[7], none));
    return std::vector<Value*>{b.reduce(of.reduce, weights, {1, 2})};
  })[0];
}

}  // namespace lapidary::composites
