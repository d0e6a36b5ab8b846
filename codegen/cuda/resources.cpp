// ptxas info    : Compiling entry function 'lpd_k0' for 'sm_80'
// ptxas info    : Function properties for lpd_k0
// ptxas         .     8 bytes stack frame, 4 bytes spill stores, 4 bytes spill loads
// ptxas info    : Used 32 registers, used 1 barriers, 1024 bytes smem, 400 bytes cmem[0]
//
// Words differ a little between versions (with or without "ptxas" before the third line, "used 0 barriers" or nothing),
// the figures before their units do not.
#include "codegen/cuda/resources.h"

#include <charconv>
#include <optional>

namespace lapidary::codegen::cuda {
namespace {

std::optional<std::string_view> between(std::string_view line, std::string_view before, std::string_view after) {
  size_t begin = line.find(before);
  if (begin == std::string_view::npos) return {};
  begin += before.size();
  const size_t end = line.find(after, begin);
  if (end == std::string_view::npos) return {};
  return line.substr(begin, end - begin);
}

// The number that stands before `unit`: 1024 of "…, 1024 bytes smem" when that is " bytes smem"; 0 where it is missing.
int64_t figure(std::string_view line, std::string_view unit) {
  const size_t end = line.find(unit);
  if (end == std::string_view::npos) return 0;
  const size_t last_other = line.substr(0, end).find_last_not_of("0123456789");
  const size_t begin = last_other == std::string_view::npos ? 0 : last_other + 1;
  int64_t value = 0;
  std::from_chars(line.data() + begin, line.data() + end, value);
  return value;
}

}  // namespace

std::vector<KernelResources> parse_resources(std::string_view log) {
  std::vector<KernelResources> found;
  bool of_kernel = false;  // lines about functions that were not inlined come between
  while (!log.empty()) {
    const size_t end = std::min(log.find('\n'), log.size());
    const std::string_view line = log.substr(0, end);
    log.remove_prefix(std::min(end + 1, log.size()));
    if (const auto name = between(line, "Compiling entry function '", "'"))
      found.push_back({.kernel = std::string(*name)});
    if (found.empty()) continue;
    KernelResources& kernel = found.back();
    if (const size_t at = line.find("Function properties for "); at != std::string_view::npos)
      of_kernel = line.substr(at).ends_with(" " + kernel.kernel);
    if (of_kernel && line.find(" bytes stack frame") != std::string_view::npos) {
      kernel.stack_bytes = figure(line, " bytes stack frame");
      kernel.spill_store_bytes = figure(line, " bytes spill stores");
      kernel.spill_load_bytes = figure(line, " bytes spill loads");
    }
    if (line.find(": Used ") != std::string_view::npos) {
      kernel.registers = static_cast<int>(figure(line, " registers"));
      kernel.shared_bytes = figure(line, " bytes smem");
    }
  }
  return found;
}

}  // namespace lapidary::codegen::cuda
