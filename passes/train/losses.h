// Losses on the Graph level, with PyTorch's definitions. Each gives a scalar of the prediction's type.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ir/graph_builder.h"

namespace lapidary::train {

// What a loss is told beside prediction and target.
struct LossOptions {
  int class_axis = 1;           // of the scores; softmax_cross_entropy, soft_cross_entropy, nll; below 0: from the end
  int64_t ignore_index = -100;  // softmax_cross_entropy, nll: labels that do not count
  double label_smoothing = 0;   // softmax_cross_entropy, soft_cross_entropy
  double delta = 1;             // huber
  std::vector<double> weights;  // of each class: of those with a class_axis; empty: all 1
};

// What a sum over the batch becomes, as a sum over the batches of all ranks.
using SumOverRanks = std::function<Value*(Value*)>;

struct Loss {
  Value* value;  // rank 0: the mean over what counts, 0 where that is nothing; with ranks, this one's part of it
  Value* correct = nullptr;  // i64, rank 0: of classifiers, how many are right; null for others
};

const std::vector<std::string>& loss_names();
// From the front, of scores of this rank; throws Error{Fault::Usage} where they have no such axis.
int class_axis(const LossOptions&, int rank);
// The type of the target that goes with a prediction: labels i64 [N, d…] for scores [N, C, d…], or [N, d…, C] with
// class_axis -1, else the prediction's (of soft_cross_entropy probabilities of the classes).
// Throws Error{Fault::Input} when the loss does not go with the prediction.
Type target_type(const std::string& loss, const LossOptions&, const Type& prediction);
// Targets out of range are for the caller to find: they count as ignored. No `over_ranks`: this batch is all.
Loss build_loss(GraphBuilder&, const std::string& loss, const LossOptions&, Value* prediction, Value* target,
                const SumOverRanks& over_ranks = {});

}  // namespace lapidary::train
