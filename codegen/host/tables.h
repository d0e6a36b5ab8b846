// A Program as the tables the runtime walks (runtime/abi.h).
#pragma once

#include <string>
#include <vector>

#include "codegen/host/data_image.h"
#include "ir/program.h"

namespace lapidary::codegen {

struct WeightsPlan {
  std::vector<int64_t> offsets;   // of each of Program::weights, 64-byte aligned
  int64_t bytes = 0;
};
WeightsPlan plan_weights(const Program&);

// Pointers to kernels are relocations against kernel_symbols[i], to the weights against `weights_symbol`.
DataImage build_tables(const Program&, const WeightsPlan&, const std::vector<std::string>& cpu_features,
                       const std::vector<std::string>& kernel_symbols, const std::string& weights_symbol);

}  // namespace lapidary::codegen
