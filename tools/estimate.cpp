#include "tools/estimate.h"

#include <unistd.h>

#include <algorithm>

#include "tools/devices.h"
#include "tools/machine_peak.h"

namespace lapidary::tools {

namespace {

// Steps only a run can size are left out, as in the sums.
std::optional<double> roofline_seconds(const Inspection& inspection, const Device& device) {
  if (device.tflops <= 0 || device.gbytes <= 0) return {};
  double seconds = 0;
  for (const Inspection::Step& step : inspection.steps) {
    if (step.known_by_run) continue;
    if (!step.flops.value || !step.bytes.value) return {};
    seconds += std::max(static_cast<double>(*step.flops.value) / (device.tflops * 1e12),
                        static_cast<double>(*step.bytes.value) / (device.gbytes * 1e9));
  }
  return seconds;
}

Estimate estimate_on(const Device& device, const Inspection& inspection, std::optional<int64_t> needed) {
  Estimate result{device.name, device.memory_gb, {}, roofline_seconds(inspection, device), {}, {}};
  if (needed) result.fits = static_cast<double>(*needed) <= device.memory_gb * 1e9;
  if (result.seconds && device.watts > 0) result.joules = *result.seconds * device.watts;
  if (result.seconds && device.dollars_per_hour > 0) result.dollars = *result.seconds * device.dollars_per_hour / 3600;
  return result;
}

Device this_cpu(int threads, const OwnCosts& costs) {
  const MachinePeak peak = measure_peak(threads);
  const double memory = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  return {"this CPU", memory * 1e-9, peak.gflops * threads * 1e-3, peak.gbytes, costs.watts, costs.dollars_per_hour};
}

}  // namespace

std::optional<int64_t> memory_needed(const Inspection& inspection) {
  int64_t sum = inspection.weight_bytes;
  const auto add = [&](const Amount& amount) {
    return amount.value && !__builtin_add_overflow(sum, *amount.value, &sum);
  };
  bool known = add(inspection.peak) && inspection.register_bytes && add(*inspection.register_bytes);
  for (const auto* tensors : {&inspection.inputs, &inspection.outputs})
    for (const Inspection::Tensor& tensor : *tensors) known = known && add(tensor.bytes);
  return known ? std::optional<int64_t>(sum) : std::nullopt;
}

std::vector<Estimate> estimate(const Inspection& inspection, int threads, const OwnCosts& costs) {
  const std::optional<int64_t> needed = memory_needed(inspection);
  std::vector<Estimate> result;
  for (const Device& device : device_table()) result.push_back(estimate_on(device, inspection, needed));
  result.push_back(estimate_on(this_cpu(threads, costs), inspection, needed));
  return result;
}

}  // namespace lapidary::tools
