// Files that are part of every product, carried within the compiler as bytes.
#pragma once

#include <string_view>

namespace lapidary::codegen::host {

std::string_view runtime_archive();  // runtime/*.c, compiled
std::string_view libc_stub();        // a libc.so.6 of names alone, to link against
std::string_view libm_stub();
std::string_view interface_header();  // the text of runtime/lapidary.h

}  // namespace lapidary::codegen::host
