// The register tile every contraction is made of, alone, against what the core can do at most. Operands stay in the
// first and second cache, so what is missing from the peak is the code's own doing.
//
//   build/bench/bench_gemm_tile          (one core, otherwise idle)
#include <benchmark/benchmark.h>

#include "codegen/cpu/load.h"
#include "test/codegen/tile_kernel.h"

namespace lapidary {
namespace {

using testing::Tile;
using testing::tile_kernel;

void set_rate(benchmark::State& state, double flops_per_iteration) {
  state.counters["GFLOP/s"] = benchmark::Counter(flops_per_iteration * static_cast<double>(state.iterations()) * 1e-9,
                                                 benchmark::Counter::kIsRate);
}

void run_tile(benchmark::State& state, const char* target_name, Tile tile) {
  const Target target = codegen::resolve_target(target_name);
  const int64_t depth = state.range(0), tasks = 16;
  Program program;
  program.kernels = {tile_kernel(tile, depth)};
  const codegen::cpu::LoadedKernels kernels(program, target);
  const auto floats = [](int64_t count) {
    auto* data = static_cast<float*>(std::aligned_alloc(4096, static_cast<size_t>((count * 4 + 4095) / 4096 * 4096)));
    for (int64_t i = 0; i < count; i++) data[i] = static_cast<float>(i % 7) - 3;
    return data;
  };
  void* buffers[] = {floats(tasks * tile.rows * depth), floats(tile.panels * 16 * depth),
                     floats(tasks * tile.rows * tile.panels * 16)};
  const lpd_frame frame{buffers, nullptr};
  const lpd_kernel kernel = kernels[0];
  for (auto _ : state) kernel(&frame, 0, tasks, nullptr);
  set_rate(state, 2.0 * static_cast<double>(tasks * tile.rows * tile.panels * 16 * depth));
  for (void* buffer : buffers) std::free(buffer);
}

// Twelve independent chains of FMAs on registers: the peak. In one piece, so that no compiler moves them.
#define FOUR_FMAS(type, a, b, c, d)                                                              \
  "vfmadd231ps " type "12, " type "12, " type a "\n vfmadd231ps " type "12, " type "12, " type b \
  "\n"                                                                                           \
  "vfmadd231ps " type "12, " type "12, " type c "\n vfmadd231ps " type "12, " type "12, " type d "\n"
#define TWELVE_FMAS(type) \
  FOUR_FMAS(type, "0", "1", "2", "3") FOUR_FMAS(type, "4", "5", "6", "7") FOUR_FMAS(type, "8", "9", "10", "11")
#define TWELVE_REGISTERS \
  "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12"

void fma_chains_512(int64_t steps) {
  for (int64_t i = 0; i < steps; i++) asm volatile(TWELVE_FMAS("%%zmm") : : : TWELVE_REGISTERS);
}
void fma_chains_256(int64_t steps) {
  for (int64_t i = 0; i < steps; i++) asm volatile(TWELVE_FMAS("%%ymm") : : : TWELVE_REGISTERS);
}

void peak_512(benchmark::State& state) {
  for (auto _ : state) fma_chains_512(1000);
  set_rate(state, 2.0 * 16 * 12 * 1000);
}
void peak_256(benchmark::State& state) {
  for (auto _ : state) fma_chains_256(1000);
  set_rate(state, 2.0 * 8 * 12 * 1000);
}

}  // namespace
}  // namespace lapidary

int main(int argc, char** argv) {
  using namespace lapidary;
  benchmark::Initialize(&argc, argv);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")) {
    benchmark::RegisterBenchmark("peak/512", peak_512);
    for (int rows : {14, 13, 12, 8})
      benchmark::RegisterBenchmark(("native/" + std::to_string(rows) + "x32").c_str(),
                                   [rows](benchmark::State& state) {
                                     run_tile(state, "native", {rows, 2, 16});
                                   })
          ->Arg(256)
          ->Arg(512);
    benchmark::RegisterBenchmark("native/6x64", [](benchmark::State& state) {
      run_tile(state, "native", {6, 4, 16});
    })->Arg(256);
    benchmark::RegisterBenchmark("x86-64-v4/13x32", [](benchmark::State& state) {
      run_tile(state, "x86-64-v4", {13, 2, 16});
    })->Arg(256);
  }
  benchmark::RegisterBenchmark("peak/256", peak_256);
  benchmark::RegisterBenchmark("x86-64-v3/6x16", [](benchmark::State& state) {
    run_tile(state, "x86-64-v3", {6, 1, 8});
  })->Arg(256);
  benchmark::RegisterBenchmark("znver3/6x16", [](benchmark::State& state) {
    run_tile(state, "znver3", {6, 1, 8});
  })->Arg(256);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
