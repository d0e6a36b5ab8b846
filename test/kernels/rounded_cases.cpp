// Products of f32 that are rounded for tensor cores, by Hopper's warpgroups, whose factors a step before them makes: it
// turns what lies otherwise than along k, rounds, splits and fills k up to whole packets.
// The family's name is the way of multiplying, as in --f32.
#include "ir/composites.h"
#include "test/kernels/kernel_cases.h"

namespace lapidary::test {

namespace {

constexpr int64_t kRows = -1;  // in an operand's extents: a symbol
constexpr double kOfTf32 = 8e-2, kOfBf16 = 0.4;

using Extents = std::vector<int64_t>;

Shape shape_of(CaseModel& m, const Extents& extents) {
  Shape shape;
  for (const int64_t extent : extents)
    shape.push_back(extent == kRows ? m.symbol("M") : m.module.dims.constant(extent));
  return shape;
}

std::vector<SymbolValues> up_to(int64_t many) {
  return many ? std::vector<SymbolValues>{{{"M", 0}}, {{"M", 3}}, {{"M", many}}} : std::vector<SymbolValues>{{}};
}

// Scores and weights are rounded too: queries held and read again, few of them over keys in parts, and heads that no
// tile is for, which are products.
void add_attention(std::vector<KernelCase>& cases) {
  for (const int64_t head : {48, 64, 128, 512})
    cases.push_back({.name = fmt::format("attention_of_{}", head),
                     .build =
                         [=](CaseModel& m) {
                           const auto input = [&](int64_t heads, const char* length) {
                             DimPool& d = m.module.dims;
                             return m.input({d.constant(1), d.constant(heads), m.symbol(length), d.constant(head)});
                           };
                           Value *q = input(4, "S"), *k = input(2, "T"), *v = input(2, "T");
                           m.result({composites::attention(m.build, q, k, v, nullptr, 0.125, true)});
                         },
                     .values = {{{"S", 1}, {"T", 1}}, {{"S", 3}, {"T", 300}}, {{"S", 70}, {"T", 70}}},
                     .tolerance = 8e-3,
                     .gpu_kernel = head <= 128 ? "attention" : "product tf32"});
}

}  // namespace

std::vector<KernelCase> tf32_cases() {
  std::vector<KernelCase> cases;
  const auto add = [&](const char* name, const char* spec, const Extents& a, const Extents& b, int64_t many = 0) {
    cases.push_back({.name = name,
                     .build =
                         [=](CaseModel& m) {
                           Value* x = m.input(shape_of(m, a));
                           m.result({m.relu(m.build.contract(x, m.input(m.shape(b)), spec))});
                         },
                     .values = up_to(many),
                     .tolerance = kOfTf32,
                     .gpu_kernel = "factors f32 turned"});
  };
  add("live_columns", "mk,kn->mn", {kRows, 520}, {520, 2040}, 1100);
  add("odd_depth", "mk,kn->mn", {kRows, 518}, {518, 2044}, 1090);
  add("both_turned", "km,kn->mn", {520, 1100}, {520, 2040});
  add("batch", "abmk,abkn->abmn", {1, 2, kRows, 520}, {1, 2, 520, 1020}, 1100);
  add_attention(cases);
  return cases;
}

namespace {

// Small ones, of warpgroups all the same: k is longer than what is under way at once.
std::vector<KernelCase> cases_of_warpgroups(const std::string& made, double tolerance) {
  std::vector<KernelCase> cases;
  const auto add = [&](const char* name, const char* how, std::function<Value*(CaseModel&)> build, int64_t depth,
                       int64_t many = 0) {
    cases.push_back({.name = name,
                     .build = [=](CaseModel& m) { m.result({m.relu(build(m))}); },
                     .values = up_to(many),
                     .terms = tolerance > 0 ? 0 : static_cast<double>(depth),
                     .tolerance = tolerance,
                     .gpu_kernel = "factors " + made + how,
                     .hopper_tile = "warpgroups"});
  };
  const auto product = [](const char* spec, const Extents& a, const Extents& b) {
    return [=](CaseModel& m) { return m.build.contract(m.input(shape_of(m, a)), m.input(m.shape(b)), spec); };
  };
  add("live_columns", " turned", product("mk,kn->mn", {kRows, 712}, {712, 264}), 712, 300);
  add("odd_depth", "", product("mk,nk->mn", {kRows, 709}, {263, 709}), 709, 135);
  add("odd_columns", " turned", product("mk,kn->mn", {kRows, 86}, {86, 131}), 86, 70);
  add("both_turned", " turned", product("km,kn->mn", {389, 202}, {389, 134}), 389);
  add("batch", " turned", product("abmk,abkn->abmn", {1, 3, kRows, 72}, {1, 3, 72, 68}), 72, 140);
  add("several_of_k", "", product("mjk,nkj->mn", {kRows, 7, 36}, {72, 36, 7}), 252, 70);
  add(
      "weights", "",
      [=](CaseModel& m) {
        return m.build.contract(m.input(shape_of(m, {kRows, 389})), m.weights({389, 264}), "mk,kn->mn");
      },
      389, 140);
  add(
      "weights_along_k", "",
      [=](CaseModel& m) {
        return m.build.contract(m.input(shape_of(m, {kRows, 390})), m.weights({264, 390}), "mk,nk->mn");
      },
      390, 140);
  return cases;
}

}  // namespace

std::vector<KernelCase> bf16_cases() { return cases_of_warpgroups("bf16", kOfBf16); }
std::vector<KernelCase> tf32x3_cases() {
  std::vector<KernelCase> cases = cases_of_warpgroups("3xf32", 0);
  cases.push_back({.name = "largest_numbers",
                   .build =
                       [](CaseModel& m) {
                         Value *x = m.input(m.shape({40, 72})), *y = m.input(m.shape({72, 64}));
                         Value* large = m.build.mul(x, m.build.like(x, 0x1p125));
                         Value* small = m.build.mul(y, m.build.like(y, 0x1p-40));
                         m.result({large, small, m.build.contract(large, small, "mk,kn->mn")});
                       },
                   .terms = 72,
                   .gpu_kernel = "factors 3xf32",
                   .hopper_tile = "warpgroups"});
  cases.push_back(
      {.name = "halves_as_they_are",
       .build =
           [](CaseModel& m) {
             Value *x = m.input(shape_of(m, {kRows, 72}), DType::F16), *y = m.input(m.shape({72, 64}), DType::F16);
             m.result({m.build.contract(x, y, "mk,kn->mn")});
           },
       .values = up_to(70),
       .tolerance = 2e-3,
       .gpu_kernel = "product f16",
       .hopper_tile = "warpgroups"});
  return cases;
}

}  // namespace lapidary::test
