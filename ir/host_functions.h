// The functions a host_call may name.
#pragma once

#include <string_view>

namespace lapidary {

bool is_host_function(std::string_view name);
// Does its result lie where operand 0 does, which nobody else may read?
bool works_in_place(std::string_view name);

}  // namespace lapidary
