// What recognisers ask of values: products taken apart whatever their bracketing, shape ops looked through.
#pragma once

#include "ir/graph.h"

namespace lapidary::passes {

// A product: number · Π factors. Divisions by numbers count; a value that is no product is one factor.
struct Product {
  double number = 1;
  std::vector<Value*> factors;
};
Product product_of(const Module&, Value*);

// To the six digits exporters write out; of halves, to what two rounded constants are off.
bool close_to(double a, double b, DType);

// value == x + number: returns x.
Value* plus_number(const Module&, Value*, double* number);

// Walks back over broadcasts, and reshapes that only insert or drop extents of 1.
Value* without_broadcast(Value*);

// x when value == reduce_mean(x) over the trailing axes, broadcast or not; `axis` is the first of them.
Value* mean_of(Value*, int* axis);

// The value a broadcast aligns with the axes from `axis` on: scale and bias of a normalisation. Null if it is not one.
Value* aligned_with_trailing_axes(Value*, int axis);

}  // namespace lapidary::passes
