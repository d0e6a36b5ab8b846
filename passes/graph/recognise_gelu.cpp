// GELU as exporters write it, in any bracketing:
//   erf:   x · (erf(x / √2) + 1) · 0.5
//   tanh:  x · (tanh(√(2/π) · (x + 0.044715 x³)) + 1) · 0.5, or √(2/π) · x · (1 + 0.044715 x²) inside
// That of halves is computed in f32 and rounded once, as the operator Gelu is; with strict numerics it stays as it is.
#include <algorithm>
#include <cmath>

#include "ir/composites.h"
#include "passes/graph/match.h"
#include "passes/graph/recognise.h"
#include "passes/graph/walk.h"

namespace lapidary::passes {

namespace {

const double kInverseRoot2 = std::sqrt(0.5), kRoot2OverPi = std::sqrt(2 / std::acos(-1.0)), kCubic = 0.044715;

bool is_power(const Product& product, Value* x, size_t exponent) {
  return product.factors == std::vector<Value*>(exponent, x);
}

bool is_tanh_argument(const Module& module, Value* value, Value* x) {
  Product product = product_of(module, value);
  if (!close_to(product.number, kRoot2OverPi, x->type.dtype)) return false;
  if (product.factors.size() == 1) {  // (x + 0.044715 x³)
    Op* add = producer_of_kind(product.factors[0], OpKind::Add);
    if (!add) return false;
    Value* cubic = add->operand(0) == x ? add->operand(1) : add->operand(1) == x ? add->operand(0) : nullptr;
    if (!cubic) return false;
    Product term = product_of(module, cubic);
    return is_power(term, x, 3) && close_to(term.number, kCubic, x->type.dtype);
  }
  if (product.factors.size() != 2 || std::ranges::find(product.factors, x) == product.factors.end()) return false;
  Value* other = product.factors[product.factors[0] == x ? 1 : 0];  // x · (1 + 0.044715 x²)
  double one = 0;
  Value* square = plus_number(module, other, &one);
  if (!square || one != 1) return false;
  Product term = product_of(module, square);
  return is_power(term, x, 2) && close_to(term.number, kCubic, x->type.dtype);
}

enum class Form { None, Erf, Tanh };

// Which form of 1 + f(x) the value is.
Form form_of(const Module& module, Value* value, Value* x) {
  double one = 0;
  Value* inner = plus_number(module, value, &one);
  if (!inner || one != 1) return Form::None;
  if (Op* erf = producer_of_kind(inner, OpKind::Erf)) {
    Product argument = product_of(module, erf->operand(0));
    return is_power(argument, x, 1) && close_to(argument.number, kInverseRoot2, x->type.dtype) ? Form::Erf : Form::None;
  }
  Op* tanh = producer_of_kind(inner, OpKind::Tanh);
  return tanh && is_tanh_argument(module, tanh->operand(0), x) ? Form::Tanh : Form::None;
}

}  // namespace

Value* recognise_gelu(GraphBuilder& b, Op& op, const Options& options) {
  if (!op.is(OpKind::Mul)) return nullptr;
  Product product = product_of(b.module, op.result());
  if (product.factors.size() != 2 || product.number != 0.5) return nullptr;
  for (int i = 0; i < 2; ++i) {
    Form form = form_of(b.module, product.factors[1 - i], product.factors[i]);
    if (form == Form::None) continue;
    Value* x = product.factors[i];
    const DType dtype = x->type.dtype;
    const bool is_half = dtype == DType::F16 || dtype == DType::BF16;
    if (is_half && options.numerics == Numerics::Strict) return nullptr;
    Value* y = composites::gelu(b, is_half ? b.convert(x, DType::F32) : x, form == Form::Tanh);
    return is_half ? b.convert(y, dtype) : y;
  }
  return nullptr;
}

}  // namespace lapidary::passes
