// The families of kernels: a fused group says what to compute, its family how. One function each; the table in
// family.cpp is what lowering goes by.
#pragma once

#include <string_view>

#include "passes/lower/kernel_builder.h"
#include "passes/pipeline.h"

namespace lapidary::lowering {

struct Context {
  Module& module;
  const passes::Options& options;
  const Target& target() const { return options.target; }
};

// Lowers one Group op of a function's body. Throws Error{Fault::Unsupported} naming what it cannot do.
using Family = LoweredGroup (*)(Context&, const Op& group);

struct FamilyEntry {
  const char* name;  // the group's "family" parameter
  Family lower, lower_for_gpu;
  bool keeps_composites;  // false: composites in the region are replaced by their bodies first
};
const FamilyEntry* find_family(std::string_view name);  // null when there is none

LoweredGroup lower_elementwise(Context&, const Op& group);
LoweredGroup lower_reduction(Context&, const Op& group);
LoweredGroup lower_plain(Context&, const Op& group);
// Each result by itself, whatever it takes to compute an element of it: what lower_plain does, under a family's name.
LoweredGroup lower_elements(Context&, const Op& group, const std::string& family);
LoweredGroup lower_positions(Context&, const Op& group);
LoweredGroup lower_suppress(Context&, const Op& group);
LoweredGroup lower_contraction(Context&, const Op& group);
LoweredGroup lower_attention(Context&, const Op& group);
LoweredGroup lower_recurrent(Context&, const Op& group);
LoweredGroup lower_recurrent_gradient(Context&, const Op& group);
LoweredGroup lower_packed(Context&, const Op& group);
LoweredGroup lower_linear_attention(Context&, const Op& group);
LoweredGroup lower_tree_ensemble(Context&, const Op& group);
LoweredGroup lower_scatter(Context&, const Op& group);
LoweredGroup lower_scan(Context&, const Op& group);
LoweredGroup lower_top_k(Context&, const Op& group);
LoweredGroup lower_bit_cast(Context&, const Op& group);

// "node 'conv1' (Conv, opset 22): no kernel for …"
[[noreturn]] void unsupported(const Module&, const Op& group, const std::string& what);

}  // namespace lapidary::lowering
