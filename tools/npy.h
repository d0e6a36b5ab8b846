// NumPy's .npy format, versions 1 to 3: little-endian, C order.
#pragma once

#include <string>

#include "tools/loaded_model.h"

namespace lapidary::tools {

// Both throw Error naming the file and what is wrong with it.
HostTensor read_npy(const std::string& path);
std::string npy_content(const std::string& path, const HostTensor&);

}  // namespace lapidary::tools
