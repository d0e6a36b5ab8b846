// The packages' counters are summed, their parts and the platform are not; a counter that begins again; none to read.
#include "tools/energy.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace lapidary::tools {
namespace {

struct Zones {
  std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("lapidary-energy-" + std::to_string(getpid()));
  Zones() { std::filesystem::create_directories(folder); }
  ~Zones() { std::filesystem::remove_all(folder); }
  void put(const std::string& zone, const std::string& name, const std::string& energy) const {
    std::filesystem::create_directories(folder / zone);
    std::ofstream(folder / zone / "name") << name << "\n";
    std::ofstream(folder / zone / "max_energy_range_uj") << "1000000\n";
    std::ofstream(folder / zone / "energy_uj") << energy << "\n";
  }
};

TEST(Energy, SumsPackages) {
  const Zones zones;
  zones.put("intel-rapl:0", "package-0", "100000");
  zones.put("intel-rapl:1", "package-1", "900000");
  zones.put("intel-rapl:2", "psys", "0");
  zones.put("intel-rapl:0:0", "core", "0");
  const EnergyMeter meter(zones.folder.string());
  EXPECT_EQ(meter.why_not(), "");
  zones.put("intel-rapl:0", "package-0", "350000");
  zones.put("intel-rapl:1", "package-1", "50000");  // began again: 150000 more
  zones.put("intel-rapl:2", "psys", "999999");
  zones.put("intel-rapl:0:0", "core", "999999");
  ASSERT_TRUE(meter.joules());
  EXPECT_NEAR(*meter.joules(), 0.4, 1e-9);
}

TEST(Energy, SaysWhyNot) {
  const Zones zones;
  EXPECT_EQ(EnergyMeter(zones.folder.string() + "/none").why_not(),
            "there is no " + zones.folder.string() + "/none/intel-rapl:*/energy_uj");
  zones.put("intel-rapl:0", "package-0", "");  // as good as unreadable
  const EnergyMeter meter(zones.folder.string());
  EXPECT_EQ(meter.why_not(), zones.folder.string() + "/intel-rapl:0/energy_uj cannot be read");
  EXPECT_FALSE(meter.joules());
}

}  // namespace
}  // namespace lapidary::tools
