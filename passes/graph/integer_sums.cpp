#include "passes/graph/integer_sums.h"

#include <algorithm>

#include "ir/composites.h"
#include "ir/contract_spec.h"
#include "ir/shape_rules.h"
#include "passes/graph/known_values.h"
#include "passes/graph/match.h"
#include "passes/graph/walk.h"

namespace lapidary::passes {

bool is_byte(const Value* value) { return value->type.dtype == DType::U8 || value->type.dtype == DType::I8; }

bool Codes::has_one_zero() const {
  return !zero || std::ranges::all_of(zero->type.shape, [](Dim extent) { return value_of(extent) == 1; });
}

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

Value* spread_along(GraphBuilder& b, Value* vector, int axis, const Value* like) {
  return b.broadcast(vector, {axis}, like->type.shape);
}

namespace {

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

// Σ w over all axes but one.
ConstantId sums_of(Module& module, Value* weights, int axis) {
  return module.constants.transformed(*constant_of(weights), {.kind = Transform::Kind::Sums, .axes = {axis}});
}

// factor · Σ w over all axes but one.
Value* scaled_sums(GraphBuilder& b, Value* weights, int axis, int64_t factor) {
  ConstantTable& constants = b.module.constants;
  ConstantId sums = sums_of(b.module, weights, axis);
  ConstantId by = constants.add_splat(DType::I32, constants[sums].shape, Scalar::of_integer(DType::I32, factor));
  return b.constant(constants.transformed(sums, {.kind = Transform::Kind::Scale, .axes = {0}, .other = by}));
}

Value* numbers_of(GraphBuilder& b, const std::vector<int64_t>& numbers) {
  std::vector<Scalar> scalars;
  for (int64_t number : numbers) scalars.push_back(convert(Scalar::of_integer(DType::I64, number), DType::I32));
  return b.constant(b.module.constants.add_scalars(DType::I32, {static_cast<int64_t>(numbers.size())}, scalars));
}

// --- convolutions ----------------------------------------------------------------------------------------------------

// Weights of a convolution as i8, and the zero point of each output channel; no zero points: all 0.
struct ConvWeights {
  Value* codes = nullptr;
  std::vector<int64_t> zeros;
  int64_t depth = 1;  // products in each sum
};

// Unsigned codes move down by 128, and so does their zero point, which is 128 more often than not.
std::optional<ConvWeights> conv_weights(GraphBuilder& b, const Codes& w) {
  auto extents = constant_extents(w.codes->type.shape);
  if (!extents || extents->empty() || (*extents)[0] == 0) return std::nullopt;
  ConvWeights weights{.codes = w.codes};
  for (size_t i = 1; i < extents->size(); ++i) weights.depth *= (*extents)[i];
  const int64_t offset = w.codes->type.dtype == DType::U8 ? 128 : 0;
  if (offset != 0)
    weights.codes = b.constant(b.module.constants.transformed(
        *constant_of(w.codes), {.kind = Transform::Kind::Convert, .dtype = DType::I8, .shape = {-offset}}));
  std::vector<double> given = {0};
  if (w.zero) {
    auto known = along_axis(b.module, w.zero, 0, w.codes->type.rank());
    if (!known) return std::nullopt;
    given = *known;
  }
  weights.zeros.assign(static_cast<size_t>((*extents)[0]), static_cast<int64_t>(given[0]) - offset);
  if (given.size() > 1)
    std::ranges::transform(given, weights.zeros.begin(), [&](double z) { return static_cast<int64_t>(z) - offset; });
  if (std::ranges::all_of(weights.zeros, [](int64_t zero) { return zero == 0; })) weights.zeros.clear();
  return weights;
}

// zw·Σ x: the sums are a convolution with ones, one channel for each group.
Value* times_window_sums(GraphBuilder& b, const Value* sum, Value* x, const Params& params, const ConvWeights& w) {
  const int64_t group = params.integer("group");
  std::vector<int64_t> extents = *constant_extents(w.codes->type.shape);
  extents[0] = group;
  Value* ones = b.constant(b.module.constants.add_splat(DType::I8, extents, Scalar::of_integer(DType::I8, 1)));
  Value* windows = b.create(OpKind::Conv, {x, ones}, params).result();
  const Shape shape = sum->type.shape;
  if (group > 1) {
    Shape split = windows->type.shape;
    split.insert(split.begin() + 2, b.dim(1));
    windows = b.reshape(windows, split);
    split[2] = b.module.dims.floordiv(shape[1], b.dim(group));
    windows = b.reshape(b.broadcast_to(windows, split), shape);
  } else {
    windows = b.broadcast_to(windows, shape);
  }
  return b.mul(windows, spread_along(b, numbers_of(b, w.zeros), 1, sum));
}

// --- products --------------------------------------------------------------------------------------------------------

// Has the value, which broadcasts to trailing axes, one element for each index of the axis of `of`?
bool is_along(const Value* value, int axis, const Value* of) {
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
      depth = b.module.dims.mul(depth, w.codes->type.shape[spec.right.find(spec.left[i])]);
    }
  }
  Value* rows = b.reduce(OpKind::ReduceSum, as_i32(b, x.codes), summed);
  if (x.zero) {
    Value* count = b.scalar(Scalar::of_integer(DType::I32, value_of(depth).value_or(0)));
    rows = b.sub(rows, b.mul(count, b.reshape(as_i32(b, x.zero), {})));
  }
  Value* zero = as_i32(b, w.zero);
  zero = w.has_one_zero() ? b.broadcast_to(b.reshape(zero, {}), sum->type.shape)
                          : spread_along(b, b.reshape(zero, {w.codes->type.shape[spec.right.find(column)]}),
                                         static_cast<int>(spec.result.find(column)), sum);
  return b.mul(b.broadcast(rows, places, sum->type.shape), zero);
}

