// Fold quantization: products and convolutions of dequantised codes are computed on the codes.
//
//   conv(dequantize(x, sx, zx), dequantize(w, sw, 0), bias)
//     == (Σ x·w - zx·Σ w) · (sx·sw) + bias          codes x u8, w i8; Σ in i32; sw for each output channel or one for
//     all
//
//   conv %x, %w, -zx·Σw  to=i32 fill=zx  →  convert f32  →  · sx·sw  →  + bias
//
// Products and convolutions that are integers already (MatMulInteger, QLinearConv) lose their zero points the same way:
// integer_sums.h. What follows stays as it is, elementwise ops that the kernel's epilogue takes in: a quantize there
// becomes a multiplication by 1/scale, which joins the one before; where x/scale lies on a rounding boundary its code
// may differ by 1. Max-pools and moves between dequantize and quantize act on codes.
//
// Live weights of integer products are folded for GPUs alone, whose tensor cores take bytes wherever they come from.
// Not folded: those of products of dequantised codes, scales known only at run time (bar those of the integer
// operators, which come after the product anyway). Weights dequantised for a product in floats become floats in the
// artifact. Test: test/passes/fold_quantization/.
#include <algorithm>
#include <cmath>
#include <map>

#include "ir/composites.h"
#include "ir/contract_spec.h"
#include "passes/graph/graph_passes.h"
#include "passes/graph/integer_sums.h"
#include "passes/graph/known_values.h"
#include "passes/graph/walk.h"

namespace lapidary::passes {

namespace {

Op* dequantize_of(const Value* value) {
  Op* op = value->producer;
  bool matches = op && op->is_composite("dequantize") && is_byte(op->operand(0)) && op->type().dtype == DType::F32;
  return matches ? op : nullptr;
}

Value* zero_point_of(const Op& dequantize) { return dequantize.operands.size() > 2 ? dequantize.operand(2) : nullptr; }

// Constant weights of a byte with a zero point known now, one for all or one for each output channel.
bool known_weights(const Module& module, const Value* codes, const Value* zero) {
  return is_byte(codes) && constant_of(codes) && (!zero || evaluated(module, zero));
}

// --- products --------------------------------------------------------------------------------------------------------

class Folding {
 public:
  Folding(Module& module, Region& body, const Target& target) : module_(module), body_(body), target_(target) {}

  bool run() {
    bool changed = sweep(&Folding::unsign);
    changed = sweep(&Folding::fold) || changed;
    return sweep(&Folding::spell_out) || changed;  // what no product took
  }

 private:
  bool sweep(Value* (Folding::*fold)(GraphBuilder&, Op&)) {
    bool changed = false;
    for (auto it = body_.ops.begin(); it != body_.ops.end();) {
      Op& op = *it++;
      GraphBuilder b(module_, body_, op.self);
      b.origin = op.origin;
      Value* folded = (this->*fold)(b, op);
      if (!folded) continue;
      replace_value(op.result(), folded);
      erase_with_dead_producers(op);
      changed = true;
    }
    return changed;
  }

  // Signed codes that are only dequantised are unsigned ones, which products take and images lie in blocks of.
  Value* unsign(GraphBuilder& b, Op& op) {
    if (!op.is_composite("dequantize") || op.operand(0)->type.dtype != DType::I8) return nullptr;
    const Value* codes = op.operand(0);
    Op* quantize = codes->producer;
    const bool only_dequantised = std::ranges::all_of(codes->uses, [](const Use& use) {
      return use.operand == 0 && use.op->is_composite("dequantize") && use.op->type().dtype == DType::F32;
    });
    if (!quantize || !quantize->is_composite("quantize") || !only_dequantised) return nullptr;
    auto moved = [](GraphBuilder& build, Value* zero) {
      return build.convert(build.add(build.convert(zero, DType::I32), build.scalar(DType::I32, 128)), DType::U8);
    };
    Value*& unsigned_codes = unsigned_codes_[codes->id];
    if (!unsigned_codes) {
      GraphBuilder before(module_, body_, quantize->self);
      before.origin = quantize->origin;
      unsigned_codes =
          composites::quantize(before, quantize->operand(0), quantize->operand(1), moved(before, quantize->operand(2)));
    }
    Value* zero = zero_point_of(op);
    return composites::dequantize(b, unsigned_codes, op.operand(1), zero ? moved(b, zero) : b.scalar(DType::U8, 128));
  }

