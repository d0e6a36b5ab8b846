// Fold quantization: products and convolutions of dequantised codes are computed on the codes.
//
//   conv(dequantize(x, sx, zx), dequantize(w, sw, 0), bias)
//     == (Σ x·w - zx·Σ w) · (sx·sw) + bias          codes x u8, w i8; Σ in i32; sw for each output channel or one for
//     all
//
//   conv %x, %w, -zx·Σw  to=i32 fill=zx  →  convert f32  →  · sx·sw  →  + bias
//
// Padding is 0, whose code is zx, so that is what the integer convolution is padded with. Σ w is a transform of the
// weights, made when the artifact is written. Products that are integers already (MatMulInteger) lose their zero point
// the same way, also one known only at run time. What follows stays as it is, elementwise ops that the kernel's
// epilogue takes in: a quantize there becomes a multiplication by 1/scale, which joins the one before; where x/scale
// lies on a rounding boundary its code may differ by 1. Max-pools and moves between dequantize and quantize act on
// codes.
//
// Not folded: live weights, convolutions of weights with a zero point, groups, scales known only at run time (bar those
// of MatMulInteger, which come after the product anyway). Weights dequantised for a product in floats become floats in
// the artifact. Test: test/passes/fold_quantization/.
#include <algorithm>
#include <cmath>

#include "ir/composites.h"
#include "ir/contract_spec.h"
#include "ir/interpreter.h"
#include "ir/shape_rules.h"
#include "passes/graph/graph_passes.h"
#include "passes/graph/match.h"
#include "passes/graph/walk.h"

namespace lapidary::passes {

namespace {

constexpr int64_t kMostParameters = 64 << 10;  // elements of a scale, zero point or bias that is computed now

// A value computed from constants by a few ops: scales, zero points, biases.
std::optional<Tensor> evaluated(const Module& module, const Value* value, int depth = 6) {
  auto extents = constant_extents(value->type.shape);
  if (!extents || !value->producer || depth == 0 || value->producer->results.size() != 1) return std::nullopt;
  int64_t count = 1;
  for (int64_t extent : *extents)
    if (__builtin_mul_overflow(count, extent, &count) || count > kMostParameters) return std::nullopt;
  std::vector<Tensor> operands;
  for (const Value* operand : value->producer->operands) {
    auto tensor = evaluated(module, operand, depth - 1);
    if (!tensor) return std::nullopt;
    operands.push_back(std::move(*tensor));
  }
  auto results = interpret_op(module, *value->producer, operands);
  return results ? std::optional((*results)[0]) : std::nullopt;
}

// The only number a value holds.
std::optional<Scalar> evaluated_scalar(const Module& module, const Value* value) {
  auto tensor = evaluated(module, without_broadcast(const_cast<Value*>(value)));
  return tensor && tensor->elements() == 1 ? std::optional(tensor->at(0)) : std::nullopt;
}

bool is_zero(const Module& module, const Value* value) {
  auto tensor = evaluated(module, value);
  if (!tensor) return false;
  for (int64_t i = 0; i < tensor->elements(); ++i)
    if (tensor->at(i).integer != 0) return false;
  return true;
}

// A number for each index of `axis`, or one for all, as `axis` of the result it belongs to.
std::optional<std::vector<double>> along_axis(const Module& module, const Value* value, int axis, int rank) {
  auto tensor = evaluated(module, value);
  if (!tensor) return std::nullopt;
  const int own = axis - (rank - value->type.rank());  // scales broadcast to the trailing axes
  for (int i = 0; i < value->type.rank(); ++i)
    if (i != own && tensor->shape[static_cast<size_t>(i)] != 1) return std::nullopt;
  std::vector<double> numbers;
  for (int64_t i = 0; i < tensor->elements(); ++i) numbers.push_back(tensor->at(i).number);
  return numbers;
}

bool is_byte(const Value* value) { return value->type.dtype == DType::U8 || value->type.dtype == DType::I8; }

// --- operands --------------------------------------------------------------------------------------------------------

// Codes less a zero point of any integer type; null: 0.
struct Codes {
  Value* codes = nullptr;
  Value* zero = nullptr;
  bool has_one_zero() const {
    return !zero || std::ranges::all_of(zero->type.shape, [](Dim extent) { return value_of(extent) == 1; });
  }
};

// sub(convert(codes, i32), zero), moved or not
std::optional<Codes> centred_codes(GraphBuilder& b, Value* value) {
  if (Op* move = value->producer; move && (move->is(OpKind::Reshape) || move->is(OpKind::Transpose))) {
    auto found = centred_codes(b, move->operand(0));
    if (!found || !found->has_one_zero()) return std::nullopt;
    found->codes = b.create(move->kind, {found->codes}, move->params).result();
    return found;
  }
  Codes found;
  if (Op* sub = producer_of_kind(value, OpKind::Sub)) {
    found.zero = without_broadcast(sub->operand(1));
    value = sub->operand(0);
  }
  Op* convert = producer_of_kind(value, OpKind::Convert);
  if (!convert || convert->type().dtype != DType::I32 || !is_byte(convert->operand(0))) return std::nullopt;
  found.codes = convert->operand(0);
  return found;
}

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

// Signed constant weights whose zero point is 0.
bool symmetric_weights(const Module& module, const Value* codes, const Value* zero) {
  return codes->type.dtype == DType::I8 && constant_of(codes) && (!zero || is_zero(module, zero));
}

Value* as_i32(GraphBuilder& b, Value* x) { return b.convert(x, DType::I32); }

// Codes of this type of what `codes` stand for: from i8 to u8 they and their zero point move up by 128, or down.
Codes codes_of(GraphBuilder& b, Codes x, DType dtype) {
  if (x.codes->type.dtype == dtype) return x;
  Value* offset = b.scalar(DType::I32, dtype == DType::U8 ? 128 : -128);
  Value* zero = x.zero ? b.add(as_i32(b, x.zero), offset) : offset;
  Op* quantize = x.codes->producer;
  if (quantize && quantize->is_composite("quantize")) {
    Value* moved = b.convert(b.add(as_i32(b, quantize->operand(2)), offset), dtype);
    return {composites::quantize(b, quantize->operand(0), quantize->operand(1), moved), zero};
  }
  return {b.convert(b.add(as_i32(b, x.codes), offset), dtype), zero};
}

// --- products --------------------------------------------------------------------------------------------------------

class Folding {
 public:
  Folding(Module& module, Region& body) : module_(module), body_(body) {}

