// The energy the CPU's packages count (RAPL), as Linux shows it under /sys/class/powercap. All that runs on them is in
// it. Often not there (virtual machines) or readable by root alone: then why_not() says so in one line.
// Test: test/tools/energy_test.cpp.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace lapidary::tools {

class EnergyMeter {
 public:
  explicit EnergyMeter(const std::string& folder = "/sys/class/powercap");  // starts to count
  std::optional<double> joules() const;                                     // since then; nothing where unreadable
  const std::string& why_not() const { return why_not_; }                   // empty where readable

 private:
  struct Package {
    std::string file;
    uint64_t start, range;  // microjoules; the counter begins again at 0 after `range`
  };
  std::vector<Package> packages_;
  std::string why_not_;
};

}  // namespace lapidary::tools
