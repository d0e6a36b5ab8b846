// SHA-256, by LLVM's implementation.
#pragma once

#include <string>
#include <string_view>

namespace lapidary::codegen {

std::string sha256(std::string_view bytes);  // 64 hexadecimal digits

}  // namespace lapidary::codegen