Value* product_less_x_zero(GraphBuilder& b, const ContractSpec& spec, char column, const Codes& x, Value* weights) {
  Value* sum = b.create(OpKind::Contract, {x.codes, weights}, {{"spec", to_string(spec)}, {"to", DType::I32}}).result();
  if (!x.zero || is_zero(b.module, x.zero)) return sum;
  const int column_axis = static_cast<int>(spec.right.find(column));
  if (auto known = evaluated_scalar(b.module, x.zero)) {
    Value* correction = scaled_sums(b, weights, column_axis, -known->integer);
    return b.add(sum, spread_along(b, correction, static_cast<int>(spec.result.find(column)), sum));
  }
  Value* sums = b.constant(sums_of(b.module, weights, column_axis));
  Value* zero = b.reshape(as_i32(b, x.zero), {});
  return b.sub(sum, spread_along(b, b.mul(sums, zero), static_cast<int>(spec.result.find(column)), sum));
}

bool has_zero(GraphBuilder& b, const Codes& codes) { return codes.zero && !is_zero(b.module, codes.zero); }

// Where the result has the letters that it has; nothing where it has them in another order.
std::optional<std::vector<int64_t>> places_in_result(const std::string& letters, const ContractSpec& spec) {
  std::vector<int64_t> places;
  for (char letter : letters)
    if (const size_t place = spec.result.find(letter); place != std::string::npos)
      places.push_back(static_cast<int64_t>(place));
  return std::ranges::is_sorted(places) ? std::optional(places) : std::nullopt;
}

// zero · Σ numbers, over the letters that the result has not, whose order it keeps; of the shape of `sum`.
Value* times_sums(GraphBuilder& b, const std::string& letters, const ContractSpec& spec, Value* numbers, Value* zero,
                  const Value* sum) {
  std::vector<int64_t> summed;
  for (size_t i = 0; i < letters.size(); ++i)
    if (spec.result.find(letters[i]) == std::string::npos) summed.push_back(static_cast<int64_t>(i));
  const std::vector<int64_t> places = *places_in_result(letters, spec);
  Value* sums = b.broadcast(b.reduce(OpKind::ReduceSum, numbers, summed), places, sum->type.shape);
  return b.mul(sums, b.broadcast_to(b.reshape(as_i32(b, zero), {}), sum->type.shape));
}

}  // namespace

