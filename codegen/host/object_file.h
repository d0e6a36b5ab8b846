// A relocatable ELF object of data alone: bytes, pointers into them, and pointers to symbols of other objects. What
// the step tables of a product are linked from; a few hundred kilobytes made in well under a millisecond.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <type_traits>
#include <vector>

#include "ir/target.h"

namespace lapidary::codegen::host {

class DataObject {
 public:
  // Both give the offset of what was added. Strings end in a zero byte and are stored once.
  uint64_t add_zeros(uint64_t bytes, uint64_t alignment);
  uint64_t add_string(const std::string&);
  uint64_t add_bytes(const std::vector<char>&, uint64_t alignment);
  template <class T>
  uint64_t add_array(const std::vector<T>& values) {
    const uint64_t offset = add_zeros(values.size() * sizeof(T), alignof(T));
    for (size_t i = 0; i < values.size(); ++i) put(offset + i * sizeof(T), values[i]);
    return offset;
  }
  // Plain structs of integers and null pointers; the pointers among their fields are set afterwards.
  template <class T>
  void put(uint64_t at, const T& value) {
    static_assert(std::has_unique_object_representations_v<T>);  // no padding, whose bytes could be anything
    std::copy_n(reinterpret_cast<const char*>(&value), sizeof(T), bytes_.begin() + static_cast<int64_t>(at));
  }

  void point(uint64_t at, uint64_t target) { pointers_.push_back({at, target, {}}); }  // into these bytes
  void point_to_symbol(uint64_t at, const std::string& symbol) { pointers_.push_back({at, 0, symbol}); }
  void define(const std::string& symbol, uint64_t offset) { defined_[symbol] = offset; }  // hidden
  // A section of so many bytes that the object does not hold (SHT_NOBITS), page-aligned, and a hidden symbol at its
  // start. Read-only, unless it is to be filled by the program itself.
  void reserve_section(const std::string& section, const std::string& symbol, uint64_t bytes, bool writable = false);

  std::vector<char> elf(Arch) const;

 private:
  struct Pointer {
    uint64_t at, target;
    std::string symbol;  // empty: `target` in this object
  };
  std::vector<char> bytes_;
  std::vector<Pointer> pointers_;
  std::map<std::string, uint64_t> strings_, defined_;
  std::string reserved_section_, reserved_symbol_;
  uint64_t reserved_bytes_ = 0;
  bool reserved_writable_ = false;
};

}  // namespace lapidary::codegen::host
