// RE2's syntax by recursive descent.
#include "frontend/regex_syntax.h"

#include <algorithm>

#include "frontend/node.h"
#include "frontend/ops/letter_case.h"
#include "ir/strings.h"

namespace lapidary::frontend::regex {
namespace {

constexpr uint32_t kLastCodePoint = 0x10ffff;
constexpr int kDeepest = 200;

Ranges joined(Ranges ranges) {
  std::ranges::sort(ranges);
  Ranges result;
  for (const auto& [first, last] : ranges) {
    if (!result.empty() && first <= result.back().second + 1)
      result.back().second = std::max(result.back().second, last);
    else
      result.emplace_back(first, last);
  }
  return result;
}

Ranges negated(const Ranges& ranges) {
  Ranges result;
  uint32_t next = 0;
  for (const auto& [first, last] : joined(ranges)) {
    if (first > next) result.emplace_back(next, first - 1);
    next = last + 1;
  }
  if (next <= kLastCodePoint) result.emplace_back(next, kLastCodePoint);
  return result;
}

bool contains(const Ranges& ranges, uint32_t c) {
  auto after = std::ranges::upper_bound(ranges, c, {}, [](const auto& range) { return range.first; });
  return after != ranges.begin() && std::prev(after)->second >= c;
}

// With every letter its counterparts in the other case, and theirs.
Ranges folded(Ranges ranges) {
  for (int round = 0; round < 2; ++round) {
    ranges = joined(std::move(ranges));
    Ranges more;
    const auto fold = [&](const auto& runs) {
      for (const auto& [first, last, step, distance] : runs)
        for (int32_t c = first; c <= last; c += step) {
          const auto here = static_cast<uint32_t>(c), there = static_cast<uint32_t>(c + distance);
          if (contains(ranges, here)) more.emplace_back(there, there);
          if (contains(ranges, there)) more.emplace_back(here, here);
        }
    };
    fold(kToLower);
    fold(kToUpper);
    ranges.insert(ranges.end(), more.begin(), more.end());
  }
  return joined(std::move(ranges));
}

struct Class {
  std::string_view name;
  Ranges set;
};
const Class kPerl[] = {
    {"d", {{'0', '9'}}},
    {"s", {{'\t', '\n'}, {'\f', '\r'}, {' ', ' '}}},
    {"w", {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}},
};
const Class kPosix[] = {
    {"alnum", {{'0', '9'}, {'A', 'Z'}, {'a', 'z'}}},
    {"alpha", {{'A', 'Z'}, {'a', 'z'}}},
    {"ascii", {{0, 127}}},
    {"blank", {{'\t', '\t'}, {' ', ' '}}},
    {"cntrl", {{0, 31}, {127, 127}}},
    {"digit", {{'0', '9'}}},
    {"graph", {{'!', '~'}}},
    {"lower", {{'a', 'z'}}},
    {"print", {{' ', '~'}}},
    {"punct", {{'!', '/'}, {':', '@'}, {'[', '`'}, {'{', '~'}}},
    {"space", {{'\t', '\r'}, {' ', ' '}}},
    {"upper", {{'A', 'Z'}}},
    {"word", {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}},
    {"xdigit", {{'0', '9'}, {'A', 'F'}, {'a', 'f'}}},
};

template <size_t N>
const Ranges* find(const Class (&classes)[N], std::string_view name) {
  const auto found = std::ranges::find(classes, name, &Class::name);
  return found == std::end(classes) ? nullptr : &found->set;
}

bool is_digit(uint32_t c) { return c >= '0' && c <= '9'; }
int hex_digit(uint32_t c) {
  if (is_digit(c)) return static_cast<int>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<int>(c - 'a') + 10;
  return c >= 'A' && c <= 'F' ? static_cast<int>(c - 'A') + 10 : -1;
}

class Parser {
 public:
  explicit Parser(std::string_view pattern) : pattern_(pattern) {}

  Tree parse() {
    Tree tree = choice(0);
    if (at_ < pattern_.size()) wrong("a ')' without '('");
    return tree;
  }

 private:
  struct Flags {
    bool fold = false, dot_all = false;
  };

  [[noreturn]] void wrong(const std::string& what) const {
    fail("pattern '{}': {} at byte {}", printable(pattern_), what, at_);
  }
  [[noreturn]] void not_yet(const std::string& what) const {
    unsupported("pattern '{}': {}", printable(pattern_), what);
  }

  // --- characters
  bool at_end() const { return at_ == pattern_.size(); }
  bool looking_at(std::string_view text) const { return pattern_.substr(at_).starts_with(text); }
  bool accept(std::string_view text) {
    if (!looking_at(text)) return false;
    at_ += text.size();
    return true;
  }
  uint32_t next() {
    if (at_end()) wrong("the end");
    const uint32_t c = next_code_point(pattern_, at_);
    if (c >= kNoCodePoint) wrong("a byte that is no UTF-8");
    return c;
  }

