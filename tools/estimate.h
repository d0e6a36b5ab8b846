// What a model would take on devices of a table, by their roofline: for each step the larger of its flops / peak and
// its bytes / bandwidth, summed. A bound that ignores launches, caches and shapes that fit a device badly: an estimate,
// never a measurement.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tools/inspection.h"

namespace lapidary::tools {

struct Estimate {
  std::string device;
  double memory_gb;
  std::optional<bool> fits;  // weights, the arena at its peak, registers, inputs and outputs
  std::optional<double> seconds, joules,
      dollars;  // of one inference; nothing where the table or the symbols say nothing
};

std::optional<int64_t> memory_needed(const Inspection&);
// The table's devices, then this CPU as it is measured now, with the power and price that it is said to have (0: not).
struct OwnCosts {
  double watts = 0, dollars_per_hour = 0;
};
std::vector<Estimate> estimate(const Inspection&, int threads, const OwnCosts&);

}  // namespace lapidary::tools
