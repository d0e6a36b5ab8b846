// A program's kernels as CUDA text, compiled for the host against the emulator: callable as the CPU's kernels are.
#pragma once

#include <string>

#include "ir/program.h"
#include "runtime/abi.h"

namespace lapidary::test {

class EmulatedKernels {
 public:
  explicit EmulatedKernels(const Program&);  // throws Error{Fault::Internal} with what the compiler said
  ~EmulatedKernels();
  EmulatedKernels(const EmulatedKernels&) = delete;
  EmulatedKernels& operator=(const EmulatedKernels&) = delete;

  lpd_kernel operator[](uint32_t kernel) const;

 private:
  void* library_ = nullptr;
};

}  // namespace lapidary::test
