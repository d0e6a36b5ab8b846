// Objects, tables and runtime → a shared library, with lld in this process; then the weights straight into its file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "codegen/host/data_image.h"
#include "ir/program.h"
#include "ir/target.h"

namespace lapidary::codegen::cpu {

extern const char kWeightsSymbol[];

// The tables as a relocatable object that defines the runtime's lpd_product_model.
std::vector<char> image_object(const DataImage&, const Target&);

struct LinkInputs {
  std::vector<std::vector<char>> objects;
  std::vector<std::pair<std::string, std::string>> exports;  // exported name, the function it stands for
  int64_t weights_bytes = 0;
};

// Links `library`, with `weights_bytes` of zeros reserved for the weights; returns where in the file they lie.
// Throws Error{Fault::File} when the folder cannot be written, Error{Fault::Internal} when lld complains.
int64_t link_library(const LinkInputs&, const std::string& library);

// The instruction sets, as cpuid names them, that code for this target may use beyond plain x86-64.
std::vector<std::string> required_features(const Target&);

}  // namespace lapidary::codegen::cpu
