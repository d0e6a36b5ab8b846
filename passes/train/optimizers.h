// Optimisers on the Graph level, with PyTorch's definitions (torch.optim 2.x): how a parameter moves by its gradient.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ir/graph_builder.h"

namespace lapidary::train {

// Numbers of an optimiser by name: "lr", "momentum", "nesterov", "weight_decay", "beta1", "beta2", "eps", "alpha" …
struct OptimizerOptions {
  std::string name = "sgd";
  std::vector<std::pair<std::string, double>> numbers;  // given ones; others have PyTorch's defaults
};

// One optimiser with its numbers. Each parameter has `slots` states of its own shape, beginning as zeros.
struct OptimizerKind;

class Optimizer {
 public:
  explicit Optimizer(const OptimizerOptions&);  // throws Error{Fault::Usage} for names and numbers that are not there

  const std::vector<std::string>& slots() const { return slots_; }
  double number(std::string_view name) const;
  std::string text() const;  // with all its numbers: "sgd,lr=0.1,…"

  // For all parameters of one step, once: what the step's number (i64 [], from 1) and learning rate (f32 []) give.
  struct Step {                  // f32 []
    Value* rate;                 // corrected for the moments' beginnings, where there are some
    Value* plain;                // as it was given
    Value* of_square = nullptr;  // what the root of a mean of squares is multiplied by for the same reason
    Value* share = nullptr;      // of a gradient in the momentum; null: all of it
  };
  Step begin(GraphBuilder&, Value* step, Value* rate) const;
  // → the parameter and its states anew. All are f32 of one shape.
  std::vector<Value*> update(GraphBuilder&, const Step&, Value* parameter, Value* gradient,
                             const std::vector<Value*>& states) const;

 private:
  const OptimizerKind* kind_;
  std::vector<std::string> slots_;
  std::vector<std::pair<std::string, double>> numbers_;
};

std::vector<std::string> optimizer_names();

// Learning rates over time: what the base rate is multiplied by in a step, counted from 0.
struct Schedule {
  std::string kind = "constant";  // constant, step, cosine, linear
  int64_t warmup = 0;             // steps in which the rate grows from 0, linearly, before anything else
  int64_t total = 0;              // cosine, linear: steps in all, at whose end the rate is `end` times the base
  int64_t every = 0;              // step: after so many steps the rate is multiplied by gamma
  double gamma = 0.1, end = 0;
};
const std::vector<std::string>& schedule_names();
Value* schedule_factor(GraphBuilder&, const Schedule&, Value* step);  // step: i64 [] → f32 []
double schedule_factor(const Schedule&, int64_t step);                // the same, for reports

}  // namespace lapidary::train
