#include "test/kernels/guarded_block.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "ir/error.h"

namespace lapidary::test {

namespace {

constexpr int64_t kPage = 4096;

int protection(Access access) {
  switch (access) {
    case Access::None:
      return PROT_NONE;
    case Access::Read:
      return PROT_READ;
    case Access::ReadWrite:
      return PROT_READ | PROT_WRITE;
  }
  return PROT_NONE;
}

bool all_poison(const std::byte* begin, const std::byte* end) {
  return std::all_of(begin, end, [](std::byte b) { return b == kPoison; });
}

}  // namespace

GuardedBlock::GuardedBlock(int64_t bytes, Placement placement, std::string name)
    : bytes_(bytes), page_bytes_((bytes + kPage - 1) / kPage * kPage), name_(std::move(name)) {
  void* mapped = mmap(nullptr, static_cast<size_t>(page_bytes_ + 2 * kPage), PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  LPD_CHECK(mapped != MAP_FAILED, "no memory for a guarded block of {} bytes", bytes);
  pages_ = static_cast<std::byte*>(mapped) + kPage;
  const int64_t ahead = page_bytes_ - bytes_;
  data_ = pages_ + (placement == Placement::EndsAtGuard      ? ahead
                    : placement == Placement::AlignedAtGuard ? ahead / 16 * 16
                                                             : 0);
  allow(Access::ReadWrite);
  poison();
}

GuardedBlock::~GuardedBlock() {
  if (pages_) munmap(pages_ - kPage, static_cast<size_t>(page_bytes_ + 2 * kPage));
}

GuardedBlock::GuardedBlock(GuardedBlock&& other) noexcept
    : pages_(std::exchange(other.pages_, nullptr)),
      data_(other.data_),
      bytes_(other.bytes_),
      page_bytes_(other.page_bytes_),
      name_(std::move(other.name_)) {}

void GuardedBlock::poison() { std::memset(pages_, static_cast<int>(kPoison), static_cast<size_t>(page_bytes_)); }

void GuardedBlock::allow(Access access) {
  if (page_bytes_ == 0) return;
  const int failed = mprotect(pages_, static_cast<size_t>(page_bytes_), protection(access));
  LPD_CHECK(!failed, "cannot protect a guarded block");
}

bool GuardedBlock::surroundings_untouched() const {
  return all_poison(pages_, data_) && all_poison(data_ + bytes_, pages_ + page_bytes_);
}

bool GuardedBlock::owns(const void* address) const {
  const auto* byte = static_cast<const std::byte*>(address);
  return byte >= pages_ - kPage && byte < pages_ + page_bytes_ + kPage;
}

}  // namespace lapidary::test
