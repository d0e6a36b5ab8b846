// An ar archive of one member: what `ar rcs` would write, but for where the member begins.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace lapidary::codegen::host {

// Everything before the member's content, which follows and ends the file: an index of the symbols it defines, and
// padding, so that the content starts at a multiple of 4096. The content is of even length.
std::vector<char> archive_head(const std::string& member, const std::vector<std::string>& symbols, int64_t bytes);

}  // namespace lapidary::codegen::host
