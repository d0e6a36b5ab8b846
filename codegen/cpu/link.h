// Objects → a product, by lld within this process: no C toolchain, no libc of the target, no input files on disk.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ir/target.h"

namespace lapidary::codegen::cpu {

enum class LinkAs {
  Library,  // shared
  Object,   // relocatable: to be linked further, against libc and libm
  Program,  // started by runtime/program.c
};

using Exports = std::vector<std::pair<std::string, std::string>>;  // exported name, the hidden symbol it stands for

struct LinkInput {
  std::vector<std::vector<char>> objects;  // kernels and tables; the runtime, libc and libm come by themselves
  std::vector<std::string_view> archives;  // of which what they need is taken
  Exports exports;                         // of a library or an object
  std::string reserved_section;            // a SHT_NOBITS section of one of the objects, or none of that name
  Arch arch = Arch::X86_64;
};

// The product up to the reserved section, whose bytes follow at `bytes.size()` (a multiple of 4096), reserved_bytes of
// them, and end the file.
struct Linked {
  std::vector<char> bytes;
  int64_t reserved_bytes = 0;
};

// The same input gives the same bytes, whatever `jobs`. Nothing but `exports` is visible in the result.
Linked link(LinkAs, const LinkInput&, int jobs);

}  // namespace lapidary::codegen::cpu
