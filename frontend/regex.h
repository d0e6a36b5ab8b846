// Regular expressions in RE2's syntax → automata that read bytes of UTF-8, as match_automaton of host_functions.def has
// them. What a text matches as a whole is regular, so groups, greed and laziness do not matter and nothing backtracks.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace lapidary::frontend {

// Throws Error{Fault::Input} on what RE2 does not take, {Fault::Unsupported} on Unicode's classes (\pL), lines ((?m)),
// single bytes (\C), and on patterns whose automaton is too large.
std::vector<int32_t> automaton_of(std::string_view pattern);

}  // namespace lapidary::frontend
