// The check that a gradient is one: the interpreter, in float64 throughout, runs what differentiate() wrote, and
// central differences of the function itself say what it must give.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ir/graph_builder.h"
#include "ir/interpreter.h"

namespace lapidary::test {

// An argument of the function under test: floats are differentiated by unless `wanted` is false.
struct Argument {
  Tensor value;
  bool wanted = true;
  std::vector<std::string> symbols = {};  // names of extents, "" for a constant one; empty: all are constant
};

// Floats that differ from each other by enough to keep kinks away, in (lo, hi), in no order.
Argument floats(std::vector<int64_t> shape, double lo = -2, double hi = 2);
Argument integers(std::vector<int64_t> shape, std::vector<int64_t> values, DType = DType::I64);
Argument fixed(Argument);  // not differentiated by
Argument named(Argument, std::vector<std::string> symbols);

using Build = std::function<std::vector<Value*>(GraphBuilder&, std::span<Value* const>)>;

// Sums every float result times weights of its own, and expects the gradient of that by each wanted argument: in the
// graph, and lowered, with all passes and with none.
void expect_gradients(const std::vector<Argument>&, const Build&);
// What differentiate() says against it: the message of its Error, "" for none.
std::string refusal(const std::vector<Argument>&, const Build&);

// The sum over all float values of each element times a number that depends on its place: a scalar f64.
Value* weighted_sum(GraphBuilder&, std::span<Value* const>);

}  // namespace lapidary::test
