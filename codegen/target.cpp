// What --target names: CPUs, several levels of one, CUDA devices.
#include "codegen/cpu/target.h"

#include "codegen/codegen.h"
#include "codegen/cuda/target.h"
#include "ir/error.h"

namespace lapidary::codegen {

Target resolve_target(const std::string& name) {
  if (cuda::names_cuda(name)) return cuda::resolve_target(name);
  if (const std::optional<Target> target = cpu::find_target(name)) return *target;
  throw Error(Fault::Usage, fmt::format("unknown target '{}'; known are {}, x86-64, cuda, cuda:LIST", printable(name),
                                        cpu::known_targets()));
}

std::vector<Target> resolve_targets(const std::string& name) {
  if (cuda::names_cuda(name)) return cuda::resolve_targets(name);
  if (name != "x86-64") return {resolve_target(name)};
  return {resolve_target("x86-64-v4"), resolve_target("x86-64-v3"), resolve_target("x86-64-v2")};
}

}  // namespace lapidary::codegen
