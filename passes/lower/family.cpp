#include "passes/lower/family.h"

#include <algorithm>

#include "ir/error.h"
#include "passes/lower/convolution.h"
#include "passes/lower/gpu/gpu.h"

namespace lapidary::lowering {

const FamilyEntry* find_family(std::string_view name) {
  static constexpr FamilyEntry kFamilies[] = {
      {"contraction", lower_contraction, gpu::lower_contraction, false},
      {"conv", lower_convolution, gpu::lower_convolution, false},
      {"filter_gradient", lower_filter_gradient, gpu::lower_filter_gradient, false},
      {"pool", lower_pool, gpu::lower_pool, false},
      {"pool_gradient", lower_pool_gradient, gpu::lower_pool_gradient, false},
      {"attention", lower_attention, gpu::lower_attention, true},
      {"recurrent", lower_recurrent, gpu::lower_recurrent, true},
      {"recurrent_gradient", lower_recurrent_gradient, gpu::lower_recurrent_gradient, true},
      {"packed", lower_packed, gpu::lower_packed, true},
      {"linear_attention", lower_linear_attention, lower_linear_attention, true},
      {"trees", lower_tree_ensemble, lower_tree_ensemble, true},
      {"scatter", lower_scatter, gpu::lower_scatter, false},
      {"scan", lower_scan, gpu::lower_scan, false},
      {"top_k", lower_top_k, gpu::lower_top_k, false},
      {"bit_cast", lower_bit_cast, lower_bit_cast, false},
      {"row", lower_reduction, gpu::lower_reduction, false},
      {"reduce", lower_reduction, gpu::lower_reduction, false},
      {"elementwise", lower_elementwise, lower_elementwise, false},
      {"positions", lower_positions, gpu::lower_positions, false},
      {"suppress", lower_suppress, lower_suppress, false},
      {"plain", lower_plain, lower_plain, false},
  };
  const auto* found = std::ranges::find(kFamilies, name, &FamilyEntry::name);
  return found == std::end(kFamilies) ? nullptr : found;
}

void unsupported(const Module& module, const Op& group, const std::string& what) {
  throw Error(Fault::Unsupported, fmt::format("{}: no kernel for {}", module.describe(group.origin), what));
}

}  // namespace lapidary::lowering
