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

// Kernels in their text form are easier to read; each is about one thing.
void expect_text_as_interpreted(const char* text, const std::vector<Array>& buffers, int64_t tasks = 1,
                                const std::vector<int64_t>& integers = {}) {
  expect_as_interpreted(parse_kernel(text), buffers, integers, tasks);
}

TEST(Emitter, MaskedLoadsAndStoresTouchNothingElse) {
  expect_text_as_interpreted(R"(kernel "test" (%x: global f32, %y: global f32 written, n: i64 range [0, 100]) {
    for task t in [0, 8) {
      let m: boolx8 = ramp(i32 0, i32 1, 8) < splat(i32(n - t), 8)
      store %y[t * 8 : 8 if m] = %x[t * 8 : 8 if m]
    }
  })",
                             {counting(DType::F32, 61), Array(DType::F32, 61)}, 8, {5});
}

TEST(Emitter, MaskedScalars) {
  expect_text_as_interpreted(R"(kernel "test" (%x: global f32, %y: global f32 written, n: i64 range [0, 100]) {
    for task t in [0, 8) {
      store %y[t if t < 5] = %x[t + 3 if t < n] + 1.0
    }
  })",
                             {counting(DType::F32, 7), Array(DType::F32, 8)}, 8, {4});
}

TEST(Emitter, GathersAndScatters) {
  expect_text_as_interpreted(
      R"(kernel "test" (%x: global f32, %i: global i64, %y: global f32 written) {
    for task t in [0, 2) {
      let at: i64x8 = %i[t * 8 : 8]
      let m: boolx8 = at < splat(20, 8)
      store %y[ramp(t * 8 + 7, -1, 8)] = %x[at if m]
    }
  })",
      {counting(DType::F32, 20),
       Array(DType::I64,
             {Scalar::of_integer(DType::I64, 3), Scalar::of_integer(DType::I64, 19), Scalar::of_integer(DType::I64, 20),
              Scalar::of_integer(DType::I64, 0), Scalar::of_integer(DType::I64, 7), Scalar::of_integer(DType::I64, 7),
              Scalar::of_integer(DType::I64, 99), Scalar::of_integer(DType::I64, 1), Scalar::of_integer(DType::I64, 2),
              Scalar::of_integer(DType::I64, 4), Scalar::of_integer(DType::I64, 6), Scalar::of_integer(DType::I64, 8),
              Scalar::of_integer(DType::I64, 10), Scalar::of_integer(DType::I64, 50),
              Scalar::of_integer(DType::I64, 14), Scalar::of_integer(DType::I64, 15)}),
       Array(DType::F32, 16)},
      2);
}

TEST(Emitter, StridedLoadsReadNothingBeyond) {
  for (int64_t step : {-7, -4, -2, -1, 0, 1, 2, 3, 4, 5}) {
    for (int lanes : {4, 8, 16}) {
      for (bool masked : {false, true}) {
        const Buffer x = make_global("x", DType::F32, false), y = make_global("y", DType::F32, true);
        const Var task = make_var("t", {}, 0, 100), runtime = make_var("step", {}, -1000, 1000);
        const int64_t span = (lanes - 1) * std::abs(step) + 1;
        const Expr start = add(variable(task), integer(step < 0 ? span - 1 : 0));
        const Expr mask = masked ? first_lanes(variable(runtime), lanes) : nullptr;
        const Expr constant_step = load(x, ramp(start, integer(step), lanes), lanes, mask);
        const Expr runtime_step = load(x, ramp(start, variable(runtime), lanes), lanes, mask);
        const Expr at = mul(variable(task), integer(2 * lanes));
        expect_as_interpreted(
            task_kernel({x, y}, {runtime}, task,
                        {store(y, at, constant_step), store(y, add(at, integer(lanes)), runtime_step)}),
            {counting(DType::F32, span + 1), Array(DType::F32, 4 * lanes)}, {step}, 2);
      }
    }
  }
}

TEST(Emitter, LocalsByRuntimeIndexAndByConstant) {
  expect_text_as_interpreted(R"(kernel "test" (%x: global f32, %y: global f32 written) {
    for task t in [0, 3) {
      local %v: f32x8[4] {
        local %s: f32[32] {
          for i in [0, 4) {
            store %v[i] = %x[i * 8 : 8]
            store %s[i * 8 : 8] = %v[i] + %v[i]
          }
          for i in [0, 32) {
            store %y[t * 32 + i] = %s[31 - i]
          }
        }
      }
    }
  })",
                             {counting(DType::F32, 32), Array(DType::F32, 96)}, 3);
}

