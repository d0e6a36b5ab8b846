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

namespace lapidary {

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
  friend class Differentiation;
  explicit Gradients(GraphBuilder& builder) : build(builder) {}

  std::unordered_map<const Value*, Value*> gradients_;
  std::unordered_set<const Value*> wanted_;
};

// Hands the gradients of an op's results on to its operands; at least one result has one, one operand is wanted.
using GradientRule = void (*)(Gradients&, const Op&);
GradientRule gradient_rule(const Op&);  // null: there is none

// gradient_scalar.cpp, gradient_movement.cpp, gradient_sums.cpp, gradient_window.cpp, gradient_composites.cpp,
// gradient_control.cpp, each of the kinds that gradient_rule() sends it.
GradientRule scalar_rule(const Op&);
GradientRule movement_rule(const Op&);
GradientRule sum_rule(const Op&);
GradientRule window_rule(const Op&);
GradientRule composite_rule(const Op&);
GradientRule control_rule(const Op&);

// The indices of a gather along an axis of this extent, negative ones as they are meant.
Value* counted_from_the_front(GraphBuilder&, const Op& gather, Value* indices, Dim extent);

// Has one of the op's results a gradient by what depends on these values?
bool passes_on(const Op&, const std::unordered_set<const Value*>& wanted);

// Gradients by each of `wanted`, values of the builder's region, of what has these gradients by values of that region:
// null where nothing depends on it. Composites on the way that have no rule are replaced by their bodies.
struct Seed {
  Value *value, *gradient;
};
std::vector<Value*> pull_back(GraphBuilder&, std::vector<Seed>, std::span<Value* const> wanted);
// Gradients of `loss`, a float of rank 0, in the same way.
std::vector<Value*> differentiate(GraphBuilder&, Value* loss, std::span<Value* const> wanted);

}  // namespace lapidary
