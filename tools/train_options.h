// What the command line says of training, as text, and what it means.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "passes/train/train.h"

namespace lapidary::tools {

struct TrainArguments {
  std::string loss = "softmax_cross_entropy", optimizer = "sgd", schedule = "constant", precision = "f32", prediction;
  std::vector<std::string> freeze;
  std::vector<double> class_weights;
  double clip_norm = 0;
  int64_t accumulate = 1, bucket_bytes = train::TrainOptions().bucket_bytes;
  bool data_parallel = false;
};

void add_train_options(CLI::App&, TrainArguments&);
// Throws Error{Fault::Usage}.
train::TrainOptions parse_train(const TrainArguments&);

}  // namespace lapidary::tools
