// Program → the tables of runtime/abi.h, as an object file that defines lpd_product_model, reserves the section of the
// weights, and refers to the kernels, lpd_k0 … .
#pragma once

#include <string>
#include <vector>

#include "ir/program.h"
#include "ir/target.h"

namespace lapidary::codegen::host {

inline constexpr const char* kWeightsSection = ".lpd_weights";
inline constexpr const char* kWeightsSymbol = "lpd_weights";

// Where each weight of the program lies in that section, and how long it is: each 64-byte aligned, in order.
struct WeightLayout {
  std::vector<int64_t> offsets;
  int64_t bytes = 0;
};
WeightLayout lay_out_weights(const Program&);

// `cpu_features`: what kernels need of a CPU, by LLVM's names.
std::vector<char> table_object(const Program&, const std::vector<std::string>& cpu_features, Arch);

}  // namespace lapidary::codegen::host
