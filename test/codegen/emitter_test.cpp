// Statements, masks, memory and vectors: compiled kernels against the interpreter, bit for bit.
#include <gtest/gtest.h>

#include "ir/text.h"
#include "test/codegen/run_kernel.h"

namespace lapidary::testing {
namespace {

using namespace loops;

Array counting(DType dtype, int64_t elements) {
  Array array(dtype, elements);
  for (int64_t i = 0; i < elements; i++) {
    const int64_t value = (i * 7 + 3) % 101 - 50;
    store_scalar(is_float(dtype) ? Scalar::of_float(dtype, static_cast<double>(value) / 4)
                                 : Scalar::of_integer(dtype, dtype == DType::Bool ? value & 1 : value),
                 array.bytes.data(), i);
  }
  return array;
}

void expect_as_interpreted(const Kernel& kernel, const std::vector<Array>& buffers,
                           const std::vector<int64_t>& integers, int64_t tasks) {
  const std::vector<Array> wanted = run_interpreted(kernel, buffers, integers, tasks);
  for (const std::string& name : runnable_targets()) {
    const std::vector<Array> got = run_compiled(kernel, buffers, integers, tasks, codegen::resolve_target(name));
    for (size_t b = 0; b < buffers.size(); b++) {
      if (kernel.buffers[b]->space == Space::Stage) continue;
      for (int64_t i = 0; i < got[b].elements; i++) {
        const Scalar have = got[b].at(i), want = wanted[b].at(i);
        ASSERT_TRUE(have.integer == want.integer && have.number == want.number)
            << name << " buffer " << b << " element " << i << ": " << have.number << have.integer << ", not "
            << want.number << want.integer << "\n"
            << print_kernel(kernel);
      }
    }
  }
}

Kernel task_kernel(std::vector<Buffer> buffers, std::vector<Var> integers, const Var& task, std::vector<Stmt> body) {
  Kernel kernel;
  kernel.family = "test";
  kernel.buffers = std::move(buffers);
  kernel.integers = std::move(integers);
  kernel.body = block({for_loop(task, integer(0), integer(1 << 20), 1, LoopKind::Task, std::move(body))});
  return kernel;
}

// The tile of bench/gemm_tile.cpp with a remainder loop and a masked last vector.
TEST(Emitter, MatrixProduct) {
  const int rows = 3, lanes = 8;
  const int64_t depth = 10;
  const Buffer a = make_global("a", DType::F32, false), b = make_global("b", DType::F32, false);
  const Buffer c = make_global("c", DType::F32, true);
  const Var columns = make_var("columns", {}, 1, 100), task = make_var("task", {}, 0, 1 << 20);
  const Var i = make_var("i", {}, 0, rows - 1), k = make_var("k", {}, 0, depth - 1), u = make_var("u", {}, 0, 3);
  const Buffer acc = make_local("acc", {DType::F32, lanes}, rows);
  const Expr left = sub(variable(columns), mul(variable(task), integer(lanes)));
  const Expr mask = first_lanes(left, lanes);
  const auto step = [&](const Expr& at) {
    const Expr column = load(b, add(mul(at, variable(columns)), mul(variable(task), integer(lanes))), lanes, mask);
    const Expr row = splat(load(a, add(mul(variable(i), integer(depth)), at)), lanes);
    return for_loop(i, integer(0), integer(rows), 1, LoopKind::Unrolled,
                    {store(acc, variable(i), fma(row, column, load(acc, variable(i), lanes)))});
  };
  const Kernel kernel = task_kernel(
      {a, b, c}, {columns}, task,
      {alloc(acc,
             {for_loop(i, integer(0), integer(rows), 1, LoopKind::Unrolled, {store(acc, variable(i), real(0, lanes))}),
              for_loop(
                  k, integer(0), integer(8), 4, LoopKind::Serial,
                  {for_loop(u, integer(0), integer(4), 1, LoopKind::Unrolled, {step(add(variable(k), variable(u)))})}),
              for_loop(k, integer(8), integer(depth), 1, LoopKind::Serial, {step(variable(k))}),
              for_loop(i, integer(0), integer(rows), 1, LoopKind::Unrolled,
                       {store(c, add(mul(variable(i), variable(columns)), mul(variable(task), integer(lanes))),
                              load(acc, variable(i), lanes), mask)})})});
  expect_as_interpreted(
      kernel, {counting(DType::F32, rows * depth), counting(DType::F32, depth * 19), Array(DType::F32, rows * 19)},
      {19}, 3);
}

}  // namespace
}  // namespace lapidary::testing
