// Our maths functions over arrays in the first cache.
//
//   build/bench/bench_maths          (one core, otherwise idle)
#include <benchmark/benchmark.h>

#include "codegen/cpu/load.h"

namespace lapidary {
namespace {

using namespace loops;

constexpr int64_t kElements = 2048;

Kernel map_kernel(ScalarOp op, int lanes) {
  Kernel kernel;
  kernel.buffers = {make_global("x", DType::F32, false), make_global("y", DType::F32, true)};
  const Var task = make_var("task", {}, 0, 1 << 20), i = make_var("i", {}, 0, kElements - 1, lanes);
  const std::vector<Expr> args(static_cast<size_t>(operand_count(op)), load(kernel.buffers[0], variable(i), lanes));
  kernel.body = block({for_loop(task, integer(0), integer(1 << 20), 1, LoopKind::Task,
                                {for_loop(i, integer(0), integer(kElements), lanes, LoopKind::Serial,
                                          {store(kernel.buffers[1], variable(i), apply(op, args))})})});
  return kernel;
}

void run(benchmark::State& state, ScalarOp op) {
  const Target target = codegen::resolve_target("native");
  Program program;
  program.kernels = {map_kernel(op, target.f32_lanes())};
  const codegen::cpu::LoadedKernels kernels(program, target);
  alignas(64) float x[kElements], y[kElements];
  for (int64_t i = 0; i < kElements; i++) x[i] = static_cast<float>(i) * 0.004f - 4 + (op == ScalarOp::Log ? 4 : 0);
  void* buffers[] = {x, y};
  const lpd_frame frame{buffers, nullptr};
  const lpd_kernel kernel = kernels[0];
  for (auto _ : state) kernel(&frame, 0, 1, nullptr);
  state.counters["ns/element"] = benchmark::Counter(static_cast<double>(kElements * state.iterations()) * 1e-9,
                                                    benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

}  // namespace
}  // namespace lapidary

int main(int argc, char** argv) {
  using lapidary::ScalarOp;
  benchmark::Initialize(&argc, argv);
  for (ScalarOp op : {ScalarOp::Exp, ScalarOp::Log, ScalarOp::Tanh, ScalarOp::Erf, ScalarOp::Sigmoid, ScalarOp::Sin,
                      ScalarOp::Pow, ScalarOp::Sqrt, ScalarOp::Div, ScalarOp::Max})
    benchmark::RegisterBenchmark(std::string(name_of(op)).c_str(),
                                 [op](benchmark::State& state) { lapidary::run(state, op); });
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
