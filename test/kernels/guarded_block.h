// A block of memory with pages before and behind it that nobody may touch: its first or its last byte lies right at
// such a page, so that compiled code which reads or writes one byte too many is caught in the act, where sanitizers
// do not look. What is left of the block's own pages at the other end holds a pattern that tells whether it was
// written to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace lapidary::test {

enum class Placement {
  EndsAtGuard,
  BeginsAfterGuard,
  AlignedAtGuard,  // ends there as nearly as its beginning on a multiple of 16 bytes allows
};
enum class Access { None, Read, ReadWrite };

inline constexpr auto kPoison = std::byte{0xFF};  // NaN as a float, -1 as an integer

class GuardedBlock {
 public:
  GuardedBlock(int64_t bytes, Placement, std::string name);  // poisoned, ReadWrite
  ~GuardedBlock();
  GuardedBlock(GuardedBlock&&) noexcept;
  GuardedBlock& operator=(GuardedBlock&&) = delete;

  std::byte* data() const { return data_; }
  int64_t bytes() const { return bytes_; }
  const std::string& name() const { return name_; }
  void poison();
  void allow(Access);
  bool surroundings_untouched() const;  // of a readable block
  // The address is in this block's pages or its guards.
  bool owns(const void* address) const;

 private:
  std::byte *pages_, *data_;
  int64_t bytes_, page_bytes_;  // page_bytes_: between the guards
  std::string name_;
};

}  // namespace lapidary::test