  Value* fold(GraphBuilder& b, Op& op) {
    if (op.is(OpKind::Conv)) return op.type().dtype == DType::F32 ? fold_float_conv(b, op) : fold_integer_conv(b, op);
    if (op.is(OpKind::Contract))
      return op.type().dtype == DType::F32 ? fold_float_contract(b, op) : fold_integer_contract(b, op);
    if (op.is(OpKind::MaxPool) || op.is(OpKind::Reshape) || op.is(OpKind::Transpose)) return act_on_codes(b, op);
    if (op.is_composite("quantize")) return fold_quantize(b, op);
    return nullptr;
  }

  Value* spread(GraphBuilder& b, const std::vector<double>& numbers, int axis, const Value* like) {
    if (numbers.size() == 1) return b.broadcast_to(b.scalar(DType::F32, numbers[0]), like->type.shape);
    std::vector<Scalar> scalars;
    for (double number : numbers) scalars.push_back(Scalar::of_float(DType::F32, round_to(DType::F32, number)));
    ConstantId id = module_.constants.add_scalars(DType::F32, {static_cast<int64_t>(numbers.size())}, scalars);
    return spread_along(b, b.constant(id), axis, like);
  }

  Value* fold_integer_conv(GraphBuilder& b, Op& op) {
    if (op.type().dtype != DType::I32 || op.params.has("to")) return nullptr;
    auto x = centred_codes(b, op.operand(0)), w = centred_codes(b, op.operand(1));
    if (!x || !w || !known_weights(module_, w->codes, w->zero)) return nullptr;
    return integer_conv(b, op, *x, *w, op.operands.size() > 2 ? op.operand(2) : nullptr);
  }

  Value* fold_float_conv(GraphBuilder& b, Op& op) {
    Op *x = dequantize_of(op.operand(0)), *w = dequantize_of(op.operand(1));
    if (!x || !w || !known_weights(module_, w->operand(0), zero_point_of(*w))) return nullptr;
    auto x_scale = evaluated_scalar(module_, x->operand(1));
    auto w_scales = along_axis(module_, w->operand(1), 0, w->type().rank());
    if (!x_scale || !w_scales) return nullptr;
    Value* sum = integer_conv(b, op, {x->operand(0), zero_point_of(*x)}, {w->operand(0), zero_point_of(*w)}, nullptr);
    return sum ? scaled_sum(b, sum, x_scale->number, *w_scales, 1, op.operands.size() > 2 ? op.operand(2) : nullptr)
               : nullptr;
  }

  // sum · (x_scale · w_scales[axis]) + bias[axis]
  Value* scaled_sum(GraphBuilder& b, Value* sum, double x_scale, std::vector<double> w_scales, int axis, Value* bias) {
    for (double& scale : w_scales) scale = round_to(DType::F32, scale * x_scale);
    Value* y = b.mul(b.convert(sum, DType::F32), spread(b, w_scales, axis, sum));
    if (!bias) return y;
    auto known = evaluated(module_, bias);
    if (!known) return b.add(y, spread_along(b, bias, axis, y));
    std::vector<double> numbers;
    for (int64_t i = 0; i < known->elements(); ++i) numbers.push_back(known->at(i).number);
    return b.add(y, spread(b, numbers, axis, y));
  }

  Value* fold_integer_contract(GraphBuilder& b, Op& op) {
    if (op.type().dtype != DType::I32 || op.params.has("to")) return nullptr;
    auto x = centred_codes(b, op.operand(0)), w = centred_codes(b, op.operand(1));
    if (!x || !w) return nullptr;
    if (known_weights(module_, w->codes, w->zero)) return integer_contract(b, op, *x, *w);
    return target_.is_gpu() ? live_contract(b, op, *x, *w) : nullptr;
  }

  Value* fold_float_contract(GraphBuilder& b, Op& op) {
    Op *x = dequantize_of(op.operand(0)), *w = dequantize_of(op.operand(1));
    auto column = columns_of(op);
    if (!x || !w || !column || !known_weights(module_, w->operand(0), zero_point_of(*w))) return nullptr;
    const ContractSpec spec = contract_spec(op);
    auto x_scale = evaluated_scalar(module_, x->operand(1));
    auto w_scales = along_axis(module_, w->operand(1), static_cast<int>(spec.right.find(*column)), w->type().rank());
    Value* zero = zero_point_of(*x);
    if (!x_scale || !w_scales) return nullptr;
    Value* sum = integer_contract(b, op, {x->operand(0), zero}, {w->operand(0), zero_point_of(*w)});
    if (!sum) return nullptr;
    return scaled_sum(b, sum, x_scale->number, *w_scales, static_cast<int>(spec.result.find(*column)), nullptr);
  }

  // --- around products -------------------------------------------------------------------------------------------

