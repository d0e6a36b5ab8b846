// Products of f32 that are rounded to tf32, by Hopper's warpgroups where there are many rows. These take words along k
// alone: other operands are turned by a step before them.
#include "test/kernels/kernel_cases.h"

namespace lapidary::test {

std::vector<KernelCase> rounded_cases() {
  std::vector<KernelCase> cases;
  constexpr int64_t kRows = -1;  // in an operand's extents: a symbol
  const auto add = [&](const char* name, const char* spec, std::vector<int64_t> a, std::vector<int64_t> b,
                       int64_t many = 0) {
    cases.push_back({.name = name,
                     .build =
                         [=](CaseModel& m) {
                           Shape shape;
                           for (const int64_t extent : a)
                             shape.push_back(extent == kRows ? m.symbol("M") : m.module.dims.constant(extent));
                           m.result({m.relu(m.build.contract(m.input(shape), m.input(m.shape(b)), spec))});
                         },
                     .values = many ? std::vector<SymbolValues>{{{"M", 0}}, {{"M", 3}}, {{"M", many}}}
                                    : std::vector<SymbolValues>{{}},
                     .tolerance = 8e-2,
                     .gpu_kernel = "turn tile=64x64"});
  };
  add("live_columns", "mk,kn->mn", {kRows, 520}, {520, 2040}, 1100);
  add("odd_depth", "mk,kn->mn", {kRows, 518}, {518, 2044}, 1090);
  add("both_turned", "km,kn->mn", {520, 1100}, {520, 2040});
  add("batch", "abmk,abkn->abmn", {1, 2, kRows, 520}, {1, 2, 520, 1020}, 1100);
  return cases;
}

}  // namespace lapidary::test
