// Compiled kernels, loaded into this process: what tests and benchmarks call.
#pragma once

#include "codegen/cpu/compile.h"
#include "runtime/abi.h"

namespace lapidary::codegen::cpu {

class LoadedKernels {
 public:
  LoadedKernels(const Program&, const Target&, const ArtifactOptions& = {});
  ~LoadedKernels();
  LoadedKernels(const LoadedKernels&) = delete;
  LoadedKernels& operator=(const LoadedKernels&) = delete;

  lpd_kernel operator[](uint32_t kernel) const;

 private:
  void* library_ = nullptr;
};

}  // namespace lapidary::codegen::cpu
