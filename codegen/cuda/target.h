// What --target=cuda:LIST names.
#pragma once

#include <string>
#include <vector>

#include "ir/target.h"

namespace lapidary::codegen::cuda {

// LIST is made of sm_80, sm_90a, … (a cubin for that device), compute_80, … (PTX, which a driver compiles for any
// device from that one on) and no-ptx, in any order, repeated ones once. Unless it names a compute_ or no-ptx, the
// newest sm_ without a letter gives PTX too, for devices later than it. "cuda" alone: kDefaultList.
inline constexpr const char* kDefaultList = "sm_75,sm_80,sm_86,sm_89,sm_90a,sm_100,sm_120";

bool names_cuda(const std::string& target);        // "cuda", "cuda:…"
Target resolve_target(const std::string& target);  // throws Error{Fault::Usage} for what it does not know

// The same as levels, best first, each with kernels of its own: sm_90a, whose tensor cores are warpgroups'; from 8.0
// on, with tensor cores; older ones.
std::vector<Target> resolve_targets(const std::string& target);

}  // namespace lapidary::codegen::cuda