  // max_pool(dequantize(x)) == dequantize(max_pool(x)) for a positive scale; moves likewise, for any.
  Value* act_on_codes(GraphBuilder& b, Op& op) {
    Op* dequantize = dequantize_of(op.operand(0));
    if (!dequantize) return nullptr;
    Value *scale = dequantize->operand(1), *zero = zero_point_of(*dequantize);
    if (scale->type.rank() > 0 || (zero && zero->type.rank() > 0)) return nullptr;
    if (op.is(OpKind::MaxPool)) {
      auto known = evaluated_scalar(module_, scale);
      if (!known || !(known->number > 0)) return nullptr;
    }
    Value* codes = b.create(op.kind, {dequantize->operand(0)}, op.params).result();
    return composites::dequantize(b, codes, scale, zero);
  }

  bool same_number(const Value* a, const Value* b) {
    auto x = evaluated_scalar(module_, a), y = evaluated_scalar(module_, b);
    return x && y && x->dtype == y->dtype && x->number == y->number && x->integer == y->integer;
  }

  // Does the value come from codes by elementwise ops? Then a code next to a rounding boundary is a matter of taste.
  static bool comes_from_codes(const Value* value, int depth = 8) {
    const Op* op = value->producer;
    if (!op || depth == 0) return false;
    if (op->is_composite("dequantize") || ((op->is(OpKind::Conv) || op->is(OpKind::Contract)) && op->params.has("to")))
      return true;
    return std::ranges::any_of(op->operands,
                               [&](const Value* operand) { return comes_from_codes(operand, depth - 1); });
  }

  // A bound that a value was given, and what it was before: max(x, 0), min(x, 6).
  struct Bounded {
    Value* x;
    double bound;
    ScalarOp op;
  };
  std::optional<Bounded> bounded(const Value* value) {
    for (OpKind kind : {OpKind::Max, OpKind::Min})
      if (Op* op = producer_of_kind(value, kind))
        if (auto bound = number_of(module_, op->operand(1))) return Bounded{op->operand(0), *bound, scalar_op(kind)};
    return std::nullopt;
  }

  // What a value to be quantised was before bounds that lie at or beyond those of the codes.
  Value* without_bounds(Value* x, double scale, double zero, DType to) {
    const double low = to == DType::U8 ? 0 : -128, high = low + 255;
    while (auto inner = bounded(x)) {
      const double code = inner->bound / scale + zero;
      if (inner->op == ScalarOp::Max ? !(code <= low) : !(code >= high)) break;
      x = inner->x;
    }
    return x;
  }

  // x · factor, a positive one, into the constants x, or both terms of it, were last multiplied and added by, bounds
  // between or not. `free_only`: null when it takes a multiplication.
  Value* scaled(GraphBuilder& b, Value* x, double factor, int depth = 3, bool free_only = false) {
    auto constant_part = [&](Value* part) -> Value* {
      Op* broadcast = producer_of_kind(part, OpKind::Broadcast);
      auto known = broadcast ? evaluated(module_, broadcast->operand(0)) : std::nullopt;
      if (!known || known->dtype != DType::F32) return nullptr;
      std::vector<Scalar> numbers;
      for (int64_t i = 0; i < known->elements(); ++i)
        numbers.push_back(Scalar::of_float(DType::F32, round_to(DType::F32, known->at(i).number * factor)));
      Value* scaled = b.constant(module_.constants.add_scalars(DType::F32, known->shape, numbers));
      return b.broadcast(scaled, broadcast->params.integers("axes"), part->type.shape);
    };
    if (x->has_one_use()) {
      if (auto inner = bounded(x); inner && depth > 0) {
        Value* y = scaled(b, inner->x, factor, depth - 1, free_only);
        return y ? b.scalar_op(inner->op, {y, b.scalar(DType::F32, round_to(DType::F32, inner->bound * factor))})
                 : nullptr;
      }
      if (Op* dequantize = dequantize_of(x); dequantize && depth > 0) {
        auto scale = evaluated_scalar(module_, dequantize->operand(1));
        Value* zero = zero_point_of(*dequantize);
        if (scale)
          return composites::dequantize(b, dequantize->operand(0), b.scalar(DType::F32, scale->number * factor), zero);
      }
      if (Op* add = producer_of_kind(x, OpKind::Add); add && depth > 0) {
        Value *left = scaled(b, add->operand(0), factor, depth - 1, true),
              *right = left ? scaled(b, add->operand(1), factor, depth - 1, true) : nullptr;
        if (right) return b.add(left, right);
      }
      if (Op* add = producer_of_kind(x, OpKind::Add))
        if (Op* mul = producer_of_kind(add->operand(0), OpKind::Mul); mul && mul->result()->has_one_use()) {
          Value *factors = constant_part(mul->operand(1)), *shift = factors ? constant_part(add->operand(1)) : nullptr;
          if (shift) return b.add(b.mul(mul->operand(0), factors), shift);
        }
      if (Op* mul = producer_of_kind(x, OpKind::Mul))
        if (Value* factors = constant_part(mul->operand(1))) return b.mul(mul->operand(0), factors);
    }
    return free_only ? nullptr : b.mul(x, b.scalar(DType::F32, factor));
  }

