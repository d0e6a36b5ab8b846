// Samples to train with, as a model takes them: each array checked against the input it goes to, converted to its type,
// and in its shape. All that can be wrong is found here, before training starts. Test: test/train/train_command.py.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tools/data_files.h"
#include "tools/loaded_model.h"

namespace lapidary::tools {

// What the labels of a classifier may be.
struct LabelRange {
  std::string name;                // the input that takes labels; "" when there is none
  std::optional<int64_t> classes;  // labels are below
  int64_t ignored = -100;          // or this
};

struct Dataset {
  int64_t samples = 0;
  std::vector<HostTensor> columns;  // one for each input, samples along axis 0
  std::vector<bool> flat;           // of each: a batch has one axis, for the places of all its samples

  // These samples as one batch for input `column`.
  HostTensor batch(size_t column, std::span<const int64_t> rows) const;
};

// One column for each slot, in their order; `scale` is what numbers are multiplied by on their way to floats, labels
// not counted. `source` is what messages call the data.
Dataset make_dataset(std::vector<NamedArray>, const std::vector<SlotInfo>& slots, const LabelRange&, double scale,
                     const std::string& source);

}  // namespace lapidary::tools
