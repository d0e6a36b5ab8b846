#include "passes/lower/host_kernels.h"

#include <fmt/format.h>

#include <algorithm>

#include "ir/gpu_model.h"
#include "passes/lower/iteration_space.h"

namespace lapidary::lowering {

namespace {

// In clocks of a GPU, about 0.7 ns each. A thread alone waits for each load and for each result; a CPU's core hardly
// does. What the device does next cannot be started before the host has seen what it did last, and there is no graph.
constexpr int64_t kDeviceElement = 32, kHostElement = 1;
constexpr int64_t kWait = 13000;      // until the other side knows: once for the operands, once for the results
constexpr int64_t kCopiedBytes = 12;  // a clock, over PCIe
constexpr int64_t kElementBytes = 4;

bool is_plain(const LoweredStep& step) {
  return std::ranges::all_of(
      step.variants, [](const LoweredVariant& variant) { return loops::is_plain(loops::report_name(variant.kernel)); });
}

int64_t known(Dim dim) { return dim ? std::max<int64_t>(0, guess(dim)) : 0; }

}  // namespace

bool belongs_on_host(const Target& target, const LoweredStep& lowered, const Step& step) {
  if (!target.is_gpu() || !is_plain(lowered) || step.buffer_bytes.size() > kMostHostBuffers) return false;
  const GpuModel& gpu = gpu_model(target.capability);
  const int64_t elements = known(step.flops) + known(step.bytes) / kElementBytes;
  const int64_t threads = std::clamp<int64_t>(known(lowered.variants[0].tasks), 1, gpu.threads());
  int64_t copied = 0;
  for (Dim bytes : step.buffer_bytes) copied += known(bytes);
  const int64_t on_device = gpu.kernel_start + elements / threads * kDeviceElement;
  const int64_t on_host = 2 * kWait + elements * kHostElement + copied / kCopiedBytes;
  return on_host < on_device;
}

void name_host_kernel(loops::Kernel& kernel) {
  std::string& schedule = kernel.schedule;
  if (schedule.starts_with(loops::kPlain)) schedule.erase(0, loops::kPlain.size());
  while (schedule.starts_with(' ')) schedule.erase(0, 1);
  schedule = schedule.empty() ? loops::kOnHost : fmt::format("{} {}", loops::kOnHost, schedule);
}

}  // namespace lapidary::lowering
