// A read-only data section under construction: C structs of runtime/abi.h copied in as bytes, and the pointers in them
// as relocations against the section itself or a symbol. Any object writer can turn it into an object file.
#pragma once

#include <cstddef>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

namespace lapidary::codegen {

struct DataImage {
  struct Relocation {
    size_t offset;           // of an 8-byte pointer
    std::string symbol;      // empty: this section
    size_t addend = 0;
  };
  std::vector<std::byte> bytes;
  std::vector<Relocation> relocations;   // by offset
  size_t root = 0;                       // where the lpd_model lies

  // Appends `count` structs and returns where they lie. Pointers among them are set by point().
  template <typename T>
  size_t add(const T* data, size_t count) {
    static_assert(std::is_trivially_copyable_v<T>);
    bytes.resize((bytes.size() + alignof(T) - 1) / alignof(T) * alignof(T));
    size_t at = bytes.size();
    bytes.resize(at + sizeof(T) * count);
    if (count) std::memcpy(bytes.data() + at, data, sizeof(T) * count);
    return at;
  }
  template <typename T>
  size_t add(const std::vector<T>& data) { return add(data.data(), data.size()); }
  size_t add_text(const std::string& text) { return add(text.c_str(), text.size() + 1); }

  void point(size_t from, size_t to) { relocations.push_back({from, "", to}); }
  void point(size_t from, std::string symbol) { relocations.push_back({from, std::move(symbol), 0}); }
};

}  // namespace lapidary::codegen
