#include "ir/strings.h"

#include <bit>
#include <cstring>

#include "ir/error.h"

namespace lapidary {

int64_t StringPool::number_of(std::string_view text) {
  if (auto found = numbers_.find(text); found != numbers_.end()) return found->second;
  texts_.emplace_back(text);
  const int64_t number = size() - 1;
  numbers_.emplace(texts_.back(), number);
  return number;
}

const std::string& StringPool::operator[](int64_t number) const {
  LPD_CHECK(number >= 0 && number < size(), "string {} of {}", number, size());
  return texts_[static_cast<size_t>(number)];
}

namespace {

// FNV-1a, as hash_of in runtime/strings.c.
uint64_t hash_of(std::string_view text) {
  uint64_t hash = UINT64_C(0xcbf29ce484222325);
  for (char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * UINT64_C(0x100000001b3);
  return hash;
}

template <typename T>
void put(std::vector<std::byte>& bytes, size_t at, T value) {
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

}  // namespace

std::vector<std::byte> dictionary_of(const StringPool& pool) {
  const auto count = static_cast<size_t>(pool.size()), slots = std::bit_ceil(2 * count);
  const size_t table = (3 + count) * sizeof(int64_t), texts = table + slots * sizeof(uint32_t);
  size_t bytes = texts;
  for (size_t i = 0; i < count; ++i) bytes += pool[static_cast<int64_t>(i)].size();
  if (count >= UINT32_MAX) throw Error(Fault::Unsupported, "constants of 2^32 strings or more");
  std::vector<std::byte> result(bytes);
  put(result, 0, static_cast<int64_t>(count));
  put(result, sizeof(int64_t), static_cast<int64_t>(slots));
  std::vector<uint32_t> numbers(slots);
  size_t begin = texts;
  for (size_t i = 0; i < count; ++i) {
    const std::string& text = pool[static_cast<int64_t>(i)];
    put(result, (2 + i) * sizeof(int64_t), static_cast<int64_t>(begin));
    std::memcpy(result.data() + begin, text.data(), text.size());
    begin += text.size();
    size_t slot = hash_of(text) & (slots - 1);
    while (numbers[slot] != 0) slot = (slot + 1) & (slots - 1);
    numbers[slot] = static_cast<uint32_t>(i) + 1;
  }
  put(result, (2 + count) * sizeof(int64_t), static_cast<int64_t>(begin));
  std::memcpy(result.data() + table, numbers.data(), slots * sizeof(uint32_t));
  return result;
}

uint32_t next_code_point(std::string_view text, size_t& at) {
  const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<unsigned char>(text[i])); };
  const uint32_t first = byte(at);
  const size_t begin = at++;
  if (first < 0x80) return first;
  const size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() - begin < length) return kNoCodePoint + first;
  uint32_t value = first & (0x7fu >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((byte(begin + i) & 0xc0) != 0x80) return kNoCodePoint + first;
    value = value << 6 | (byte(begin + i) & 0x3f);
  }
  const bool too_long = (length == 3 && value < 0x800) || (length == 4 && value < 0x10000);
  if (too_long || value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) return kNoCodePoint + first;
  at = begin + length;
  return value;
}

void append_code_point(std::string& to, uint32_t c) {
  const auto put = [&](uint32_t byte) { to += static_cast<char>(byte); };
  if (c >= kNoCodePoint) return put(c - kNoCodePoint);
  if (c < 0x80) return put(c);
  if (c < 0x800) {
    put(0xc0 | c >> 6);
  } else if (c < 0x10000) {
    put(0xe0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3f));
  } else {
    put(0xf0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3f));
    put(0x80 | (c >> 6 & 0x3f));
  }
  put(0x80 | (c & 0x3f));
}

}  // namespace lapidary
