// What each kernel takes of a multiprocessor, as ptxas tells it in NVRTC's log (--ptxas-options=-v).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lapidary::codegen::cuda {

struct KernelResources {
  std::string kernel;                                                    // "lpd_k0"
  int registers = 0;                                                     // of a thread
  int64_t stack_bytes = 0, spill_store_bytes = 0, spill_load_bytes = 0;  // of a thread, in local memory
  int64_t shared_bytes = 0;  // of a block, what is known when it is compiled; more may come at launch
};

// In the order of the log, which is not that of the text.
std::vector<KernelResources> parse_resources(std::string_view log);

}  // namespace lapidary::codegen::cuda
