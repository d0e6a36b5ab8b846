// NumPy's .npy format, versions 1 to 3: little-endian, C order.
#pragma once

#include <string>

#include "tools/loaded_model.h"

namespace lapidary::tools {

HostTensor read_npy(const std::string& path);          // throws Error naming the file and what is wrong with it
void write_npy(const std::string& path, const HostTensor&);   // under a temporary name, then renamed

}  // namespace lapidary::tools
