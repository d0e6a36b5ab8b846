// Programs → images: what a driver loads. A program's kernels are compiled in units of a few dozen, each for each
// architecture of the target, side by side.
//
// So there may be several images of one architecture, none of which has all kernels: a product loads those of the one
// it has chosen as a module each, and looks a kernel up in the image whose `kernels` names it.
#pragma once

#include <string>
#include <vector>

#include "codegen/codegen.h"
#include "codegen/cuda/resources.h"

namespace lapidary::codegen::cuda {

struct Image {
  std::string arch;  // "sm_80": a cubin, "compute_80": PTX
  std::vector<char> bytes;
  uint32_t level = 0;                    // whose kernels it holds
  uint32_t made_by = 0;                  // version of NVRTC
  std::vector<KernelResources> kernels;  // that it holds, in the program's order; PTX has no registers yet
};

bool is_cubin(const std::string& architecture);

// Of each level for its target's architectures, in their order, then in that of the kernels. Kernel i of the level-th
// program is cpu::kernel_symbol(i, level). Bytes depend on programs, target and NVRTC alone, never on options.jobs or
// the cache.
std::vector<Image> compile_images(const std::vector<Level>& levels, const ArtifactOptions&);

// All kernels as one text that NVRTC takes.
std::string cuda_text(const Program&, uint32_t level = 0, bool strict_math = false);

}  // namespace lapidary::codegen::cuda
