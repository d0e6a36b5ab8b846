// Files that are part of every product, carried within the compiler as bytes.
#pragma once

#include <string_view>

#include "ir/target.h"

namespace lapidary::codegen::host {

std::string_view runtime_archive(Arch);  // runtime/*.c, compiled; empty where the build had no compiler for it
std::string_view zstd_archive(Arch);     // what products for CUDA unpack their images with; none where they do not run
std::string_view libc_stub(Arch);        // a libc.so.6 of names alone, to link against
std::string_view libm_stub(Arch);
std::string_view interface_header();  // the text of runtime/lapidary.h

}  // namespace lapidary::codegen::host
