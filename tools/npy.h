// NumPy's .npy format, versions 1 to 3: little-endian, C order.
#pragma once

#include <span>
#include <string>

#include "tools/loaded_model.h"

namespace lapidary::tools {

// All throw Error naming the file and what is wrong with it.
HostTensor read_npy(const std::string& path);
HostTensor parse_npy(const std::string& name, std::span<const std::byte> content);
std::string npy_content(const std::string& path, const HostTensor&);

}  // namespace lapidary::tools
