// Objects → shared library, by lld within this process: no C toolchain, no libc of the target, no input files on disk.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace lapidary::codegen::cpu {

struct LinkInput {
  std::vector<std::vector<char>> objects;  // kernels and tables; the runtime, libc and libm come by themselves
  std::vector<std::pair<std::string, std::string>> exports;  // exported name, the hidden symbol it stands for
  std::string reserved_section;  // a SHT_NOBITS section of one of the objects, or none of that name
};

// The library up to the reserved section, whose bytes follow at `bytes.size()` (a multiple of 4096), reserved_bytes of
// them, and end the file.
struct LinkedLibrary {
  std::vector<char> bytes;
  int64_t reserved_bytes = 0;
};

// The same input gives the same bytes, whatever `jobs`. Nothing but `exports` is visible in the result.
LinkedLibrary link_shared_library(const LinkInput&, int jobs);

}  // namespace lapidary::codegen::cpu
