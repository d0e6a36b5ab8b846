// NVIDIA's run-time compiler, loaded when it is needed: from the CUDA toolkit or from the package nvidia-cuda-nvrtc.
#pragma once

#include <array>
#include <string>
#include <vector>

namespace lapidary::codegen::cuda {

// What --target=cuda:… names: those that NVRTC 13 makes code for.
inline constexpr std::array kArchitectures = {"sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_90a", "sm_100", "sm_120"};

// One translation unit, compiled for one architecture.
struct Compiled {
  std::vector<char> cubin;
  std::string ptx;
  std::string log;  // registers, spills and shared memory of each kernel
};

// Throws Error: Unsupported when there is no NVRTC (the message says how to get it), Internal when it refuses the text.
Compiled compile(const std::string& text, const std::string& architecture);

}  // namespace lapidary::codegen::cuda
