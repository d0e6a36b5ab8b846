// Conversions between all pairs of types: every code of the 16-bit and smaller floats, the neighbours of every midpoint
// between two of them, and the edges of the integers, against ir/scalar.h.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "ir/small_floats.h"
#include "test/codegen/run_kernel.h"

namespace lapidary::testing {
namespace {

using namespace loops;

constexpr DType kTypes[] = {DType::Bool,   DType::I8,         DType::I16,   DType::I32,      DType::I64,
                            DType::U8,     DType::U16,        DType::U32,   DType::U64,      DType::F32,
                            DType::F64,    DType::F16,        DType::BF16,  DType::F8E4M3FN, DType::F8E4M3FNUZ,
                            DType::F8E5M2, DType::F8E5M2FNUZ, DType::F8E8M0};

Array all_codes(DType dtype) {
  const int bits = bit_width(dtype);
  Array array(dtype, int64_t{1} << bits);
  for (int64_t code = 0; code < array.elements; code++)
    std::memcpy(array.bytes.data() + code * bits / 8, &code, bits / 8);
  return array;
}

// Midpoints of neighbouring codes of every small float, and what lies just beside them.
std::vector<double> halfway_values() {
  std::vector<double> values;
  for (DType small : kTypes) {
    if (!is_small_float(small) || small == DType::F8E8M0) continue;
    const uint32_t codes = 1u << (bit_width(small) - 1), stride = bit_width(small) == 16 ? 97 : 1;
    for (uint32_t code = 0; code + 1 < codes; code += stride) {
      const double middle = (decode_small_float(small, code) + decode_small_float(small, code + 1)) / 2;
      for (double x :
           {middle, middle * (1 + 1e-7), middle * (1 - 1e-7), middle * (1 + 1e-12), middle * (1 - 1e-12), -middle})
        values.push_back(x);
    }
  }
  return values;
}

Array floats(DType dtype) {
  std::vector<Scalar> values;
  for (double x : halfway_values()) values.push_back(Scalar::of_float(dtype, round_to(dtype, x)));
  const double inf = std::numeric_limits<double>::infinity();
  for (double x : {0.0, -0.0, inf,  -inf, std::nan(""), 1e300,    -1e300,  1e-300,       127.5, -128.5, 255.5,
                   3e9, -3e9, 1e19, 2e19, 9.3e18,       65519.99, 65520.0, 2147483647.5, 0.9,   -0.9})
    values.push_back(Scalar::of_float(dtype, round_to(dtype, x)));
  return Array(dtype, values);
}

Array integers(DType dtype) {
  std::vector<Scalar> values;
  for (int shift = 0; shift < bit_width(dtype); shift++) {
    for (uint64_t around : {UINT64_MAX, UINT64_C(0), UINT64_C(1)}) {  // wrapping
      const uint64_t power = UINT64_C(1) << shift;
      for (uint64_t x : {power + around, -power + around, power + (power >> 11) + around,
                         power + (power >> 12) + around, power + (power >> 8) + around})
        values.push_back(convert(Scalar::of_integer(DType::I64, static_cast<int64_t>(x)), dtype));
    }
  }
  return Array(dtype, values);
}

Array values_of(DType dtype) {
  if (is_small_float(dtype)) return all_codes(dtype);
  if (is_float(dtype)) return floats(dtype);
  if (dtype == DType::Bool) return Array(dtype, std::vector<Scalar>(16, Scalar::of_bool(true)));
  return integers(dtype);
}

Kernel convert_kernel(DType from, DType to, int lanes) {
  Kernel kernel;
  kernel.buffers = {make_global("x", from, false), make_global("y", to, true)};
  const Var task = make_var("task", {}, 0, 1 << 20);
  const Expr index = mul(variable(task), integer(lanes));
  kernel.body =
      block({for_loop(task, integer(0), integer(1 << 20), 1, LoopKind::Task,
                      {store(kernel.buffers[1], index, convert(load(kernel.buffers[0], index, lanes), to))})});
  return kernel;
}

struct Case {
  DType to;
  int lanes;
};

void check(DType from, const Case& c, const Kernel& kernel, lpd_kernel entry, const std::string& target) {
  const Array x = values_of(from);
  const int64_t count = x.elements / c.lanes * c.lanes;
  const Array y = run_loaded(entry, kernel, {x, Array(c.to, x.elements)}, {}, count / c.lanes).back();
  for (int64_t i = 0; i < count; i++) {
    const Scalar in = x.at(i), got = y.at(i), want = convert(in, c.to);
    const bool both_nan = std::isnan(got.number) && std::isnan(want.number);
    ASSERT_TRUE(both_nan || (got.number == want.number && std::signbit(got.number) == std::signbit(want.number) &&
                             got.integer == want.integer))
        << name_of(from) << " to " << name_of(c.to) << "x" << c.lanes << " on " << target << ": " << in.number << "|"
        << in.integer << " gave " << got.number << "|" << got.integer << ", not " << want.number << "|" << want.integer;
  }
}

class Conversions : public ::testing::TestWithParam<DType> {};

TEST_P(Conversions, AgreeWithTheirDefinition) {
  const DType from = GetParam();
  std::vector<Case> cases;
  Program program;
  for (DType to : kTypes) {
    if (to == from) continue;
    for (int lanes : {1, 8, 16}) {
      cases.push_back({to, lanes});
      program.kernels.push_back(convert_kernel(from, to, lanes));
    }
  }
  for (const std::string& target : targets_of_all_levels()) {
    const codegen::cpu::LoadedKernels loaded(program, codegen::resolve_target(target), {.jobs = 4});
    for (uint32_t i = 0; i < cases.size(); i++) check(from, cases[i], program.kernels[i], loaded[i], target);
  }
}

INSTANTIATE_TEST_SUITE_P(All, Conversions, ::testing::ValuesIn(kTypes),
                         [](const auto& info) { return std::string(name_of(info.param)); });

// y = convert(round(x) + offset), which is one conversion.
TEST(RoundedConversions, AreRoundingsThenConversions) {
  const Array x = floats(DType::F32);
  for (DType to : {DType::U8, DType::I8, DType::I16, DType::U16})
    for (int lanes : {1, 8, 16})
      for (float offset : {0.f, 120.f, -7.f, 0.5f}) {
        Kernel kernel;
        kernel.family = "rounded";
        kernel.buffers = {make_global("x", DType::F32, false), make_global("y", to, true)};
        const Var task = make_var("task", {}, 0, 1 << 20);
        const Expr index = mul(variable(task), integer(lanes));
        Expr number = apply(ScalarOp::Round, {load(kernel.buffers[0], index, lanes)});
        if (offset != 0) number = add(number, real(offset, lanes));
        kernel.body = block({for_loop(task, integer(0), integer(1 << 20), 1, LoopKind::Task,
                                      {store(kernel.buffers[1], index, convert(number, to))})});
        const std::vector<Array> buffers = {x, Array(to, x.elements)};
        const int64_t tasks = x.elements / lanes;
        const auto expected = run_interpreted(kernel, buffers, {}, tasks);
        for (const std::string& target : targets_of_all_levels()) {
          const auto got = run_compiled(kernel, buffers, {}, tasks, codegen::resolve_target(target));
          EXPECT_EQ(got[1].bytes, expected[1].bytes)
              << name_of(to) << "x" << lanes << " + " << offset << " on " << target;
        }
      }
}

}  // namespace
}  // namespace lapidary::testing
