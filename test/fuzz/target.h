// What the fuzz targets share. A target may throw Error of every kind but Internal: that one is a bug, like a crash.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "ir/error.h"

namespace lapidary::fuzz {

[[noreturn]] inline void found(std::string_view what) {
  std::fprintf(stderr, "found: %.*s\n", static_cast<int>(what.size()), what.data());
  std::abort();
}

template <typename Body>
void may_throw(const Body& body) {
  try {
    body();
  } catch (const Error& error) {
    if (error.fault == Fault::Internal) found(error.what());
  }
}

// The bytes as a file without a name in any folder.
class MemoryFile {
 public:
  MemoryFile(const uint8_t* data, size_t size) : descriptor_(memfd_create("fuzz", MFD_CLOEXEC)) {
    if (descriptor_ < 0 || write(descriptor_, data, size) != static_cast<ssize_t>(size)) found("no memory file");
  }
  ~MemoryFile() { close(descriptor_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  std::string path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

 private:
  int descriptor_;
};

// Decisions read off the input; zeros once it is used up.
class Choices {
 public:
  Choices(const uint8_t* data, size_t size) : left_(data, size) {}

  template <typename T>
  T any() {
    T value{};
    const size_t count = std::min(sizeof value, left_.size());
    std::memcpy(&value, left_.data(), count);
    left_ = left_.subspan(count);
    return value;
  }
  size_t left() const { return left_.size(); }
  bool flag() { return any<uint8_t>() & 1; }
  template <typename T>
  T in_range(T low, T high) {  // fewer than 2^16 values
    return static_cast<T>(low + static_cast<T>(any<uint16_t>() % static_cast<uint64_t>(high - low + 1)));
  }
  template <typename T, size_t N>
  T one_of(const std::array<T, N>& values) {
    return values[in_range<size_t>(0, N - 1)];
  }

 private:
  std::span<const uint8_t> left_;
};

}  // namespace lapidary::fuzz
