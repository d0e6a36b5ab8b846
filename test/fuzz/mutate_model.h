// Changes a model as a message, so that it stays one: attributes, operands, operators, types, extents and data take
// values that are odd, and nodes move between graphs.
#pragma once

#include <string>
#include <string_view>

namespace lapidary::fuzz {

// Empty when `model` is no message. Nodes and initializers of `other` may be taken.
std::string mutate_model(std::string_view model, std::string_view other, unsigned seed);

}  // namespace lapidary::fuzz
