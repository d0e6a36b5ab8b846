// The text of a translation unit: what kernels are written in, as far as these use it, then the kernels. It compiles
// under NVRTC, and on the host when a header that has the names of device.h (the emulator) is included before it.
#pragma once

#include <string>
#include <string_view>

namespace lapidary::codegen::cuda {

// Every part costs each unit compile time (all conversions 27 ms, as much as a small kernel), so what the kernels do
// not name is left out.
std::string unit_text(std::string_view kernels);

}  // namespace lapidary::codegen::cuda
