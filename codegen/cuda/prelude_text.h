// What every translation unit begins with.
#pragma once

#include <string_view>

namespace lapidary::codegen::cuda {

std::string_view device_prelude();  // for the device; the emulator's header in its place
std::string_view prelude();         // for both

}  // namespace lapidary::codegen::cuda
