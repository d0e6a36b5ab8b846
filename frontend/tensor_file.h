// One tensor in a file of its own: ONNX's TensorProto, as its test data and tools have it (`input_0.pb`).
#pragma once

#include <span>
#include <string>
#include <vector>

#include "ir/dtype.h"

namespace lapidary::frontend {

struct TensorFile {
  DType dtype;
  std::vector<int64_t> dims;
  std::vector<std::byte> bytes;      // of numbers
  std::vector<std::string> strings;  // else
};

// Checked like an initializer; external data is refused. Throws Error naming the file.
TensorFile read_tensor_file(const std::string& path);
std::string tensor_message(const std::string& name, const TensorFile&);

}  // namespace lapidary::frontend