TEST(Emitter, LoopsIfsAndLets) {
  expect_text_as_interpreted(
      R"(kernel "test" (%x: global f32, %y: global f32 written reads_own_writes, n: i64 range [0, 9]) {
    for task t in [0, 4) {
      store %y[t] = 0.0
      for i in [t, n) {
        let sum: f32 = %y[t] + %x[i]
        if i < 3 {
          store %y[t] = sum
        } else {
          for j in [0, i) step 2 {
            store %y[t] = %y[t] * 0.5 + %x[j]
          }
        }
      }
    }
  })",
      {counting(DType::F32, 9), Array(DType::F32, 4)}, 4, {7});
}

TEST(Emitter, BoolsAreBytesInMemory) {
  expect_text_as_interpreted(R"(kernel "test" (%x: global bool, %y: global bool written) {
    for task t in [0, 2) {
      store %y[t * 8 : 8] = not(%x[t * 8 : 8])
    }
  })",
                             {counting(DType::Bool, 16), Array(DType::Bool, 16)}, 2);
}

TEST(Emitter, StorageTypesAreMovedChosenAndFilledIn) {
  const Buffer x = make_global("x", DType::F16, false), y = make_global("y", DType::F16, true);
  const Var task = make_var("t", {}, 0, 100);
  const Expr half = convert(real(0.3f, 8), DType::F16), value = load(x, integer(0), 8);
  const Expr small = less(convert(value, DType::F32), real(0, 8));
  expect_as_interpreted(task_kernel({x, y}, {}, task, {store(y, integer(0), select(small, half, value))}),
                        {counting(DType::F16, 8), Array(DType::F16, 8)}, {}, 1);
}

TEST(Emitter, ReducesInPairs) {
  for (ScalarOp op : {ScalarOp::Add, ScalarOp::Mul, ScalarOp::Min, ScalarOp::Max}) {
    for (int lanes : {2, 8, 16}) {
      const Buffer x = make_global("x", DType::F32, false), y = make_global("y", DType::F32, true);
      const Var task = make_var("t", {}, 0, 100);
      const Expr index = mul(variable(task), integer(lanes));
      expect_as_interpreted(
          task_kernel({x, y}, {}, task, {store(y, variable(task), reduce(op, load(x, index, lanes)))}),
          {counting(DType::F32, 3 * lanes), Array(DType::F32, 3)}, {}, 3);
    }
  }
}

TEST(Emitter, ShufflesOfManySources) {
  for (int sources : {1, 2, 3, 5}) {
    for (int lanes : {1, 4, 8}) {
      for (bool zeros : {false, true}) {
        const Buffer x = make_global("x", DType::F32, false), y = make_global("y", DType::F32, true);
        const Var task = make_var("t", {}, 0, 100);
        std::vector<Expr> args;
        for (int i = 0; i < sources; i++) args.push_back(load(x, integer(i * lanes), lanes));
        std::vector<int> from;
        for (int i = 0; i < 8; i++) from.push_back(zeros && i % 3 == 1 ? -1 : (i * 5 + 2) % (sources * lanes));
        expect_as_interpreted(task_kernel({x, y}, {}, task, {store(y, integer(0), shuffle(args, from))}),
                              {counting(DType::F32, sources * lanes), Array(DType::F32, 8)}, {}, 1);
      }
    }
  }
}

TEST(Emitter, StageIsPassedApart) {
  const Buffer x = make_global("x", DType::F32, false), y = make_global("y", DType::F32, true);
  const Buffer one = make_stage("one", DType::F32), two = make_stage("two", DType::F32);
  const Var task = make_var("t", {}, 0, 100);
  expect_as_interpreted(task_kernel({x, one, two, y}, {}, task,
                                    {store(one, integer(0), load(x, variable(task))),
                                     store(two, integer(0), load(x, add(variable(task), integer(1)))),
                                     store(y, variable(task), sub(load(one, integer(0)), load(two, integer(0))))}),
                        {counting(DType::F32, 4), Array(DType::F32, 4), Array(DType::F32, 4), Array(DType::F32, 3)}, {},
                        3);
}

TEST(Compile, BytesDoNotDependOnJobs) {
  Program program;
  for (int lanes : {2, 4, 8, 16, 32}) {
    const Buffer x = make_global("x", DType::F32, false), y = make_global("y", DType::F32, true);
    const Var task = make_var("t", {}, 0, 100);
    program.kernels.push_back(
        task_kernel({x, y}, {}, task, {store(y, variable(task), reduce(ScalarOp::Add, load(x, integer(0), lanes)))}));
  }
  const Target target = codegen::resolve_target("x86-64-v3");
  codegen::ArtifactOptions one, four;
  four.jobs = 4;
  EXPECT_EQ(codegen::cpu::compile_kernels(program, target, one), codegen::cpu::compile_kernels(program, target, four));
  EXPECT_EQ(codegen::assembly_text(program, target, one), codegen::assembly_text(program, target, four));
}

}  // namespace
}  // namespace lapidary::testing
