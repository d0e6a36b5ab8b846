// Reverse-mode differentiation on the Graph level: ops that compute the gradient of a scalar are written behind the ops
// that compute it, one rule for each primitive, and for the few composites of which a rule of their own is better than
// their body's. (Griewank and Walther, "Evaluating Derivatives", 2008.)
//
// Integers, bools and what floor and its like give stop the gradient. What has no rule on a way from a wanted value to
// the loss throws Error{Fault::Unsupported} that names its node.
#pragma once

#include <span>
#include <unordered_map>
#include <unordered_set>

#include "ir/graph_builder.h"

namespace lapidary::train {

class Gradients {
 public:
  GraphBuilder& build;  // behind everything that was there

  // The gradient by a value, as far as it has come: null for none.
  Value* of(const Value* value) const;
  // Adds a contribution, of the value's type and shape.
  void add(Value* value, Value* gradient);
  // Does it depend on a value that is wanted? Only to those are contributions of use.
  bool wants(const Value* value) const { return wanted_.contains(value); }

 private:
  friend std::vector<Value*> differentiate(GraphBuilder&, Value*, std::span<Value* const>);
  explicit Gradients(GraphBuilder& builder) : build(builder) {}

  std::unordered_map<const Value*, Value*> gradients_;
  std::unordered_set<const Value*> wanted_;
};

// Hands the gradients of an op's results on to its operands; at least one result has one, one operand is wanted.
using GradientRule = void (*)(Gradients&, const Op&);
GradientRule gradient_rule(const Op&);  // null: there is none

// gradient_scalar.cpp, gradient_movement.cpp, gradient_sums.cpp, gradient_window.cpp, gradient_composites.cpp: null for
// other kinds of ops.
GradientRule scalar_rule(const Op&);
GradientRule movement_rule(const Op&);
GradientRule sum_rule(const Op&);
GradientRule window_rule(const Op&);
GradientRule composite_rule(const Op&);

// Gradients of `loss`, a float of rank 0, by each of `wanted`, values of the builder's region: null where the loss does
// not depend on it. Composites on the way that have no rule are replaced by their bodies.
std::vector<Value*> differentiate(GraphBuilder&, Value* loss, std::span<Value* const> wanted);

}  // namespace lapidary::train
