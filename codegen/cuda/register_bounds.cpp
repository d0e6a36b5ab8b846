#include "codegen/cuda/register_bounds.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace lapidary::codegen::cuda {
namespace {

constexpr int kRegisters = 64 << 10, kGranule = 8;  // of a multiprocessor; a thread has a multiple of so many
constexpr int64_t kSharedBytes = 228 << 10;         // of the multiprocessor that has most

int blocks_with(int registers, int threads) { return kRegisters / (registers * threads); }
int registers_with(int blocks, int threads) { return kRegisters / (blocks * threads) / kGranule * kGranule; }

// For two granules more of each thread's registers, at least.
int fewer(int blocks, int threads) {
  return std::min(blocks - 1, blocks_with(registers_with(blocks, threads) + 2 * kGranule, threads));
}

// What ptxas made room for by itself.
int chosen(const KernelResources& kernel) {
  const int64_t fit = kernel.shared_bytes ? kSharedBytes / kernel.shared_bytes : kRegisters;
  return static_cast<int>(std::min<int64_t>(blocks_with(kernel.registers, kernel.threads), fit));
}

}  // namespace

std::string with_more_registers(std::string text, const std::vector<KernelResources>& kernels) {
  constexpr std::string_view kBounds = "__launch_bounds__(";
  for (const KernelResources& kernel : kernels) {
    if (kernel.spill_store_bytes == 0) continue;
    const size_t end = text.find(fmt::format(") {}(", kernel.kernel)), begin = text.rfind(kBounds, end);
    if (end == std::string::npos || begin == std::string::npos) continue;
    const std::string_view bounds = std::string_view(text).substr(begin, end - begin);
    int blocks = 0;
    if (const size_t comma = bounds.find(", "); comma != std::string_view::npos)
      std::from_chars(bounds.data() + comma + 2, bounds.data() + bounds.size(), blocks);
    const int asked = std::max(1, blocks ? fewer(blocks, kernel.threads) : chosen(kernel));
    if (asked != blocks) text.replace(begin, end - begin, fmt::format("{}{}, {}", kBounds, kernel.threads, asked));
  }
  return text;
}

}  // namespace lapidary::codegen::cuda
