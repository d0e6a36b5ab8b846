// A graph of one kernel with weights and inputs, for tests (kernel_cases.h) and benchmarks (bench/kernels.cpp).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ir/check_tensors.h"
#include "test/passes/model.h"

namespace lapidary::test {

struct ConvOptions {
  std::vector<int64_t> strides = {1, 1}, dilations = {1, 1}, pads = {0, 0, 0, 0};  // one each for every spatial axis
  int64_t group = 1;
  bool bias = true;
  std::vector<int64_t> output_padding;  // given: a transposed convolution
};

// A graph under construction. In its absolute form all weights are positive: on positive inputs a sum of products then
// computes Σ|a·b|, what its error is measured by.
struct CaseModel : Model {
  bool absolute = false;
  uint64_t seed = 1;

  Value* weights(std::vector<int64_t> extents);  // a constant, normal numbers around 0
  Value* conv(Value* x, int64_t outputs, std::vector<int64_t> kernel, ConvOptions);
  Value* relu(Value* x) { return build.scalar_op(ScalarOp::Max, {x, build.like(x, 0)}); }
};

using SymbolValues = std::map<std::string, int64_t>;

// Inputs of the module's function for these symbols; positive when the model is absolute.
std::vector<Tensor> case_inputs(const Module&, const SymbolValues&, bool absolute = false);

}  // namespace lapidary::test
