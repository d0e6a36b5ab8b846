// Programs → the tables of runtime/abi.h, as object files that define an lpd_model each, reserve the section of the
// weights, and refer to the kernels, lpd_k0 … ; and the list of these models, lpd_product_models.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "codegen/cuda/packing.h"
#include "codegen/seeded_weights.h"
#include "ir/program.h"
#include "ir/target.h"

namespace lapidary::codegen::host {

inline constexpr const char* kWeightsSection = ".lpd_weights";
inline constexpr const char* kWeightsSymbol = "lpd_weights";

// Where each weight lies in that section, 64-byte aligned. What several programs of a product hold alike is there once.
// Those that no step reads, initial values of states, are the last.
struct WeightLayout {
  std::vector<ConstantId> constants;          // no two equal
  std::vector<int64_t> starts;                // of each of them
  std::vector<std::vector<int64_t>> offsets;  // of each program, by its own index
  int64_t bytes = 0, read_bytes = 0;
};
// Made-up weights are filled in when the product is opened; this is their section.
inline constexpr const char* kSeededSection = ".bss.lpd_weights";
WeightLayout lay_out_weights(const std::vector<const Program*>&);

// The inputs and outputs of a product: those of all its entry points, by name.
std::vector<TensorInfo> all_tensors(const Program&, std::vector<TensorInfo> EntryPoint::*);

// What the kernels of a program need of the machine, and where their weights come from.
struct Needs {
  Arch arch;                              // of the host
  std::vector<std::string> cpu_features;  // by LLVM's names
  bool is_gpu = false;                    // the kernels are in these images, which are an object of their own
  std::vector<cuda::PackedImage> images;
  std::optional<std::vector<SeededWeight>> seeded;  // one for each of the layout, instead of weights in the product
  uint64_t seed = 0;
};

// Of the level-th program.
std::vector<char> table_object(const Program&, uint32_t level, const WeightLayout&, const Needs&);
std::vector<char> list_object(uint32_t levels, Arch);

}  // namespace lapidary::codegen::host
