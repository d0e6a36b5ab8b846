// What the command line says of training, as text, and what it means.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "passes/train/train.h"

namespace lapidary::tools {

struct TrainArguments {
  std::string loss, optimizer, schedule = "constant", precision = "f32", prediction;
  std::vector<std::string> freeze, only;
  std::vector<double> class_weights;
  double clip_norm = 0;
  int64_t accumulate = 1, bucket_bytes = train::TrainOptions().bucket_bytes;
  uint64_t memory_budget = 0;
  bool data_parallel = false;
};

void add_train_options(CLI::App&, TrainArguments&);
// Throws Error{Fault::Usage}.
train::TrainOptions parse_train(const TrainArguments&);

}  // namespace lapidary::tools
