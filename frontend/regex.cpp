// Trees → automata. Thompson's construction over bytes, a code point being a sequence of one to four; then sets of
// states become states (Rabin and Scott), over classes of bytes that nothing tells apart. Patterns whose automaton
// explodes, like
// (.*a.{20}), are refused. Test: test/frontend/regex_test.cpp, test/frontend/strings_tests.py against ONNX Runtime.
#include "frontend/regex.h"

#include <algorithm>
#include <map>
#include <set>

#include "frontend/node.h"
#include "frontend/regex_syntax.h"

namespace lapidary::frontend {
namespace {

using regex::Ranges;
using regex::Tree;

constexpr size_t kMostParts = 20000, kMostStates = 4096;
constexpr int kMostAdds = 1'000'000;        // of trees, those that match nothing too
constexpr int64_t kMostWork = 100'000'000;  // steps of the construction: about a second

enum class When : uint8_t { Always, AtBegin, AtEnd, AtBoundary, OffBoundary };
struct ByteEdge {
  uint8_t first, last;
  int to;
};
struct FreeEdge {
  When when;
  int to;
};
struct Part {
  std::vector<ByteEdge> bytes;
  std::vector<FreeEdge> free;
};

// An automaton of parts, several of which it may be in; built from the end: each tree is told what follows it.
class Parts {
 public:
  explicit Parts(const Tree& tree) { start = add(tree, last = make()); }

  int start = 0, last = 0;
  bool has_boundaries = false;
  const Part& operator[](int i) const { return parts_[static_cast<size_t>(i)]; }
  size_t size() const { return parts_.size(); }

 private:
  int make() {
    if (parts_.size() >= kMostParts) unsupported("a pattern of more than {} parts", kMostParts);
    parts_.emplace_back();
    return static_cast<int>(parts_.size() - 1);
  }
  void link(int from, When when, int to) { parts_[static_cast<size_t>(from)].free.push_back({when, to}); }

  // The part where the tree begins, when `then` follows it.
  int add(const Tree& tree, int then) {
    if (++adds_ > kMostAdds) unsupported("a pattern whose repetitions unfold {} times", kMostAdds);
    switch (tree.kind) {
      case Tree::Kind::Sequence:
        for (size_t i = tree.parts.size(); i-- > 0;) then = add(tree.parts[i], then);
        return then;
      case Tree::Kind::Choice: {
        const int part = make();
        for (const Tree& option : tree.parts) link(part, When::Always, add(option, then));
        return part;
      }
      case Tree::Kind::Repeat:
        return add_repeat(tree, then);
      case Tree::Kind::Begin:
        return add_condition(When::AtBegin, then);
      case Tree::Kind::End:
        return add_condition(When::AtEnd, then);
      case Tree::Kind::Boundary:
      case Tree::Kind::NoBoundary:
        has_boundaries = true;
        return add_condition(tree.kind == Tree::Kind::Boundary ? When::AtBoundary : When::OffBoundary, then);
      case Tree::Kind::Set: {
        const int part = make();
        for (const auto& [first, last] : tree.set) add_range(part, first, last, then);
        return part;
      }
    }
    LPD_UNREACHABLE();
  }

  int add_condition(When when, int then) {
    const int part = make();
    link(part, when, then);
    return part;
  }

  int add_repeat(const Tree& tree, int then) {
    const Tree& what = tree.parts[0];
    if (tree.most < 0) {
      const int loop = make();
      const int again = add(what, loop);
      link(loop, When::Always, again);
      link(loop, When::Always, then);
      then = loop;
    }
    for (int i = tree.least; i < tree.most; ++i) {
      const int option = make();
      link(option, When::Always, add(what, then));
      link(option, When::Always, then);
      then = option;
    }
    for (int i = 0; i < tree.least; ++i) then = add(what, then);
    return then;
  }

  // Code points of one length in UTF-8, surrogates left out, split until each byte is free to be any of its range.
  void add_range(int part, uint32_t first, uint32_t last, int then) {
    static constexpr std::pair<uint32_t, uint32_t> kLengths[] = {
        {0, 0x7f}, {0x80, 0x7ff}, {0x800, 0xd7ff}, {0xe000, 0xffff}, {0x10000, 0x10ffff}};
    static constexpr int kBytes[] = {1, 2, 3, 3, 4};
    for (size_t i = 0; i < std::size(kLengths); ++i) {
      const uint32_t lo = std::max(first, kLengths[i].first), hi = std::min(last, kLengths[i].second);
      if (lo <= hi) add_bytes(part, lo, hi, kBytes[i], then, true);
    }
  }

  // The last `count` bytes of the code points lo … hi, equal in the bits before.
  void add_bytes(int part, uint32_t lo, uint32_t hi, int count, int then, bool leads) {
    const int shift = 6 * (count - 1);
    const uint32_t low_bits = (1u << shift) - 1;
    const auto byte = [&](uint32_t value) {
      const uint32_t bits = value >> shift;
      if (!leads) return static_cast<uint8_t>(0x80 | (bits & 0x3f));
      return static_cast<uint8_t>(count == 1 ? bits : (0xf00u >> count & 0xff) | bits);
    };
    if (count == 1) {
      parts_[static_cast<size_t>(part)].bytes.push_back({byte(lo), byte(hi), then});
      return;
    }
    const auto piece = [&](uint32_t from, uint32_t to) {  // of one first byte, or of several and all that may follow
      const int next = make();
      parts_[static_cast<size_t>(part)].bytes.push_back({byte(from), byte(to), next});
      if (from >> shift == to >> shift)
        add_bytes(next, from & low_bits, to & low_bits, count - 1, then, false);
      else
        add_bytes(next, 0, low_bits, count - 1, then, false);
    };
    while (lo <= hi) {
      const uint32_t end_of_first = lo | low_bits;
      if (end_of_first >= hi) return piece(lo, hi);
      if ((lo & low_bits) != 0) {
        piece(lo, end_of_first);
        lo = end_of_first + 1;
        continue;
      }
      const uint32_t whole =
          ((hi + 1) & ~low_bits) - 1;  // the last code point before what the last first byte has in part
      if (whole >= lo && whole <= hi) piece(lo, whole), lo = whole + 1;
      if (lo <= hi && whole < hi) return piece(lo, hi);
    }
  }

