// One small graph for each way a kernel family has of doing its work, with the extents at which it changes its mind: a
// vector or a tile more or less one, none at all, channels that fill no block.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "test/kernels/case_model.h"

namespace lapidary::test {

struct KernelCase {
  std::string name;    // of letters, digits and _: it names a test
  std::string kernel;  // part of "family schedule" of a kernel it must be lowered to
  std::function<void(CaseModel&)> build;
  std::vector<SymbolValues> values = {{}};  // of its symbols: one run for each
  // Above 0: products are summed, that many; the bound is 2·√terms·ε·Σ|a·b|. Otherwise `tolerance` · (1 + |expected|).
  double terms = 0;
  double tolerance = 1e-5;
  std::vector<std::string> passes = {};  // none: all of them
  std::string gpu_kernel = {};           // as `kernel`, on a GPU; empty: any
  std::string hopper_tile = {};          // part of the schedules that its products may have on a GPU of warpgroups
};

std::vector<KernelCase> index_cases();     // index_cases.cpp
std::vector<KernelCase> suppress_cases();  // suppress_cases.cpp
std::vector<KernelCase> halves_cases();    // half_cases.cpp
std::vector<KernelCase> tf32_cases();
std::vector<KernelCase> bf16_cases();
std::vector<KernelCase> tf32x3_cases();  // rounded_cases.cpp
std::vector<KernelCase> pool_gradient_cases();
std::vector<KernelCase> filter_gradient_cases();
std::vector<KernelCase> recurrent_gradient_cases();  // gradient_cases.cpp

// By family: "elementwise", "movement", "row", "contraction", "convolution", "depthwise", "winograd", "pool",
// "filter_gradient", "pool_gradient", "placed", "attention", "halves", "tf32", "bf16", "3xtf32", "linear_attention",
// "recurrent", "recurrent_gradient", "quantized", "live_bytes", "trees".
const std::vector<std::pair<std::string, std::vector<KernelCase>>>& kernel_cases();
std::vector<KernelCase> tree_cases();  // tree_cases.cpp

std::vector<KernelCase> quantized_cases();
std::vector<KernelCase> live_byte_cases();  // quantized_cases.cpp

}  // namespace lapidary::test
