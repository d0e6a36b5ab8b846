// The strings of a module. Inside the compiler an element of type string is the number of its text here, so that what
// moves, compares or chooses elements treats strings as it treats integers; equal texts have one number, "" has 0.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace lapidary {

class StringPool {
 public:
  StringPool() { number_of(""); }
  StringPool(const StringPool&) = delete;
  StringPool& operator=(const StringPool&) = delete;

  int64_t number_of(std::string_view);  // a new one for a text that is not there yet
  const std::string& operator[](int64_t number) const;
  int64_t size() const { return static_cast<int64_t>(texts_.size()); }

 private:
  std::deque<std::string> texts_;  // which the keys below look into
  std::unordered_map<std::string_view, int64_t> numbers_;
};

// All strings of a pool as a product holds them, little-endian, for the runtime's strings.c:
//   i64 count, i64 slots (a power of two, more than count), i64 begin[count + 1] of the texts, counted from here,
//   u32 number + 1 of the text in each slot or 0, then the texts.
// A text is in the first free slot from hash(text) mod slots on.
std::vector<std::byte> dictionary_of(const StringPool&);

// Code points of UTF-8. What is no UTF-8 is read byte by byte, each as the code point kNoCodePoint + byte.
constexpr uint32_t kNoCodePoint = 0x110000;
uint32_t next_code_point(std::string_view text, size_t& at);
void append_code_point(std::string& to, uint32_t code_point);

}  // namespace lapidary
