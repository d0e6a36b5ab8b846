// What --target names: a CPU that LLVM has a scheduling model for, or "native", with the figures the cost models ask
// for. A named CPU gets the cache sizes of its kind's common part, so that its artifact is the same wherever compiled.
#include "codegen/cpu/target.h"

#include <llvm/ADT/StringMap.h>
#include <llvm/TargetParser/Host.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <map>
#include <thread>

#include "codegen/host/embedded.h"
#include "ir/error.h"

namespace lapidary::codegen::cpu {
namespace {

struct NamedCpu {
  const char* name;
  int vector_bytes;
  bool vnni;
  int l1_kib, l2_kib, l3_kib;  // per core; L3 as one core's share
};
constexpr std::array kNamedCpus = {
    NamedCpu{"x86-64-v2", 16, false, 32, 256, 2048},      NamedCpu{"x86-64-v3", 32, false, 32, 512, 2048},
    NamedCpu{"x86-64-v4", 64, false, 32, 1024, 2048},     NamedCpu{"haswell", 32, false, 32, 256, 2048},
    NamedCpu{"skylake", 32, false, 32, 256, 2048},        NamedCpu{"skylake-avx512", 64, false, 32, 1024, 1408},
    NamedCpu{"icelake-server", 64, true, 48, 1280, 1536}, NamedCpu{"sapphirerapids", 64, true, 48, 2048, 1920},
    NamedCpu{"znver2", 32, false, 32, 512, 4096},         NamedCpu{"znver3", 32, false, 32, 512, 4096},
    NamedCpu{"znver4", 64, true, 32, 1024, 4096},         NamedCpu{"znver5", 64, true, 48, 1024, 4096},
};

void set_vectors(Target& target, int vector_bytes) {
  target.vector_bytes = vector_bytes;
  target.vector_registers = vector_bytes == 64 ? 32 : 16;
}

// What every 64-bit ARM CPU has. Cache sizes are those of a small one.
Target aarch64_target() {
  if (host::runtime_archive(Arch::AArch64).empty())
    throw Error(Fault::Unsupported, "target 'aarch64': this lapidary was built without aarch64-linux-gnu-gcc");
  Target target;
  target.arch = Arch::AArch64;
  target.name = "aarch64";
  target.cpu = "generic";
  target.vector_bytes = 16;
  target.vector_registers = 32;
  target.l1_bytes = 32 << 10;
  target.l2_bytes = 512 << 10;
  target.l3_bytes = 1 << 20;
  target.threads = 4;
  return target;
}

Target named_target(const NamedCpu& cpu) {
  Target target;
  target.name = target.cpu = cpu.name;
  set_vectors(target, cpu.vector_bytes);
  target.byte_dots = cpu.vnni;
  target.l1_bytes = int64_t{cpu.l1_kib} << 10;
  target.l2_bytes = int64_t{cpu.l2_kib} << 10;
  target.l3_bytes = int64_t{cpu.l3_kib} << 10;
  target.threads = 8;
  return target;
}

// Data caches of the first core. sysfs writes sizes as "48K"; sysconf is for containers without sysfs, since it takes
// the L3 of a whole package from cpuid, which virtual machines get wrong.
int64_t host_cache_bytes(int level, int64_t fallback) {
  std::ifstream file(fmt::format("/sys/devices/system/cpu/cpu0/cache/index{}/size", level == 1 ? 0 : level));
  int64_t kib = 0;
  char unit = 0;
  if (file >> kib >> unit && kib > 0) return unit == 'M' ? kib << 20 : kib << 10;
  const int64_t bytes = sysconf(level == 1   ? _SC_LEVEL1_DCACHE_SIZE
                                : level == 2 ? _SC_LEVEL2_CACHE_SIZE
                                             : _SC_LEVEL3_CACHE_SIZE);
  return bytes > 0 ? bytes : fallback;
}

// Sorted, so that the string, and what is compiled under it, does not depend on a hash table's order.
std::string host_features(const llvm::StringMap<bool>& found) {
  std::map<std::string, bool> sorted;
  for (const auto& entry : found) sorted[entry.getKey().str()] = entry.getValue();
  std::string text;
  for (const auto& [name, on] : sorted) text += (text.empty() ? "" : ",") + std::string(on ? "+" : "-") + name;
  return text;
}

Target native_target() {
  const llvm::StringMap<bool> features = llvm::sys::getHostCPUFeatures();
  for (const char* needed : {"avx2", "fma", "f16c"}) {
    if (!features.lookup(needed))
      throw Error(Fault::Unsupported,
                  fmt::format("this CPU lacks {}; name a target, such as --target=x86-64-v3", needed));
  }
  Target target;
  target.cpu = llvm::sys::getHostCPUName().str();
  target.name = target.cpu;
  target.features = host_features(features);
  const bool avx512 = features.lookup("avx512f") && features.lookup("avx512vl") && features.lookup("avx512bw") &&
                      features.lookup("avx512dq");
  set_vectors(target, avx512 ? 64 : 32);
  target.byte_dots = avx512 ? features.lookup("avx512vnni") : features.lookup("avxvnni");
  target.threads = std::max(1u, std::thread::hardware_concurrency());
  target.l1_bytes = host_cache_bytes(1, target.l1_bytes);
  target.l2_bytes = host_cache_bytes(2, target.l2_bytes);
  target.l3_bytes = host_cache_bytes(3, target.l3_bytes) / target.threads;
  return target;
}

}  // namespace

std::optional<Target> find_target(const std::string& name) {
  if (name == "native") return native_target();
  if (name == "aarch64") return aarch64_target();
  const auto named = std::ranges::find(kNamedCpus, name, &NamedCpu::name);
  return named == kNamedCpus.end() ? std::nullopt : std::optional(named_target(*named));
}

std::string known_targets() {
  std::string known = "native";
  for (const NamedCpu& cpu : kNamedCpus) known += std::string(", ") + cpu.name;
  return known + ", aarch64";
}

}  // namespace lapidary::codegen::cpu
