#include "codegen/cpu/embedded.h"

#include "codegen/host/interface_text.h"

// Made by embedded.S.
extern "C" {
extern const char lpd_runtime_begin[], lpd_runtime_end[];
extern const char lpd_libc_begin[], lpd_libc_end[];
extern const char lpd_libm_begin[], lpd_libm_end[];
extern const char lpd_interface_begin[], lpd_interface_end[];
}

namespace lapidary::codegen::cpu {

std::string_view embedded_runtime() { return {lpd_runtime_begin, lpd_runtime_end}; }
std::string_view embedded_libc() { return {lpd_libc_begin, lpd_libc_end}; }
std::string_view embedded_libm() { return {lpd_libm_begin, lpd_libm_end}; }

}  // namespace lapidary::codegen::cpu

namespace lapidary::codegen {

std::string_view interface_text() { return {lpd_interface_begin, lpd_interface_end}; }

}  // namespace lapidary::codegen
