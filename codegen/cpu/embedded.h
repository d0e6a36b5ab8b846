// Files of the build that the compiler carries: the runtime's archive, and empty stand-ins for libc and libm that name
// them as needed without a C toolchain on the user's machine.
#pragma once

#include <string_view>

namespace lapidary::codegen::cpu {

std::string_view embedded_runtime();
std::string_view embedded_libc();
std::string_view embedded_libm();

}  // namespace lapidary::codegen::cpu
