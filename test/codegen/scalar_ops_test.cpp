// Every scalar operation × type × lanes, compiled for each target this machine runs, against ir/scalar.h on all pairs
// of edge values.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "ir/loops_nodes.h"
#include "test/codegen/run_kernel.h"

namespace lapidary::testing {
namespace {

using namespace loops;

constexpr DType kTypes[] = {DType::Bool, DType::I8,  DType::I16, DType::I32, DType::I64, DType::U8,
                            DType::U16,  DType::U32, DType::U64, DType::F32, DType::F64};
constexpr ScalarOp kOps[] = {
#define SCALAR_OP(kind, text, operands, types, result) ScalarOp::kind,
#include "ir/scalar_ops.def"
#undef SCALAR_OP
};

std::vector<Scalar> edge_values(DType dtype) {
  std::vector<Scalar> values;
  if (dtype == DType::Bool) return {Scalar::of_bool(false), Scalar::of_bool(true), Scalar::of_bool(true)};
  if (is_float(dtype)) {
    const double inf = std::numeric_limits<double>::infinity();
    for (double x : {0.0,  -0.0, 1.0,   -1.0, 0.5, -0.5, 1.5,          2.5,   -2.5, 3.0,  7.25, -7.25,
                     1e-3, 1e10, -1e10, 1e30, inf, -inf, std::nan(""), 1e-40, 0.99, -0.3, 20.0})
      values.push_back(Scalar::of_float(dtype, round_to(dtype, x)));
    return values;
  }
  const int bits = bit_width(dtype);
  for (int64_t x : {int64_t{0}, int64_t{1}, int64_t{-1}, int64_t{2}, int64_t{-2}, int64_t{3}, int64_t{5}, int64_t{-7},
                    int64_t{bits - 1}, int64_t{bits}, int64_t{100}, INT64_MAX >> (64 - bits), INT64_MIN >> (64 - bits)})
    values.push_back(convert(Scalar::of_integer(DType::I64, x), dtype));
  return values;
}

// All pairs for two operands, padded to whole vectors by repeating the first.
std::vector<std::vector<Scalar>> operands_of(ScalarOp op, DType dtype) {
  const std::vector<Scalar> edges = edge_values(dtype);
  std::vector<std::vector<Scalar>> operands(op == ScalarOp::Select ? 3 : operand_count(op));
  for (const Scalar& x : edges) {
    for (const Scalar& y : edges) {
      if (op == ScalarOp::Select) operands[0].push_back(Scalar::of_bool(operands[1].size() % 3 == 0));
      operands[operands.size() - 2 + (operands.size() == 1)].push_back(x);
      if (operands.size() > 1) operands.back().push_back(y);
    }
  }
  for (auto& values : operands) {
    while (values.size() % 16) values.push_back(values[0]);
  }
  return operands;
}

Kernel map_kernel(ScalarOp op, const std::vector<std::vector<Scalar>>& operands, int lanes) {
  Kernel kernel;
  const Var task = make_var("task", {}, 0, 1 << 20);
  const Expr index = mul(variable(task), integer(lanes));
  std::vector<Expr> args;
  for (size_t i = 0; i < operands.size(); i++) {
    kernel.buffers.push_back(make_global("x" + std::to_string(i), operands[i][0].dtype, false));
    args.push_back(load(kernel.buffers.back(), index, lanes));
  }
  const Expr result = nodes::apply(op, args);  // as it is: the builders would simplify
  kernel.buffers.push_back(make_global("y", result->type.dtype, true));
  kernel.body = block(
      {for_loop(task, integer(0), integer(1 << 20), 1, LoopKind::Task, {store(kernel.buffers.back(), index, result)})});
  return kernel;
}

bool agree(ScalarOp op, const Scalar& got, const Scalar& want) {
  if (!is_float(want.dtype)) return got.integer == want.integer;
  if (std::isnan(want.number)) return std::isnan(got.number);
  if (got.number == want.number) return true;
  const double relative = want.dtype == DType::F32 ? 3e-7 : 1e-15;  // 2 ulp and some, libm's and ours
  return is_maths(op) && std::abs(got.number - want.number) <= std::max(relative * std::abs(want.number), 3e-45);
}

struct Case {
  DType dtype;
  int lanes;
};

void check(ScalarOp op, const Case& c, const Kernel& kernel, lpd_kernel entry, const std::string& target) {
  const auto operands = operands_of(op, c.dtype);
  std::vector<Array> buffers;
  for (const auto& values : operands) buffers.emplace_back(values[0].dtype, values);
  const auto count = static_cast<int64_t>(operands[0].size());
  buffers.emplace_back(kernel.buffers.back()->element.dtype, count);
  const Array got = run_loaded(entry, kernel, buffers, {}, count / c.lanes).back();
  for (int64_t i = 0; i < count; i++) {
    std::vector<Scalar> args;
    for (const auto& values : operands) args.push_back(values[static_cast<size_t>(i)]);
    const Scalar want = evaluate(op, args), have = got.at(i);
    ASSERT_TRUE(agree(op, have, want)) << name_of(op) << " of " << name_of(c.dtype) << "x" << c.lanes << " on "
                                       << target << ": " << args[0].number << "|" << args[0].integer << ", "
                                       << args.back().number << "|" << args.back().integer << " gave " << have.number
                                       << "|" << have.integer << ", not " << want.number << "|" << want.integer;
  }
}

class ScalarOps : public ::testing::TestWithParam<ScalarOp> {};

TEST_P(ScalarOps, AgreeWithTheirDefinition) {
  const ScalarOp op = GetParam();
  std::vector<Case> cases;
  Program program;
  for (DType dtype : kTypes) {
    if (op != ScalarOp::Select && !accepts(op, dtype)) continue;
    for (int lanes : {1, 8, 16}) {
      cases.push_back({dtype, lanes});
      program.kernels.push_back(map_kernel(op, operands_of(op, dtype), lanes));
    }
  }
  for (const std::string& target : targets_of_all_levels()) {
    const codegen::cpu::LoadedKernels loaded(program, codegen::resolve_target(target), {.jobs = 4});
    for (uint32_t i = 0; i < cases.size(); i++) check(op, cases[i], program.kernels[i], loaded[i], target);
  }
}

INSTANTIATE_TEST_SUITE_P(All, ScalarOps, ::testing::ValuesIn(kOps),
                         [](const auto& info) { return std::string(name_of(info.param)); });

}  // namespace
}  // namespace lapidary::testing