  // quantize(dequantize(x, s, z), s, z) == x; quantize(x, s, z) → round(x · 1/s) + z
  Value* fold_quantize(GraphBuilder& b, Op& op) {
    Value *x = op.operand(0), *scale = op.operand(1), *zero = op.operand(2);
    if (Op* dequantize = dequantize_of(x); dequantize && dequantize->operand(0)->type.dtype == zero->type.dtype) {
      Value* inner = zero_point_of(*dequantize);
      bool zeros = inner ? same_number(inner, zero) : is_zero(module_, zero);
      auto known = evaluated_scalar(module_, scale);
      if (zeros && same_number(dequantize->operand(1), scale) && known->number > 0 && std::isnormal(known->number))
        return dequantize->operand(0);
    }
    auto known = evaluated_scalar(module_, scale);
    if (!known || x->type.dtype != DType::F32 || known->dtype != DType::F32 || !is_byte(op.result())) return nullptr;
    if (!std::isnormal(known->number) || !std::isnormal(1 / known->number) || known->number < 0 || !comes_from_codes(x))
      return nullptr;
    if (auto offset = evaluated_scalar(module_, zero))
      x = without_bounds(x, known->number, static_cast<double>(offset->integer), op.type().dtype);
    Value* y = b.scalar_op(ScalarOp::Round, {scaled(b, x, 1 / known->number)});
    if (!is_zero(module_, zero)) y = b.add(y, b.convert(zero, DType::F32));
    return b.convert(y, op.type().dtype);
  }

  Value* spell_out(GraphBuilder& b, Op& op) {
    if (!op.is_composite("dequantize") || op.type().dtype != DType::F32) return nullptr;
    return constant_of(op.operand(0)) ? fold_weights(b, op) : with_numbers(b, op);
  }

  // (codes - zero) · scale in floats, which hold codes of a byte exactly, with the numbers in the op's own kernel.
  Value* with_numbers(GraphBuilder& b, Op& op) {
    Value* zero = zero_point_of(op);
    auto scale = evaluated_scalar(module_, op.operand(1));
    auto shift = zero ? evaluated_scalar(module_, zero) : Scalar::of_integer(DType::I32, 0);
    if (!is_byte(op.operand(0)) || !scale || !shift) return nullptr;
    Value* y = b.convert(op.operand(0), DType::F32);
    if (shift->integer != 0) y = b.sub(y, b.scalar(DType::F32, static_cast<double>(shift->integer)));
    return b.mul(y, b.scalar(DType::F32, scale->number));
  }

  // Constant weights: floats in the artifact.
  Value* fold_weights(GraphBuilder& b, Op& op) {
    if (op.type().rank() == 0) return nullptr;
    auto codes = constant_of(op.operand(0));
    Value* zero = zero_point_of(op);
    auto scale = evaluated(module_, op.operand(1));
    if (!codes || !scale || (zero && !is_zero(module_, zero))) return nullptr;
    const int rank = op.type().rank(), own = op.operand(1)->type.rank();
    int axis = -1;
    for (int i = 0; i < own; ++i) {
      if (scale->shape[static_cast<size_t>(i)] == 1) continue;
      if (axis >= 0) return nullptr;
      axis = i + rank - own;
    }
    ConstantTable& constants = module_.constants;
    ConstantId floats = constants.transformed(*codes, {.kind = Transform::Kind::Convert, .dtype = DType::F32});
    std::vector<Scalar> factors;
    for (int64_t i = 0; i < scale->elements(); ++i) factors.push_back(scale->at(i));
    if (axis < 0) {
      axis = 0;
      factors.assign(static_cast<size_t>(constants[*codes].shape[0]), factors[0]);
    }
    ConstantId by = constants.add_scalars(DType::F32, {static_cast<int64_t>(factors.size())}, factors);
    return b.constant(constants.transformed(floats, {.kind = Transform::Kind::Scale, .axes = {axis}, .other = by}));
  }

  Module& module_;
  Region& body_;
  const Target& target_;
  std::map<uint32_t, Value*> unsigned_codes_;  // by the id of the signed ones
};

}  // namespace

bool fold_quantization(Module& module, const Options& options) {
  bool changed = false;
  for_each_body(module, [&](Region& body) { changed |= Folding(module, body, options.target).run(); });
  return changed;
}

}  // namespace lapidary::passes
