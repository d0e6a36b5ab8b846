// How many registers a kernel may have: as many as leave room for the blocks that __launch_bounds__ asks for. Where it
// asks for none, ptxas chooses, and puts a word or two in memory where one more block then fits a multiprocessor; where
// it asks for several, a kernel may need more than their share. What that comes to differs from device to device, so
// it is read from the log, and kernels that spilled are compiled again, for fewer blocks.
#pragma once

#include <string>
#include <vector>

#include "codegen/cuda/resources.h"

namespace lapidary::codegen::cuda {

// The text with more registers for each of the kernels that spilled; as it was when none did or has any more to get.
std::string with_more_registers(std::string text, const std::vector<KernelResources>&);

}  // namespace lapidary::codegen::cuda
