#include "tools/machine_peak.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

namespace lapidary::tools {

namespace {

double seconds(const std::chrono::steady_clock::time_point& start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

constexpr int kChains = 12, kSteps = 100'000, kTrials = 100;  // short trials: some are never interrupted

// Twelve independent chains of FMAs on registers, more than latency times ports on any core we know. All written out:
// a compiler left alone keeps an array of accumulators in memory.
// clang-format off
#define FMA_CHAIN(size, n) "vfmadd231ps %%" size "12, %%" size "13, %%" size #n "\n\t"
#define FMA_CHAINS(size)                                                                                \
  FMA_CHAIN(size, 0) FMA_CHAIN(size, 1) FMA_CHAIN(size, 2) FMA_CHAIN(size, 3) FMA_CHAIN(size, 4)        \
  FMA_CHAIN(size, 5) FMA_CHAIN(size, 6) FMA_CHAIN(size, 7) FMA_CHAIN(size, 8) FMA_CHAIN(size, 9)        \
  FMA_CHAIN(size, 10) FMA_CHAIN(size, 11)
#define FMA_LOOP(size)                                                                                  \
  int steps = kSteps;                                                                                   \
  __asm__ volatile("vzeroall\n1:\n\t" FMA_CHAINS(size) "dec %0\n\tjnz 1b\n\tvzeroupper"                \
                   : "+r"(steps)::"cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", \
                     "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15")
// clang-format on

void fma_avx512() { FMA_LOOP("zmm"); }
void fma_avx2() { FMA_LOOP("ymm"); }

double fma_rate() {
  const bool wide = __builtin_cpu_supports("avx512f");
  if (!wide && !(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))) return 0;
  double best = 0;
  for (int trial = 0; trial < kTrials; ++trial) {
    auto start = std::chrono::steady_clock::now();
    wide ? fma_avx512() : fma_avx2();
    best = std::max(best, 2.0 * kSteps * kChains * (wide ? 16 : 8) / seconds(start) * 1e-9);
  }
  return best;
}

uint64_t sum_of(const uint64_t* data, size_t count) {
  uint64_t sums[8] = {};
  for (size_t i = 0; i + 8 <= count; i += 8) {
    for (int k = 0; k < 8; ++k) sums[k] += data[i + k];
  }
  uint64_t total = 0;
  for (uint64_t sum : sums) total += sum;
  return total;
}

double read_rate(int threads) {
  constexpr size_t kBytes = size_t{128} << 20;  // beyond any last-level cache's share
  std::vector<uint64_t> data(kBytes / sizeof(uint64_t), 1);
  double best = 0;
  for (int trial = 0; trial < 8; ++trial) {
    auto start = std::chrono::steady_clock::now();
    std::vector<std::thread> team;
    std::vector<uint64_t> results(threads);
    size_t share = data.size() / threads;
    for (int t = 0; t < threads; ++t)
      team.emplace_back([&, t] { results[t] = sum_of(data.data() + t * share, share); });
    for (std::thread& thread : team) thread.join();
    best = std::max(best, static_cast<double>(kBytes) / seconds(start) * 1e-9);
  }
  return best;
}

}  // namespace

MachinePeak measure_peak(int threads) { return {fma_rate(), read_rate(std::max(1, threads))}; }

}  // namespace lapidary::tools
