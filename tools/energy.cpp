#include "tools/energy.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>

namespace lapidary::tools {

namespace {

std::optional<uint64_t> number_in(const std::string& file) {
  std::ifstream stream(file);
  uint64_t number;
  return stream >> number ? std::optional(number) : std::nullopt;
}

// "intel-rapl:0", also on AMD. Not its parts ("intel-rapl:0:1"), which are in it, nor the platform, which holds it.
bool is_package(const std::filesystem::path& zone) {
  const std::string name = zone.filename().string();
  if (!name.starts_with("intel-rapl:") || name.find(':') != name.rfind(':')) return false;
  std::ifstream stream(zone / "name");
  std::string kind;
  return stream >> kind && kind.starts_with("package");
}

}  // namespace

EnergyMeter::EnergyMeter(const std::string& folder) {
  std::error_code none;
  std::filesystem::directory_iterator zones(folder, none);
  for (; !none && zones != std::filesystem::directory_iterator(); zones.increment(none)) {
    if (!is_package(zones->path())) continue;
    const std::string file = (zones->path() / "energy_uj").string();
    const auto start = number_in(file);
    if (!start) {
      packages_.clear();
      why_not_ = fmt::format("{} cannot be read", file);
      return;
    }
    packages_.push_back({file, *start, number_in((zones->path() / "max_energy_range_uj").string()).value_or(0)});
  }
  if (packages_.empty()) why_not_ = fmt::format("there is no {}/intel-rapl:*/energy_uj", folder);
}

std::optional<double> EnergyMeter::joules() const {
  if (packages_.empty()) return {};
  double sum = 0;
  for (const Package& package : packages_) {
    const auto now = number_in(package.file);
    if (!now) return {};
    sum += static_cast<double>(*now) - static_cast<double>(package.start);
    if (*now < package.start) sum += static_cast<double>(package.range);
  }
  return sum * 1e-6;
}

}  // namespace lapidary::tools
