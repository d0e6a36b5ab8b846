// Tensors in files, for --input and --output: ONNX's when the name ends in .pb, else NumPy's.
#pragma once

#include <string>

#include "tools/loaded_model.h"

namespace lapidary::tools {

HostTensor read_tensor(const std::string& path);  // throws Error naming the file and what is wrong with it
void write_tensor(const std::string& path, const std::string& name, const HostTensor&);

}  // namespace lapidary::tools
