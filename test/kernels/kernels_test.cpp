// Each way of each kernel family, as compiled code between guard pages, for each instruction set this machine has,
// against the interpreter of the Graph.
#include <gtest/gtest.h>

#include <algorithm>
#include <cfloat>

#include "ir/error.h"
#include "ir/text.h"
#include "test/codegen/run_kernel.h"
#include "test/kernels/guarded_run.h"
#include "test/kernels/kernel_cases.h"
#include "test/passes/program_runner.h"

namespace lapidary::test {
namespace {

std::unique_ptr<CaseModel> built(const KernelCase& kernel_case, bool absolute = false) {
  auto model = std::make_unique<CaseModel>();
  model->absolute = absolute;
  kernel_case.build(*model);
  return model;
}

struct LoweredCase {
  std::unique_ptr<CaseModel> model;
  std::optional<Program> program;
  std::string error;  // why there is no program
  size_t number = 0;  // in the kernels
};

// The cases of one family, lowered for one target, compiled and linked together.
struct CompiledFamily {
  std::vector<LoweredCase> cases;
  CompiledKernels kernels;

  CompiledFamily(const std::vector<KernelCase>& family, const std::string& target_name, passes::F32Products f32) {
    passes::Options options;
    options.f32_products = f32;
    options.target = codegen::resolve_target(target_name);
    for (const KernelCase& kernel_case : family) {
      if (options.target.has_warpgroups()) options.gpu_tile = kernel_case.hopper_tile;
      LoweredCase& lowered = cases.emplace_back();
      try {
        lowered.model = built(kernel_case);
        if (kernel_case.passes.empty())
          passes::run_graph_passes(lowered.model->module, options);
        else
          passes::run_passes(lowered.model->module, kernel_case.passes, options);
        lowered.program = passes::lower(lowered.model->module, options);
        lowered.number = kernels.add(*lowered.program);
      } catch (const Error& error) {
        lowered.program.reset();
        lowered.error = error.what();
      }
    }
    kernels.compile(options.target);
  }
};

// Those whose name says so.
passes::F32Products products_of(const std::string& family) {
  const auto found = std::ranges::find_if(passes::kF32Products, [&](const auto& way) { return family == way.name; });
  return found == std::end(passes::kF32Products) ? passes::F32Products::IEEE : found->products;
}

const CompiledFamily& compiled(size_t family, const std::string& target) {
  static std::map<std::pair<size_t, std::string>, std::unique_ptr<CompiledFamily>> all;
  std::unique_ptr<CompiledFamily>& found = all[{family, target}];
  const auto& [name, cases] = kernel_cases()[family];
  if (!found) found = std::make_unique<CompiledFamily>(cases, target, products_of(name));
  return *found;
}

bool has_kernel(const Program& program, const std::string& text) {
  return std::ranges::any_of(program.kernels, [&](const loops::Kernel& kernel) {
    return (kernel.family + " " + kernel.schedule).find(text) != std::string::npos;
  });
}

// |error| <= 2·√terms·ε·Σ|a·b|, element by element.
void expect_within_products(const Tensor& actual, const Tensor& expected, const Tensor& magnitude, double terms) {
  ASSERT_EQ(actual.shape, expected.shape);
  ASSERT_EQ(actual.dtype, expected.dtype);
  for (int64_t i = 0; i < expected.elements(); ++i) {
    const double a = actual.at(i).number, e = expected.at(i).number;
    const double bound = 2 * std::sqrt(terms) * FLT_EPSILON * magnitude.at(i).number;
    ASSERT_TRUE(std::abs(a - e) <= bound) << "element " << i << ": " << a << ", expected " << e << " within " << bound;
  }
}

struct Expected {
  std::vector<Tensor> inputs, results, magnitudes;
};

Expected expected_of(const KernelCase& kernel_case, const SymbolValues& values) {
  Expected expected;
  const auto model = built(kernel_case);
  expected.inputs = case_inputs(model->module, values);
  expected.results = interpret(model->module, model->function, expected.inputs);
  if (kernel_case.terms == 0) return expected;
  const auto absolute = built(kernel_case, true);
  expected.magnitudes = interpret(absolute->module, absolute->function, case_inputs(absolute->module, values, true));
  return expected;
}

std::string to_string(const SymbolValues& values) {
  std::string text;
  for (const auto& [name, value] : values) text += fmt::format(" {}={}", name, value);
  return text;
}

struct CaseNumber {
  size_t family, index;
};
const KernelCase& case_of(CaseNumber number) { return kernel_cases()[number.family].second[number.index]; }

class Kernels : public ::testing::TestWithParam<CaseNumber> {};

void check(const KernelCase& kernel_case, const LoweredCase& lowered, const CompiledKernels& kernels,
           const std::vector<Expected>& all_expected, const std::vector<Placement>& placements,
           bool rounds_apart = false) {
  ASSERT_TRUE(lowered.program) << lowered.error;
  const Program& program = *lowered.program;
  const auto kernel = [&](uint32_t index) { return kernels.kernel(lowered.number, index); };
  for (Placement placement : placements) {
    SCOPED_TRACE(placement == Placement::BeginsAfterGuard ? "buffers begin behind guards" : "buffers end at guards");
    const GuardedProgram guarded(program, kernel, placement, rounds_apart);
    for (size_t set = 0; set < all_expected.size(); ++set) {
      SCOPED_TRACE("symbols:" + to_string(kernel_case.values[set]));
      const Expected& expected = all_expected[set];
      const std::vector<Tensor> actual = guarded.run(expected.inputs);
      for (size_t i = 0; i < expected.results.size(); ++i) {
        SCOPED_TRACE(fmt::format("result {}", i));
        if (kernel_case.terms > 0)
          expect_within_products(actual[i], expected.results[i], expected.magnitudes[i], kernel_case.terms);
        else
          expect_close(actual[i], expected.results[i], kernel_case.tolerance, kernel_case.name);
      }
      if (::testing::Test::HasFailure()) return;
    }
  }
}

TEST_P(Kernels, ComputeBetweenGuards) {
  const KernelCase& kernel_case = case_of(GetParam());
  std::vector<Expected> expected;
  for (const SymbolValues& values : kernel_case.values) expected.push_back(expected_of(kernel_case, values));
  for (const std::string& target : testing::targets_of_all_levels()) {
    SCOPED_TRACE(target);
    const CompiledFamily& family = compiled(GetParam().family, target);
    const LoweredCase& lowered = family.cases[GetParam().index];
    if (lowered.program && target != "x86-64-v2") {  // whose vectors may be too short for it
      EXPECT_TRUE(has_kernel(*lowered.program, kernel_case.kernel)) << "no kernel '" << kernel_case.kernel << "'\n"
                                                                    << print_program(*lowered.program);
    }
    try {
      check(kernel_case, lowered, family.kernels, expected, {Placement::EndsAtGuard, Placement::BeginsAfterGuard});
    } catch (const Error& error) { ADD_FAILURE() << error.what(); }
    if (HasFailure()) return;
  }
}

std::vector<std::string> gpus_for(const std::string& family) {
  if (products_of(family) != passes::F32Products::IEEE) return {"cuda:sm_90a"};
  if (family == "halves" || family == "live_bytes") return {"cuda:sm_80", "cuda:sm_90a"};
  return {"cuda:sm_80"};
}

// What Hopper's warpgroups multiply, there.
TEST_P(Kernels, ComputeOnAnEmulatedGpu) {
  const KernelCase& kernel_case = case_of(GetParam());
  std::vector<Expected> expected;
  for (const SymbolValues& values : kernel_case.values) expected.push_back(expected_of(kernel_case, values));
  for (const std::string& target : gpus_for(kernel_cases()[GetParam().family].first)) {
    SCOPED_TRACE(target);
    const CompiledFamily& family = compiled(GetParam().family, target);
    const LoweredCase& lowered = family.cases[GetParam().index];
    if (lowered.program) {
      EXPECT_TRUE(has_kernel(*lowered.program, kernel_case.gpu_kernel))
          << "no kernel '" << kernel_case.gpu_kernel << "'\n"
          << print_program(*lowered.program);
    }
    try {
      check(kernel_case, lowered, family.kernels, expected, {Placement::AlignedAtGuard, Placement::BeginsAfterGuard},
            true);
    } catch (const Error& error) { ADD_FAILURE() << error.what(); }
  }
}

std::vector<CaseNumber> all_cases() {
  std::vector<CaseNumber> numbers;
  for (size_t family = 0; family < kernel_cases().size(); ++family)
    for (size_t i = 0; i < kernel_cases()[family].second.size(); ++i) numbers.push_back({family, i});
  return numbers;
}

INSTANTIATE_TEST_SUITE_P(All, Kernels, ::testing::ValuesIn(all_cases()), [](const auto& info) {
  return kernel_cases()[info.param.family].first + "_" + case_of(info.param).name;
});

}  // namespace
}  // namespace lapidary::test
