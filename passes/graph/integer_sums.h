// Products and convolutions of codes, bytes of which each stands for a number less a zero point, as sums of products of
// the bytes themselves, u8 · i8 in i32, and corrections:
//
//   Σ (x - zx)·(w - zw) == Σ x·w - zx·Σ w - zw·(Σ x - K·zx)          K numbers in each sum
//
// Σ w is a transform of the weights, made when the artifact is written; of live ones it is a sum of columns. Σ x, of
// weights with a zero point alone, is a sum of rows, or a convolution with ones. Padding is 0, whose code is zx, so
// that is what a convolution is padded with.
#pragma once

#include <optional>

#include "ir/graph_builder.h"

namespace lapidary::passes {

bool is_byte(const Value*);  // u8 or i8

// Codes less a zero point of any integer type; null: 0.
struct Codes {
  Value* codes = nullptr;
  Value* zero = nullptr;
  bool has_one_zero() const;
};

// What sub(convert(codes, i32), zero) is made of, moved or not.
std::optional<Codes> centred_codes(GraphBuilder&, Value*);

// The sum that a conv or contract op of such numbers is, as i32; null where it must stay as it is. Weights are
// constants with a zero point known now, one for all or one for each output channel.
Value* integer_conv(GraphBuilder&, const Op&, Codes x, Codes w, Value* bias);
Value* integer_contract(GraphBuilder&, const Op&, Codes x, Codes w);
// Of two operands that the run computes, of one zero point each.
Value* live_contract(GraphBuilder&, const Op&, const Codes& x, const Codes& w);

// The one letter of a contract's weights, on the right, that the result has, and nothing else of both operands: their
// output channels.
std::optional<char> columns_of(const Op& contract);
// A vector along the axis `axis` of `like`, of its shape.
Value* spread_along(GraphBuilder&, Value* vector, int axis, const Value* like);

}  // namespace lapidary::passes