// A zero point known only at run time is put around x first, as what the convolution would pad with.
Value* integer_conv(GraphBuilder& b, const Op& op, Codes x, Codes w, Value* bias) {
  auto weights = conv_weights(b, w);
  if (!weights || !x.has_one_zero()) return nullptr;
  x = codes_of(b, x, DType::U8);
  auto zero = x.zero ? evaluated_scalar(b.module, x.zero) : Scalar::of_integer(DType::I32, 0);
  Params params = op.params;
  params.set("to", DType::I32);
  std::vector<Value*> operands = {x.codes, weights->codes};
  if (!zero) {
    const Shape pads = params.dims("pads");
    const auto middle = pads.begin() + static_cast<int64_t>(pads.size() / 2);
    Shape lo(2, b.dim(0)), hi(2, b.dim(0));
    lo.insert(lo.end(), pads.begin(), middle);
    hi.insert(hi.end(), middle, pads.end());
    operands[0] = b.pad(x.codes, lo, hi, "constant", b.convert(b.reshape(as_i32(b, x.zero), {}), DType::U8));
    params.set("pads", Shape(pads.size(), b.dim(0)));
  } else if (zero->integer != 0) {
    params.set("fill", zero->integer);
  }
  Value* rest = nullptr;  // zx·(K·zw - Σ w), or what zx is multiplied by where it is not known
  if (!zero || zero->integer != 0) {
    const int64_t factor = zero ? zero->integer : 1;
    rest = scaled_sums(b, weights->codes, 0, -factor);
    std::vector<int64_t> products;
    for (int64_t w_zero : weights->zeros) products.push_back(factor * weights->depth * w_zero);
    if (!products.empty()) rest = b.add(rest, numbers_of(b, products));
  }
  if (zero && rest) bias = bias ? b.add(bias, rest) : rest;
  if (bias) operands.push_back(bias);
  Value* sum = b.create(OpKind::Conv, operands, params).result();
  if (!zero) sum = b.add(sum, spread_along(b, b.mul(rest, b.reshape(as_i32(b, x.zero), {})), 1, sum));
  if (weights->zeros.empty()) return sum;
  return b.sub(sum, times_window_sums(b, sum, operands[0], params, *weights));
}

std::optional<char> columns_of(const Op& contract) {
  const ContractSpec spec = contract_spec(contract);
  std::optional<char> found;
  for (char letter : spec.right) {
    if (spec.result.find(letter) == std::string::npos) continue;
    if (found || spec.left.find(letter) != std::string::npos) return std::nullopt;
    found = letter;
  }
  return found;
}

// A dot is of unsigned and signed bytes: x takes the sign that the weights leave.
Value* integer_contract(GraphBuilder& b, const Op& op, Codes x, Codes w) {
  auto column = columns_of(op);
  if (!column || !x.has_one_zero()) return nullptr;
  const ContractSpec spec = contract_spec(op);
  const int column_axis = static_cast<int>(spec.right.find(*column));
  if (w.zero && is_zero(b.module, w.zero)) w.zero = nullptr;
  if (w.zero && !w.has_one_zero() && !is_along(w.zero, column_axis, w.codes)) return nullptr;
  x = codes_of(b, x, w.codes->type.dtype == DType::I8 ? DType::U8 : DType::I8);
  Value* sum = product_less_x_zero(b, spec, *column, x, w.codes);
  return w.zero ? b.sub(sum, w_zero_part(b, spec, *column, x, w, sum)) : sum;
}

// Σ (x - zx)·(w - zw) == Σ x·w - zx·Σ w - zw·Σ (x - zx)
Value* live_contract(GraphBuilder& b, const Op& op, const Codes& x, const Codes& w) {
  const ContractSpec spec = contract_spec(op);
  if (!x.has_one_zero() || !w.has_one_zero()) return nullptr;
  if (!places_in_result(spec.left, spec) || !places_in_result(spec.right, spec)) return nullptr;
  Value* sum = b.create(OpKind::Contract, {x.codes, w.codes}, {{"spec", to_string(spec)}, {"to", DType::I32}}).result();
  if (has_zero(b, x)) sum = b.sub(sum, times_sums(b, spec.right, spec, as_i32(b, w.codes), x.zero, sum));
  if (has_zero(b, w)) {
    Value* numbers = as_i32(b, x.codes);
    if (has_zero(b, x)) numbers = b.sub(numbers, b.broadcast_to(b.reshape(as_i32(b, x.zero), {}), numbers->type.shape));
    sum = b.sub(sum, times_sums(b, spec.left, spec, numbers, w.zero, sum));
  }
  return sum;
}

}  // namespace lapidary::passes
