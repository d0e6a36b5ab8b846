// The build gives the folder; the assembler reads the files.
#include <string>

#include "codegen/cuda/prelude_text.h"

#define EMBED(name, path)                                                                                       \
  asm(".pushsection .rodata." #name ",\"a\"\n.hidden " #name "_begin, " #name "_end\n.globl " #name "_begin, " #name \
      "_end\n" #name "_begin: .incbin \"" path "\"\n" #name "_end:\n.popsection\n");                            \
  extern "C" const char name##_begin[], name##_end[];

EMBED(lapidary_cuda_device, LAPIDARY_CUDA_PRELUDE "/device.h")
EMBED(lapidary_cuda_prelude, LAPIDARY_CUDA_PRELUDE "/prelude.h")

namespace lapidary::codegen::cuda {

std::string_view device_prelude() { return {lapidary_cuda_device_begin, lapidary_cuda_device_end}; }
std::string_view prelude() { return {lapidary_cuda_prelude_begin, lapidary_cuda_prelude_end}; }

}  // namespace lapidary::codegen::cuda