  // --- structure
  Tree choice(int depth) {
    if (depth > kDeepest) not_yet("groups nested this deep");
    const Flags outside = flags_;
    Tree tree{.kind = Tree::Kind::Choice};
    do tree.parts.push_back(sequence(depth));
    while (accept("|"));
    flags_ = outside;
    return tree.parts.size() == 1 ? std::move(tree.parts[0]) : tree;
  }

  Tree sequence(int depth) {
    Tree tree;
    while (!at_end() && !looking_at("|") && !looking_at(")")) {
      if (accept("\\Q")) {
        quoted(tree);
        continue;
      }
      std::optional<Tree> part = atom(depth);
      if (!part) continue;  // flags
      tree.parts.push_back(repeated(std::move(*part)));
    }
    return tree;
  }

  void quoted(Tree& tree) {
    while (!at_end() && !accept("\\E")) tree.parts.push_back(set({{next(), 0}}));
    if (!tree.parts.empty() && pattern_.substr(0, at_).ends_with("\\E"))
      tree.parts.back() = repeated(std::move(tree.parts.back()));
  }

  Tree set(Ranges ranges) const {
    for (auto& [first, last] : ranges) last = std::max(first, last);
    return {.kind = Tree::Kind::Set, .set = flags_.fold ? folded(std::move(ranges)) : joined(std::move(ranges))};
  }

  std::optional<Tree> atom(int depth) {
    if (accept("(")) return group(depth);
    if (accept("[")) return Tree{.kind = Tree::Kind::Set, .set = bracket()};
    if (accept("\\A") || accept("^")) return Tree{.kind = Tree::Kind::Begin};
    if (accept("\\z") || accept("$")) return Tree{.kind = Tree::Kind::End};
    if (accept("\\b")) return Tree{.kind = Tree::Kind::Boundary};
    if (accept("\\B")) return Tree{.kind = Tree::Kind::NoBoundary};
    if (accept("."))
      return Tree{.kind = Tree::Kind::Set, .set = negated(flags_.dot_all ? Ranges{} : Ranges{{'\n', '\n'}})};
    if (looking_at("*") || looking_at("+") || looking_at("?")) wrong("nothing to repeat");
    if (accept("\\")) {
      Ranges ranges;
      if (named_class(ranges)) return Tree{.kind = Tree::Kind::Set, .set = std::move(ranges)};
      return set({{escaped(), 0}});
    }
    return set({{next(), 0}});
  }

  std::optional<Tree> group(int depth) {
    if (accept("?")) {
      if (accept("P<") || accept("<")) {
        const size_t end = pattern_.find('>', at_);
        const auto part_of_name = [](unsigned char c) { return isalnum(c) || c == '_'; };
        if (end == pattern_.npos || end == at_ || !std::ranges::all_of(pattern_.substr(at_, end - at_), part_of_name))
          wrong("a group's name");
        at_ = end + 1;
      } else if (!flags_of_group()) {
        return std::nullopt;
      } else {
        return choice_in_flags(depth);
      }
    }
    Tree tree = choice(depth + 1);
    if (!accept(")")) wrong("a '(' without ')'");
    return tree;
  }

  Tree choice_in_flags(int depth) {
    const Flags outside = std::exchange(flags_, inside_);
    Tree tree = choice(depth + 1);
    if (!accept(")")) wrong("a '(' without ')'");
    flags_ = outside;
    return tree;
  }

  // "i-s:" or "i-s)": the former holds inside, true; the latter from here on, false.
  bool flags_of_group() {
    inside_ = flags_;
    bool on = true;
    while (true) {
      const uint32_t c = next();
      if (c == ':') return true;
      if (c == ')') {
        flags_ = inside_;
        return false;
      }
      if (c == '-' && on)
        on = false;
      else if (c == 'i')
        inside_.fold = on;
      else if (c == 's')
        inside_.dot_all = on;
      else if (c == 'm' && on)
        not_yet("lines, (?m)");
      else if (c != 'U' && c != 'm')  // what is lazy matters to submatches only
        wrong("a group's flags");
    }
  }

  // --- repetition
  Tree repeated(Tree tree) {
    std::optional<std::pair<int, int>> count = repetition();
    if (!count) return tree;
    accept("?");
    if (const size_t here = at_; repetition()) {
      at_ = here;
      wrong("a repetition of a repetition");
    }
    const auto [least, most] = *count;
    if (most >= 0 && least > most) wrong("a repetition from more to less");
    if (std::max(least, most) > kMostRepeats) wrong(fmt::format("more than {} repetitions", kMostRepeats));
    return {.kind = Tree::Kind::Repeat, .parts = {std::move(tree)}, .least = least, .most = most};
  }

