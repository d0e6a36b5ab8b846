#include "codegen/cuda/target.h"

#include <algorithm>
#include <array>
#include <set>
#include <sstream>

#include "ir/error.h"

namespace lapidary::codegen::cuda {
namespace {

// NVIDIA's table of technical specifications by compute capability.
struct Device {
  const char* number;  // of "sm_90a"; a letter: code with what that device has alone, which runs nowhere else
  int capability;
  int shared_kib;  // that a block may have, by opting in
};
constexpr std::array kDevices = {
    Device{"75", 75, 64},     Device{"80", 80, 163},   Device{"86", 86, 99},     Device{"87", 87, 163},
    Device{"89", 89, 99},     Device{"90", 90, 227},   Device{"90a", 90, 227},   Device{"100", 100, 227},
    Device{"100a", 100, 227}, Device{"103", 103, 227}, Device{"103a", 103, 227}, Device{"120", 120, 99},
    Device{"120a", 120, 99},  Device{"121", 121, 99},  Device{"121a", 121, 99},
};
// PTX may come to run on any later device: what all of the table have from 8.0 on.
constexpr int kSharedKibOfLater = 99;

bool exact(const Device& device) { return std::string_view(device.number).ends_with('a'); }

[[noreturn]] void unknown(const std::string& target, const std::string& entry) {
  std::string numbers;
  for (const Device& device : kDevices) numbers += (numbers.empty() ? "" : ", ") + std::string(device.number);
  throw Error(Fault::Usage, fmt::format("target '{}': '{}' is none of sm_N, compute_N and no-ptx with N one of {}",
                                        printable(target), printable(entry), numbers));
}

// The rows of the table, so that a set of them is in its order.
struct Chosen {
  std::set<const Device*> cubins, texts;
  bool no_ptx = false;
};

Chosen parse(const std::string& target, const std::string& list) {
  Chosen chosen;
  std::istringstream entries(list);
  for (std::string entry; std::getline(entries, entry, ',');) {
    if (entry == "no-ptx") {
      chosen.no_ptx = true;
      continue;
    }
    const size_t number = entry.find('_') + 1;
    const auto device = std::ranges::find(kDevices, entry.substr(number), &Device::number);
    const bool cubin = entry.starts_with("sm_");
    if (device == kDevices.end() || !(cubin || entry.starts_with("compute_"))) unknown(target, entry);
    (cubin ? chosen.cubins : chosen.texts).insert(&*device);
  }
  if (list.empty() || list.ends_with(',')) unknown(target, "");
  if (chosen.no_ptx && (!chosen.texts.empty() || chosen.cubins.empty()))
    throw Error(Fault::Usage, fmt::format("target '{}': no-ptx stands beside sm_N alone", printable(target)));
  return chosen;
}

void add_ptx_of_newest(Chosen& chosen) {
  if (chosen.no_ptx || !chosen.texts.empty()) return;
  for (auto device = chosen.cubins.rbegin(); device != chosen.cubins.rend(); ++device)
    if (!exact(**device)) return void(chosen.texts.insert(*device));
}

Chosen chosen_by(const std::string& target) {
  Chosen chosen = parse(target, target == "cuda" ? kDefaultList : target.substr(target.find(':') + 1));
  add_ptx_of_newest(chosen);
  return chosen;
}

Target target_of(const Chosen& chosen) {
  Target result;
  result.arch = Arch::Cuda;
  for (const Device* device : chosen.cubins) result.images.push_back(std::string("sm_") + device->number);
  for (const Device* device : chosen.texts) result.images.push_back(std::string("compute_") + device->number);
  result.name = fmt::format("cuda:{}", fmt::join(result.images, ","));
  result.cpu = "x86-64";  // of the code that launches them

  std::set<const Device*> all = chosen.cubins;
  all.insert(chosen.texts.begin(), chosen.texts.end());
  result.capability = (*all.begin())->capability;
  result.capability_only = all.size() == 1 && exact(**all.begin());
  int shared_kib = chosen.texts.empty() ? (*all.begin())->shared_kib : kSharedKibOfLater;
  for (const Device* device : all) shared_kib = std::min(shared_kib, device->shared_kib);
  result.shared_bytes = int64_t{shared_kib} << 10;

  // A vector is what a thread loads at once; the cost models' registers are a thread's share at good occupancy.
  result.vector_bytes = 16;
  result.vector_registers = 32;
  result.l1_bytes = 64 << 10;
  result.l2_bytes = 4 << 20;
  result.l3_bytes = 4 << 20;
  return result;
}

}  // namespace

bool names_cuda(const std::string& target) { return target == "cuda" || target.starts_with("cuda:"); }

Target resolve_target(const std::string& target) { return target_of(chosen_by(target)); }

std::vector<Target> resolve_targets(const std::string& target) {
  Chosen rest = chosen_by(target);
  std::vector<Target> levels;
  const auto take = [&](bool (Target::*has)() const) {
    const auto belongs = [&](const Device* device) { return !has || (target_of({{device}, {}}).*has)(); };
    Chosen own;
    for (const auto images : {&Chosen::cubins, &Chosen::texts})
      for (auto device = (rest.*images).begin(); device != (rest.*images).end();)
        if (belongs(*device)) {
          (own.*images).insert(*device);
          device = (rest.*images).erase(device);
        } else {
          ++device;
        }
    if (!own.cubins.empty() || !own.texts.empty()) levels.push_back(target_of(own));
  };
  take(&Target::has_warpgroups);
  take(&Target::has_tensor_cores);
  take(nullptr);
  return levels;
}

}  // namespace lapidary::codegen::cuda
