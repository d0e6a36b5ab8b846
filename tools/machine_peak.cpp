#include "tools/machine_peak.h"

#include <immintrin.h>

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

constexpr int kAccumulators = 12, kSteps = 20'000'000 / kAccumulators;

// Twelve independent chains: more than latency times ports on any core we know.
__attribute__((target("avx512f"))) float fma_avx512() {
  __m512 acc[kAccumulators], a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(1e-6f);
  for (__m512& x : acc) x = b;
  for (int i = 0; i < kSteps; ++i) {
    for (__m512& x : acc) x = _mm512_fmadd_ps(x, a, b);
    __asm__ volatile("" ::: "memory");
  }
  __m512 sum = acc[0];
  for (int i = 1; i < kAccumulators; ++i) sum = _mm512_add_ps(sum, acc[i]);
  alignas(64) float lanes[16];
  _mm512_store_ps(lanes, sum);
  return lanes[0];
}

__attribute__((target("avx2,fma"))) float fma_avx2() {
  __m256 acc[kAccumulators], a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(1e-6f);
  for (__m256& x : acc) x = b;
  for (int i = 0; i < kSteps; ++i) {
    for (__m256& x : acc) x = _mm256_fmadd_ps(x, a, b);
    __asm__ volatile("" ::: "memory");
  }
  __m256 sum = acc[0];
  for (int i = 1; i < kAccumulators; ++i) sum = _mm256_add_ps(sum, acc[i]);
  alignas(32) float lanes[8];
  _mm256_store_ps(lanes, sum);
  return lanes[0];
}

double fma_rate() {
  bool wide = __builtin_cpu_supports("avx512f");
  if (!wide && !(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))) return 0;
  double best = 0;
  for (int trial = 0; trial < 5; ++trial) {
    auto start = std::chrono::steady_clock::now();
    volatile float sink = wide ? fma_avx512() : fma_avx2();
    (void)sink;
    best = std::max(best, 2.0 * kSteps * kAccumulators * (wide ? 16 : 8) / seconds(start) * 1e-9);
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
  constexpr size_t kBytes = size_t{128} << 20;   // beyond any last-level cache's share
  std::vector<uint64_t> data(kBytes / sizeof(uint64_t), 1);
  double best = 0;
  for (int trial = 0; trial < 3; ++trial) {
    auto start = std::chrono::steady_clock::now();
    std::vector<std::thread> team;
    std::vector<uint64_t> results(threads);
    size_t share = data.size() / threads;
    for (int t = 0; t < threads; ++t) team.emplace_back([&, t] { results[t] = sum_of(data.data() + t * share, share); });
    for (std::thread& thread : team) thread.join();
    best = std::max(best, static_cast<double>(kBytes) / seconds(start) * 1e-9);
  }
  return best;
}

}  // namespace

MachinePeak measure_peak(int threads) { return {fma_rate(), read_rate(std::max(1, threads))}; }

}  // namespace lapidary::tools