  std::optional<std::pair<int, int>> repetition() {
    if (accept("*")) return std::pair(0, -1);
    if (accept("+")) return std::pair(1, -1);
    if (accept("?")) return std::pair(0, 1);
    const size_t begin = at_;
    if (accept("{")) {
      std::optional<int> least = count();
      std::optional<int> most = least;
      if (least && accept(",")) most = looking_at("}") ? std::optional(-1) : count();
      if (least && most && accept("}")) return std::pair(*least, *most);
    }
    at_ = begin;  // a '{' like any other character
    return std::nullopt;
  }

  std::optional<int> count() {
    if (at_end() || !is_digit(static_cast<unsigned char>(pattern_[at_]))) return std::nullopt;
    int value = 0;
    for (; !at_end() && is_digit(static_cast<unsigned char>(pattern_[at_])); ++at_)
      value = std::min(10 * value + (pattern_[at_] - '0'), 10 * kMostRepeats);
    return value;
  }

  // --- classes
  // After a backslash: \d and the like, added to `ranges`.
  bool named_class(Ranges& ranges) {
    if (at_end()) wrong("a backslash at the end");
    const char c = pattern_[at_];
    if (c == 'p' || c == 'P') not_yet("classes of Unicode, \\p");
    const char lower = static_cast<char>(tolower(c));
    const Ranges* found = find(kPerl, {&lower, 1});
    if (!found) return false;
    ++at_;
    add_class(ranges, *found, c != lower);
    return true;
  }

  void add_class(Ranges& ranges, const Ranges& found, bool negative) const {
    Ranges set = flags_.fold ? folded(found) : found;
    if (negative) set = negated(set);
    ranges.insert(ranges.end(), set.begin(), set.end());
  }

  uint32_t escaped() {
    if (at_end()) wrong("a backslash at the end");
    const uint32_t c = next();
    switch (c) {
      case 'a':
        return 7;
      case 'f':
        return '\f';
      case 'n':
        return '\n';
      case 'r':
        return '\r';
      case 't':
        return '\t';
      case 'v':
        return '\v';
      case 'x':
        return hexadecimal();
      case 'C':
        not_yet("single bytes, \\C");
      default:
        break;
    }
    if (is_digit(c)) return octal(c - '0');
    if (c >= 0x80 || isalnum(static_cast<int>(c))) wrong("an unknown escape");
    return c;
  }

  uint32_t octal(uint32_t value) {
    const auto is_octal = [&] { return !at_end() && pattern_[at_] >= '0' && pattern_[at_] <= '7'; };
    if (value > 7 || (value != 0 && !is_octal())) wrong("a reference to a group");
    for (int i = 0; i < 2 && is_octal(); ++i) value = 8 * value + static_cast<uint32_t>(pattern_[at_++] - '0');
    return value;
  }

  uint32_t hexadecimal() {
    const bool braces = accept("{");
    uint32_t value = 0;
    for (int digits = 0;; ++digits) {
      if (braces && digits > 0 && accept("}")) break;
      if (!braces && digits == 2) break;
      const int digit = hex_digit(next());
      if (digit < 0) wrong("a hexadecimal number");
      value = 16 * value + static_cast<uint32_t>(digit);
      if (value > kLastCodePoint) wrong("a code point beyond 10ffff");
    }
    return value;
  }

  Ranges bracket() {
    const bool negative = accept("^");
    Ranges ranges;
    for (bool first = true; first || !looking_at("]"); first = false) {
      if (at_end()) wrong("a '[' without ']'");
      if (posix_class(ranges)) continue;
      const bool is_escape = accept("\\");
      if (is_escape && named_class(ranges)) continue;
      const uint32_t from = is_escape ? escaped() : next();
      uint32_t to = from;
      if (looking_at("-") && !looking_at("-]")) {
        ++at_;
        to = accept("\\") ? escaped() : next();
        if (to < from) wrong("a range from more to less");
      }
      const Ranges range = flags_.fold ? folded({{from, to}}) : Ranges{{from, to}};
      ranges.insert(ranges.end(), range.begin(), range.end());
    }
    accept("]");
    return negative ? negated(ranges) : joined(ranges);
  }

  bool posix_class(Ranges& ranges) {
    const size_t end = looking_at("[:") ? pattern_.find(":]", at_ + 2) : pattern_.npos;
    if (end == pattern_.npos) return false;
    std::string_view name = pattern_.substr(at_ + 2, end - at_ - 2);
    const bool negative = name.starts_with("^");
    if (negative) name.remove_prefix(1);
    const Ranges* found = find(kPosix, name);
    if (!found) wrong("an unknown class");
    add_class(ranges, *found, negative);
    at_ = end + 2;
    return true;
  }

  std::string_view pattern_;
  size_t at_ = 0;
  Flags flags_, inside_;
};

}  // namespace

Tree parse(std::string_view pattern) {
  if (pattern.size() > kMostBytes) unsupported("a pattern of {} bytes, more than {}", pattern.size(), kMostBytes);
  return Parser(pattern).parse();
}

}  // namespace lapidary::frontend::regex
