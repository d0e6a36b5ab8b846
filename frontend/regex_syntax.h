// Private to regex*.cpp: a pattern as a tree.
#pragma once

#include <memory>
#include <string_view>
#include <utility>
#include <vector>

namespace lapidary::frontend::regex {

using Ranges = std::vector<std::pair<uint32_t, uint32_t>>;  // of code points, both ends counted; sorted, apart

struct Tree {
  enum class Kind { Set, Sequence, Choice, Repeat, Begin, End, Boundary, NoBoundary };  // the last two: of words
  Kind kind = Kind::Sequence;
  Ranges set = {};
  std::vector<Tree> parts = {};
  int least = 0, most = -1;  // of a Repeat; -1: any number
};

constexpr int kMostRepeats = 1000;
constexpr size_t kMostBytes = 16 << 10;

Tree parse(std::string_view pattern);

}  // namespace lapidary::frontend::regex
