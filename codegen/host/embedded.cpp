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

EMBED(lapidary_runtime_x86_64, LAPIDARY_EMBEDDED "/lapidary_runtime_x86_64")
EMBED(lapidary_libc_x86_64, LAPIDARY_EMBEDDED "/lapidary_libc_x86_64")
EMBED(lapidary_libm_x86_64, LAPIDARY_EMBEDDED "/lapidary_libm_x86_64")
EMBED(lapidary_zstd_x86_64, LAPIDARY_EMBEDDED "/lapidary_zstd_x86_64")
EMBED(lapidary_runtime_aarch64, LAPIDARY_EMBEDDED "/lapidary_runtime_aarch64")
EMBED(lapidary_libc_aarch64, LAPIDARY_EMBEDDED "/lapidary_libc_aarch64")
EMBED(lapidary_libm_aarch64, LAPIDARY_EMBEDDED "/lapidary_libm_aarch64")
EMBED(lapidary_interface_header, LAPIDARY_INTERFACE_HEADER)

#define BYTES(name) std::string_view(name##_begin, static_cast<size_t>(name##_end - name##_begin))

namespace lapidary::codegen::host {

std::string_view runtime_archive(Arch arch) {
  return arch == Arch::X86_64 ? BYTES(lapidary_runtime_x86_64) : BYTES(lapidary_runtime_aarch64);
}
std::string_view zstd_archive(Arch arch) { return arch == Arch::X86_64 ? BYTES(lapidary_zstd_x86_64) : ""; }
std::string_view libc_stub(Arch arch) {
  return arch == Arch::X86_64 ? BYTES(lapidary_libc_x86_64) : BYTES(lapidary_libc_aarch64);
}
std::string_view libm_stub(Arch arch) {
  return arch == Arch::X86_64 ? BYTES(lapidary_libm_x86_64) : BYTES(lapidary_libm_aarch64);
}
std::string_view interface_header() { return BYTES(lapidary_interface_header); }

}  // namespace lapidary::codegen::host
