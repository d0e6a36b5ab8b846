// The build gives the paths; the assembler reads the files.
#include "codegen/host/embedded.h"

#define EMBED(name, path)                                                                    \
  asm(".pushsection .rodata." #name                                                          \
      ",\"a\"\n"                                                                             \
      ".hidden " #name "_begin, " #name                                                      \
      "_end\n"                                                                               \
      ".globl " #name "_begin, " #name "_end\n" #name "_begin: .incbin \"" path "\"\n" #name \
      "_end:\n"                                                                              \
      ".popsection\n");                                                                      \
  extern "C" const char name##_begin[], name##_end[];

EMBED(lapidary_runtime_archive, LAPIDARY_RUNTIME_ARCHIVE)
EMBED(lapidary_libc_stub, LAPIDARY_LIBC_STUB)
EMBED(lapidary_libm_stub, LAPIDARY_LIBM_STUB)
EMBED(lapidary_interface_header, LAPIDARY_INTERFACE_HEADER)

#define BYTES(name) std::string_view(name##_begin, static_cast<size_t>(name##_end - name##_begin))

namespace lapidary::codegen::host {

std::string_view runtime_archive() { return BYTES(lapidary_runtime_archive); }
std::string_view libc_stub() { return BYTES(lapidary_libc_stub); }
std::string_view libm_stub() { return BYTES(lapidary_libm_stub); }
std::string_view interface_header() { return BYTES(lapidary_interface_header); }

}  // namespace lapidary::codegen::host
