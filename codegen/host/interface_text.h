// runtime/lapidary.h as text, which every generated header begins with.
#pragma once

#include <string_view>

namespace lapidary::codegen {

std::string_view interface_text();

}  // namespace lapidary::codegen
