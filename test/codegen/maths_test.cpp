// How far our maths functions are from the truth: every 1009th f32, and what IEEE and C say of the special ones.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "test/codegen/run_kernel.h"

namespace lapidary::testing {
namespace {

using namespace loops;

constexpr float kInf = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();

// y[i] = op(x[i]…) over vectors of `lanes`.
Kernel map_kernel(ScalarOp op, int lanes) {
  Kernel kernel;
  const Var task = make_var("task", {}, 0, 1 << 30);
  const Expr index = mul(variable(task), integer(lanes));
  std::vector<Expr> args;
  for (int i = 0; i < operand_count(op); i++) {
    kernel.buffers.push_back(make_global("x" + std::to_string(i), DType::F32, false));
    args.push_back(load(kernel.buffers.back(), index, lanes));
  }
  kernel.buffers.push_back(make_global("y", DType::F32, true));
  kernel.body = block({for_loop(task, integer(0), integer(1 << 30), 1, LoopKind::Task,
                                {store(kernel.buffers.back(), index, apply(op, args))})});
  return kernel;
}

Array floats(const std::vector<float>& values) {
  Array array(DType::F32, static_cast<int64_t>(values.size()));
  std::memcpy(array.bytes.data(), values.data(), array.bytes.size());
  return array;
}

std::vector<float> mapped(ScalarOp op, int lanes, const std::vector<std::vector<float>>& args,
                          const std::string& target, bool strict = false) {
  std::vector<Array> buffers;
  for (const auto& arg : args) buffers.push_back(floats(arg));
  buffers.push_back(Array(DType::F32, static_cast<int64_t>(args[0].size())));
  codegen::ArtifactOptions options;
  options.strict_math = strict;
  const auto result = run_compiled(map_kernel(op, lanes), buffers, {}, static_cast<int64_t>(args[0].size()) / lanes,
                                   codegen::resolve_target(target), options);
  std::vector<float> y(args[0].size());
  std::memcpy(y.data(), result.back().bytes.data(), y.size() * sizeof(float));
  return y;
}

// In units of the last place of the true value, taken as if the exponent had no upper end.
double ulps(float got, double want) {
  if (std::isnan(got) || std::isnan(want)) return std::isnan(got) == std::isnan(want) ? 0 : 1e9;
  const float nearest = static_cast<float>(want);
  if (std::isinf(got) || std::isinf(nearest)) return got == nearest ? 0 : 1e9;
  const double unit = std::ldexp(1.0, std::max(want == 0 ? -149 : std::ilogb(want) - 23, -149));
  return std::abs(static_cast<double>(got) - want) / unit;
}

struct Worst {
  double ulps = 0;
  float x = 0;
};
Worst worst_of(const std::vector<float>& x, const std::vector<float>& y, double (*truth)(double)) {
  Worst worst;
  for (size_t i = 0; i < x.size(); i++) {
    const double error = ulps(y[i], truth(x[i]));
    if (error > worst.ulps) worst = {error, x[i]};
  }
  return worst;
}

std::vector<float> samples() {
  std::vector<float> x;
  for (uint64_t bits = 0; bits < (UINT64_C(1) << 32); bits += 1009)
    x.push_back(std::bit_cast<float>(static_cast<uint32_t>(bits)));
  x.resize(x.size() / 16 * 16);
  return x;
}

double true_sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

struct Function {
  const char* name;
  ScalarOp op;
  double (*truth)(double);
  double most_ulps;
};
const Function kFunctions[] = {
    {"exp", ScalarOp::Exp, std::exp, 1},
    {"log", ScalarOp::Log, std::log, 1},
    {"tanh", ScalarOp::Tanh, std::tanh, 2},
    {"erf", ScalarOp::Erf, std::erf, 2},
    {"sigmoid", ScalarOp::Sigmoid, true_sigmoid, 2},
    {"sin", ScalarOp::Sin, std::sin, 2},
    {"cos", ScalarOp::Cos, std::cos, 2},
};
std::string function_name(const ::testing::TestParamInfo<Function>& info) { return info.param.name; }

class Maths : public ::testing::TestWithParam<Function> {};

TEST_P(Maths, IsWithinItsUlps) {
  const Function& f = GetParam();
  const std::vector<float> x = samples();
  for (const std::string& target : runnable_targets()) {
    const Worst worst = worst_of(x, mapped(f.op, target == "x86-64-v3" ? 8 : 16, {x}, target), f.truth);
    EXPECT_LE(worst.ulps, f.most_ulps) << target << " at " << worst.x;
    std::printf("%s on %s: %.3f ulp at %.9g\n", f.name, target.c_str(), worst.ulps, worst.x);
  }
}

TEST_P(Maths, SpecialValuesAreExact) {
  const Function& f = GetParam();
  const std::vector<float> x = {0.0f,    -0.0f, kInf, -kInf, kNan,   1e-45f,  -1e-45f, 1e-39f,
                                -1e-39f, 1,     -1,   88.7f, -87.4f, -103.9f, 3e38f,   -3e38f};
  for (int lanes : {1, 8, 16}) {
    const std::vector<float> y = mapped(f.op, lanes, {x}, runnable_targets().back());
    for (size_t i = 0; i < x.size(); i++) {
      const float want = static_cast<float>(f.truth(x[i]));
      EXPECT_LE(ulps(y[i], f.truth(x[i])), f.most_ulps) << x[i] << " with " << lanes << " lanes";
      const bool exact = want == 0 || std::isinf(want);
      EXPECT_TRUE(!exact || (want == y[i] && std::signbit(want) == std::signbit(y[i]))) << x[i];
    }
  }
}

TEST_P(Maths, StrictIsLibm) {
  const Function& f = GetParam();
  const std::vector<float> x = {0.0f, -0.3f, kInf, -kInf, kNan, 0.7f, 1.9f, -2.6f};
  const std::vector<float> y = mapped(f.op, 8, {x}, runnable_targets()[0], true);
  for (size_t i = 0; i < x.size(); i++) EXPECT_LE(ulps(y[i], f.truth(x[i])), 2) << x[i];
}

INSTANTIATE_TEST_SUITE_P(Own, Maths, ::testing::ValuesIn(kFunctions), function_name);

const std::vector<float> kPowSpecials = {0.0f, -0.0f, 1,    -1,    2,    -2,     3,       -3,
                                         0.5f, -0.5f, kInf, -kInf, kNan, 1e-40f, -1e-40f, 3e38f};

TEST(Pow, SpecialValuesAreC) {
  std::vector<float> x, y;
  for (float a : kPowSpecials) {
    for (float b : kPowSpecials) {
      x.push_back(a);
      y.push_back(b);
    }
  }
  for (const std::string& target : runnable_targets()) {
    const std::vector<float> z = mapped(ScalarOp::Pow, 8, {x, y}, target);
    for (size_t i = 0; i < x.size(); i++) {
      const double want = std::pow(static_cast<double>(x[i]), static_cast<double>(y[i]));
      EXPECT_LE(ulps(z[i], want), 1) << x[i] << "^" << y[i] << " gave " << z[i];
      EXPECT_TRUE(want != 0 || std::signbit(want) == std::signbit(z[i])) << x[i] << "^" << y[i];
    }
  }
}

TEST(Pow, IsWithinItsUlps) {
  std::mt19937 random(1);
  std::uniform_real_distribution<float> log_base(-40, 40), log_result(-103, 88.8f), sign(-1, 1);
  std::vector<float> x, y;
  for (int i = 0; i < (1 << 20); i++) {
    const float l = log_base(random);
    x.push_back(std::exp(l));
    y.push_back(log_result(random) / l);
    if (sign(random) < 0) x.back() = 1 + log_base(random) * 1e-3f;  // near 1, where the logarithm is small
  }
  const std::vector<float> z = mapped(ScalarOp::Pow, 8, {x, y}, runnable_targets().back());
  double worst = 0;
  for (size_t i = 0; i < x.size(); i++)
    worst = std::max(worst, ulps(z[i], std::pow(static_cast<double>(x[i]), static_cast<double>(y[i]))));
  std::printf("pow: %.3f ulp\n", worst);
  EXPECT_LE(worst, 1);
}

}  // namespace
}  // namespace lapidary::testing
