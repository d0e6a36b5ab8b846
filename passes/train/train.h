// From a model's forward pass to the entry points of training. The importer leaves a module with two functions that
// read parameters as states: `run`, as the model infers, and `train_step`, as it is while it trains, whose results are
// the model's own and the new values of its statistics. Here `train_step` becomes
//
//   train_step(inputs…, target) → loss, correct?      and every parameter and state of the optimiser moves by a step
//   eval_step(inputs…, target) → loss, correct?, outputs…      as the model infers; nothing moves
//
// States added to the importer's, parameters, statistics and "step" (i64, steps done): "learning_rate" (f32, the base
// rate, which may be set), and for each trainable parameter NAME the optimiser's, "NAME.mean".
#pragma once

#include <string>
#include <vector>

#include "passes/train/losses.h"
#include "passes/train/updates.h"

namespace lapidary::train {

struct TrainOptions {
  std::vector<std::string>
      asked;  // options that were given, of those that a model with training_info leaves no room for
  std::string loss = "softmax_cross_entropy";  // or "none": the model's output `output` is the loss, of one element
  LossOptions loss_options;
  std::string output;  // which of the model's outputs is the prediction; empty: the first
  OptimizerOptions optimizer;
  UpdateOptions updates;
  DType precision = DType::F32;     // of products: F32, BF16, or F16, for which the loss is scaled
  int64_t memory_budget = 0;        // bytes for what lives in a step only; more is made again where it can; 0: any
  std::vector<std::string> freeze;  // parameters by name, '*' and '?' as in a shell
  std::vector<std::string> only;    // the same of those that are trained; empty: all
  uint64_t seed = 0;                // of what the model draws while it trains
  bool data_parallel = false;       // the batch is one rank's share
  int64_t bucket_bytes = 4 << 20;   // of gradients that are summed over the ranks at once, at least
};

struct TrainNotes {
  std::vector<std::string> trained, frozen;
  std::vector<std::string> unreached;  // parameters that the loss does not depend on
  int64_t numbers = 0;                 // of all trained parameters
  std::string scores_behind;           // "softmax", "sigmoid": the loss is of what the model's last one takes
  bool wants_logarithms = false;       // the loss takes logarithms of what the model gives
};

// The name that the target is given: "labels", or "labels_1" … where the model has such an input.
std::string target_name(const Module&);

// Throws Error{Fault::Unsupported} that names the node through which there is no gradient, Fault::Usage for options
// that do not fit the model.
TrainNotes add_training(Module&, const TrainOptions&);

}  // namespace lapidary::train
