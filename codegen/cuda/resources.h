// What each kernel takes of a multiprocessor, as ptxas tells it in NVRTC's log (--ptxas-options=-v).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lapidary::codegen::cuda {

struct KernelResources {
  std::string kernel;  // "lpd_k0"
  int threads = 0;     // of a block
  int registers = 0;   // of a thread; so are the next
  int64_t stack_bytes = 0, spill_store_bytes = 0, spill_load_bytes = 0;
  int64_t shared_bytes = 0;  // of a block
};

// In the order of the log, which is not that of the text. What is chosen at launch (threads, dynamic shared memory) it
// does not tell.
std::vector<KernelResources> parse_resources(std::string_view log);

}  // namespace lapidary::codegen::cuda
