// The functions a host_call may name.
#pragma once

#include <string_view>

namespace lapidary {

bool is_host_function(std::string_view name);

}  // namespace lapidary
