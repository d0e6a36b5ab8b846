// Images as a product holds them: all modules of one architecture in one frame of Zstandard. Kernels of one model are
// variations of few themes, and a third of a cubin is tables and names: with each other, ResNet-50's 61 modules for
// sm_80 take a 14th of their bytes (each alone a 6th), and the host unpacks them in a millisecond. Level 12 is the last
// that costs nearly nothing (11 MB of images to 0.64 MB in 0.2 s; level 19: to 0.56 MB in 2.2 s); LZ4 makes 2.3 MB.
//
// Test: test/codegen/packing_test.cpp.
#pragma once

#include "codegen/cuda/compile.h"

namespace lapidary::codegen::cuda {

struct PackedImage {
  std::string arch;
  uint32_t level = 0, made_by = 0;
  std::vector<int64_t> modules;          // where each begins in what is packed, of `plain_bytes`; a zero byte behind it
  std::vector<uint32_t> kernel_modules;  // which of them has each of the level's kernels
  int64_t plain_bytes = 0;
  std::vector<char> frame;
};

// One for each level and architecture, in their order.
std::vector<PackedImage> pack(const std::vector<Image>&, int jobs);

}  // namespace lapidary::codegen::cuda