  int adds_ = 0;
  std::vector<Part> parts_;
};

bool is_word(int byte) { return byte == '_' || (byte < 0x80 && isalnum(byte)); }

// What is known of the place between two bytes. Whether a word begins or ends there, only when the next byte is.
struct Place {
  bool begins, ends;
  std::optional<bool> is_boundary = {};

  bool holds(When when) const {
    switch (when) {
      case When::Always:
        return true;
      case When::AtBegin:
        return begins;
      case When::AtEnd:
        return ends;
      case When::AtBoundary:
      case When::OffBoundary:
        return is_boundary && *is_boundary == (when == When::AtBoundary);
    }
    LPD_UNREACHABLE();
  }
};

// Sets of parts as states, and where words have boundaries, whether the byte before is part of one.
class States {
 public:
  explicit States(const Parts& parts) : parts_(parts) { find_classes(); }

  std::vector<int32_t> table() {
    states_.push_back({closure({parts_.start}, {true, false}), false});
    accepts_.push_back(ends(states_[0], true));
    for (size_t state = 0; state < states_.size(); ++state)
      for (int c = 0; c < classes_; ++c) next_.push_back(follow(state, first_byte_[static_cast<size_t>(c)]));
    std::vector<int32_t> table = {static_cast<int32_t>(states_.size()), classes_};
    table.insert(table.end(), class_of_.begin(), class_of_.end());
    table.insert(table.end(), accepts_.begin(), accepts_.end());
    table.insert(table.end(), next_.begin(), next_.end());
    return table;
  }

 private:
  using Set = std::vector<int>;  // sorted
  using State = std::pair<Set, bool>;

  void find_classes() {
    std::set<int> begins = {0};
    for (size_t i = 0; i < parts_.size(); ++i)
      for (const ByteEdge& edge : parts_[static_cast<int>(i)].bytes) begins.insert({edge.first, edge.last + 1});
    for (int byte = 1; parts_.has_boundaries && byte < 256; ++byte)
      if (is_word(byte) != is_word(byte - 1)) begins.insert(byte);
    for (int byte = 0; byte < 256; ++byte) {
      if (begins.contains(byte)) first_byte_.push_back(static_cast<uint8_t>(byte));
      class_of_.push_back(static_cast<int32_t>(first_byte_.size()) - 1);
    }
    classes_ = static_cast<int32_t>(first_byte_.size());
  }

  void spend(size_t steps) {
    work_ += static_cast<int64_t>(steps);
    if (work_ > kMostWork) unsupported("a pattern whose automaton takes this long to make");
  }

  Set closure(Set open, Place place) {
    std::vector<bool> seen(parts_.size());
    Set set;
    for (int part : open) seen[static_cast<size_t>(part)] = true;
    while (!open.empty()) {
      const int part = open.back();
      open.pop_back();
      set.push_back(part);
      spend(1 + parts_[part].free.size());
      for (const FreeEdge& edge : parts_[part].free) {
        if (!place.holds(edge.when) || seen[static_cast<size_t>(edge.to)]) continue;
        seen[static_cast<size_t>(edge.to)] = true;
        open.push_back(edge.to);
      }
    }
    std::ranges::sort(set);
    return set;
  }

  bool ends(const State& state, bool begins) {
    const Set whole = closure(state.first, {begins, true, state.second});
    return std::ranges::binary_search(whole, parts_.last);
  }

  int32_t follow(size_t state, uint8_t byte) {
    Set reached, here = states_[state].first;
    if (parts_.has_boundaries) here = closure(here, {state == 0, false, states_[state].second != is_word(byte)});
    for (int part : here) {
      spend(1 + parts_[part].bytes.size());
      for (const ByteEdge& edge : parts_[part].bytes)
        if (byte >= edge.first && byte <= edge.last) reached.push_back(edge.to);
    }
    std::ranges::sort(reached);
    reached.erase(std::ranges::unique(reached).begin(), reached.end());
    spend(parts_.size() / 64);
    State next{closure(std::move(reached), {false, false}), parts_.has_boundaries && is_word(byte)};
    const auto [found, is_new] = numbers_.try_emplace(std::move(next), static_cast<int32_t>(states_.size()));
    if (is_new) {
      if (states_.size() >= kMostStates) unsupported("a pattern whose automaton has more than {} states", kMostStates);
      states_.push_back(found->first);
      accepts_.push_back(ends(found->first, false));
    }
    return found->second;
  }

  const Parts& parts_;
  std::vector<int32_t> class_of_, accepts_, next_;
  std::vector<uint8_t> first_byte_;  // of each class
  int32_t classes_ = 0;
  std::vector<State> states_;
  std::map<State, int32_t> numbers_;  // of all but the first: it alone is at the text's begin
  int64_t work_ = 0;
};

}  // namespace

std::vector<int32_t> automaton_of(std::string_view pattern) {
  const Parts parts(regex::parse(pattern));
  return States(parts).table();
}

}  // namespace lapidary::frontend