  bool run() {
    bool changed = sweep(&Folding::fold);
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

  Value* fold(GraphBuilder& b, Op& op) {
    if (op.is(OpKind::Conv)) return op.type().dtype == DType::F32 ? fold_float_conv(b, op) : fold_integer_conv(b, op);
    if (op.is(OpKind::Contract))
      return op.type().dtype == DType::F32 ? fold_float_contract(b, op) : fold_integer_contract(b, op);
    if (op.is(OpKind::MaxPool) || op.is(OpKind::Reshape) || op.is(OpKind::Transpose)) return act_on_codes(b, op);
    if (op.is_composite("quantize")) return fold_quantize(b, op);
    return nullptr;
  }

  // factor · Σ w over all axes but one.
  Value* sums_of(GraphBuilder& b, Value* weights, int axis, int64_t factor = 1) {
    ConstantTable& constants = module_.constants;
    ConstantId sums = constants.transformed(*constant_of(weights), {.kind = Transform::Kind::Sums, .axes = {axis}});
    if (factor == 1) return b.constant(sums);
    ConstantId by = constants.add_splat(DType::I32, constants[sums].shape, Scalar::of_integer(DType::I32, factor));
    return b.constant(constants.transformed(sums, {.kind = Transform::Kind::Scale, .axes = {0}, .other = by}));
  }

  // y along its axis `axis`: a vector as it broadcasts to `like`.
  static Value* spread(GraphBuilder& b, Value* vector, int axis, const Value* like) {
    return b.broadcast(vector, {axis}, like->type.shape);
  }
  Value* spread(GraphBuilder& b, const std::vector<double>& numbers, int axis, const Value* like) {
    if (numbers.size() == 1) return b.broadcast_to(b.scalar(DType::F32, numbers[0]), like->type.shape);
    std::vector<Scalar> scalars;
    for (double number : numbers) scalars.push_back(Scalar::of_float(DType::F32, round_to(DType::F32, number)));
    ConstantId id = module_.constants.add_scalars(DType::F32, {static_cast<int64_t>(numbers.size())}, scalars);
    return spread(b, b.constant(id), axis, like);
  }

  // Σ x·w - zero·Σ w for a convolution of codes; null when the zero point is known only at run time.
  Value* integer_conv(GraphBuilder& b, const Op& op, Codes x, Value* weights, Value* bias) {
    if (op.params.integer("group") != 1 || !x.has_one_zero()) return nullptr;
    x = codes_of(b, x, DType::U8);
    auto zero = x.zero ? evaluated_scalar(module_, x.zero) : Scalar::of_integer(DType::I32, 0);
    if (!zero) return nullptr;
    std::vector<Value*> operands = {x.codes, weights};
    if (zero->integer != 0) {
      Value* correction = sums_of(b, weights, 0, -zero->integer);
      bias = bias ? b.add(bias, correction) : correction;
    }
    if (bias) operands.push_back(bias);
    Params params = op.params;
    params.set("to", DType::I32);
    if (zero->integer != 0) params.set("fill", zero->integer);
    return b.create(OpKind::Conv, std::move(operands), std::move(params)).result();
  }

  Value* fold_integer_conv(GraphBuilder& b, Op& op) {
    if (op.type().dtype != DType::I32 || op.params.has("to")) return nullptr;
    auto x = centred_codes(b, op.operand(0)), w = centred_codes(b, op.operand(1));
    if (!x || !w || !symmetric_weights(module_, w->codes, w->zero)) return nullptr;
    return integer_conv(b, op, *x, w->codes, op.operands.size() > 2 ? op.operand(2) : nullptr);
  }

  Value* fold_float_conv(GraphBuilder& b, Op& op) {
    Op *x = dequantize_of(op.operand(0)), *w = dequantize_of(op.operand(1));
    if (!x || !w || !symmetric_weights(module_, w->operand(0), zero_point_of(*w))) return nullptr;
    auto x_scale = evaluated_scalar(module_, x->operand(1));
    auto w_scales = along_axis(module_, w->operand(1), 0, w->type().rank());
    if (!x_scale || !w_scales) return nullptr;
    Value* sum = integer_conv(b, op, {x->operand(0), zero_point_of(*x)}, w->operand(0), nullptr);
    return sum ? scaled_sum(b, sum, x_scale->number, *w_scales, 1, op.operands.size() > 2 ? op.operand(2) : nullptr)
               : nullptr;
  }

  // sum · (x_scale · w_scales[axis]) + bias[axis]
  Value* scaled_sum(GraphBuilder& b, Value* sum, double x_scale, std::vector<double> w_scales, int axis, Value* bias) {
    for (double& scale : w_scales) scale = round_to(DType::F32, scale * x_scale);
    Value* y = b.mul(b.convert(sum, DType::F32), spread(b, w_scales, axis, sum));
    if (!bias) return y;
    auto known = evaluated(module_, bias);
    if (!known) return b.add(y, spread(b, bias, axis, y));
    std::vector<double> numbers;
    for (int64_t i = 0; i < known->elements(); ++i) numbers.push_back(known->at(i).number);
    return b.add(y, spread(b, numbers, axis, y));
  }

  // The one letter of the weights that the result has, and nothing else of both operands: their output channels.
  static std::optional<char> columns_of(const Op& contract) {
    const ContractSpec spec = contract_spec(contract);
    std::optional<char> found;
    for (char letter : spec.right) {
      if (spec.result.find(letter) == std::string::npos) continue;
      if (found || spec.left.find(letter) != std::string::npos) return std::nullopt;
      found = letter;
    }
    return found;
  }

  // Σ (x - x_zero)·(w - w_zero) = Σ x·w - x_zero·Σ w - w_zero·(Σ x - K·x_zero) for a product of codes with weights on
  // the right. A dot is of unsigned and signed bytes: x takes the sign that the weights leave.
  Value* integer_contract(GraphBuilder& b, const Op& op, Codes x, Codes w) {
    auto column = columns_of(op);
    if (!column || !x.has_one_zero()) return nullptr;
    const ContractSpec spec = contract_spec(op);
    const int column_axis = static_cast<int>(spec.right.find(*column));
    if (w.zero && is_zero(module_, w.zero)) w.zero = nullptr;
    if (w.zero && !w.has_one_zero() && !is_along(w.zero, column_axis, w.codes)) return nullptr;
    x = codes_of(b, x, w.codes->type.dtype == DType::I8 ? DType::U8 : DType::I8);
    Value* sum = product_less_x_zero(b, spec, *column, x, w.codes);
    return w.zero ? b.sub(sum, w_zero_part(b, spec, *column, x, w, sum)) : sum;
  }

  // Has the value, which broadcasts to trailing axes, one element for each index of the axis of `of`?
  static bool is_along(const Value* value, int axis, const Value* of) {
    const int own = axis - (of->type.rank() - value->type.rank());
    for (int i = 0; i < value->type.rank(); ++i)
      if (value->type.shape[i] != (i == own ? of->type.shape[axis] : value->type.shape[i]) ||
          (i != own && value_of(value->type.shape[i]) != 1))
        return false;
    return own >= 0;
  }

  // w_zero·(Σ x - K·x_zero), of the shape of `sum`.
  Value* w_zero_part(GraphBuilder& b, const ContractSpec& spec, char column, const Codes& x, const Codes& w,
                     const Value* sum) {
    std::vector<int64_t> summed, places;
    Dim depth = b.dim(1);
    for (size_t i = 0; i < spec.left.size(); ++i) {
      const size_t place = spec.result.find(spec.left[i]);
      if (place != std::string::npos) {
        places.push_back(static_cast<int64_t>(place));
      } else {
        summed.push_back(static_cast<int64_t>(i));
        depth = module_.dims.mul(depth, w.codes->type.shape[spec.right.find(spec.left[i])]);
      }
    }
    Value* rows = b.reduce(OpKind::ReduceSum, as_i32(b, x.codes), summed);
    if (x.zero) {
      Value* count = b.scalar(Scalar::of_integer(DType::I32, value_of(depth).value_or(0)));
      rows = b.sub(rows, b.mul(count, b.reshape(as_i32(b, x.zero), {})));
    }
    Value* zero = as_i32(b, w.zero);
    zero = w.has_one_zero() ? b.broadcast_to(b.reshape(zero, {}), sum->type.shape)
                            : spread(b, b.reshape(zero, {w.codes->type.shape[spec.right.find(column)]}),
                                     static_cast<int>(spec.result.find(column)), sum);
    return b.mul(b.broadcast(rows, places, sum->type.shape), zero);
  }

  Value* product_less_x_zero(GraphBuilder& b, const ContractSpec& spec, char column, const Codes& x, Value* weights) {
    Value* sum =
        b.create(OpKind::Contract, {x.codes, weights}, {{"spec", to_string(spec)}, {"to", DType::I32}}).result();
    if (!x.zero || is_zero(module_, x.zero)) return sum;
    const int column_axis = static_cast<int>(spec.right.find(column));
    if (auto known = evaluated_scalar(module_, x.zero)) {
      Value* correction = sums_of(b, weights, column_axis, -known->integer);
      return b.add(sum, spread(b, correction, static_cast<int>(spec.result.find(column)), sum));
    }
    Value* sums = sums_of(b, weights, column_axis);
    Value* zero = b.reshape(as_i32(b, x.zero), {});
    return b.sub(sum, spread(b, b.mul(sums, zero), static_cast<int>(spec.result.find(column)), sum));
  }

  Value* fold_integer_contract(GraphBuilder& b, Op& op) {
    if (op.type().dtype != DType::I32 || op.params.has("to")) return nullptr;
    auto x = centred_codes(b, op.operand(0)), w = centred_codes(b, op.operand(1));
    if (!x || !w || !known_weights(module_, w->codes, w->zero)) return nullptr;
    return integer_contract(b, op, *x, *w);
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

  // x · factor, into the constants x, or both terms of it, were last multiplied and added by. `free_only`: null when it
  // takes a multiplication.
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
    if (!std::isnormal(known->number) || !std::isnormal(1 / known->number) || !comes_from_codes(x)) return nullptr;
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
};

}  // namespace

bool fold_quantization(Module& module, const Options&) {
  bool changed = false;
  for_each_body(module, [&](Region& body) { changed |= Folding(module, body).run(); });
  return changed;
}

}  // namespace lapidary::passes
