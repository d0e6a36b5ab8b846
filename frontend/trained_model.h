// A model's file with other values in its initializers: what training gives back. Everything else stays as it was read,
// and weights that lay in files beside the model are in the new one. Test: test/train/train_command.py.
#pragma once

#include <string>
#include <vector>

#include "ir/dtype.h"

namespace lapidary::frontend {

struct NewValue {
  std::string name;  // the initializer's
  DType dtype;
  std::vector<int64_t> dims;
  std::vector<std::byte> bytes;
};

// The new file's content. Throws Error naming the file; Fault::Unsupported where it would have 2 GiB or more, or where
// data outside of the model is in a node's attribute.
std::string model_with_values(const std::string& path, const std::vector<NewValue>&);

}  // namespace lapidary::frontend
