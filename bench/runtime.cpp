// What the runtime itself costs: a barrier, a step of the walk, a run, a rebinding, an instance.
#include <benchmark/benchmark.h>

#include "test/runtime/hand_model.h"

namespace lapidary::test {
namespace {

// Steps that do nothing: what is left is the walk.
struct EmptySteps {
  HandModel hand;
  lpd_instance* instance = nullptr;
  std::vector<float> a, b;
  int64_t dims[2];

  EmptySteps(uint32_t steps, int64_t rows, int threads, bool barriers)
      : hand(steps), a(rows * 3), b(rows * 3), dims{rows, 3} {
    hand.kernels = {[](const lpd_frame*, int64_t, int64_t, void*) {}, [](const lpd_frame*, int64_t, int64_t, void*) {}};
    for (lpd_step& step : hand.steps) step.flags = barriers ? LPD_STEP_BARRIER_BEFORE : 0;
    hand.fill();
    lpd_options options{};
    options.size = sizeof options;
    options.threads = threads;
    lpd_create(&hand.model, &options, &instance);
    bind();
  }
  ~EmptySteps() { lpd_destroy(instance); }
  void bind() {
    const lpd_tensor ta = tensor(a, dims), tb = tensor(b, dims);
    lpd_bind(instance, 0, &ta);
    lpd_bind(instance, 1, &tb);
  }
};

constexpr uint32_t kSteps = 1000;

void run(benchmark::State& state, int threads, bool barriers) {
  EmptySteps model(kSteps, 8, threads, barriers);
  for (auto _ : state) lpd_run(model.instance, 0, nullptr);
  state.counters["per_step"] =
      benchmark::Counter(kSteps, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}
BENCHMARK_CAPTURE(run, steps_1_thread, 1, false);
BENCHMARK_CAPTURE(run, steps_2_threads, 2, false)->UseRealTime();
BENCHMARK_CAPTURE(run, barriers_2_threads, 2, true)->UseRealTime();

void run_alone(benchmark::State& state, int threads) {
  EmptySteps model(1, 8, threads, true);
  for (auto _ : state) lpd_run(model.instance, 0, nullptr);
}
BENCHMARK_CAPTURE(run_alone, 1_thread, 1);
BENCHMARK_CAPTURE(run_alone, 2_threads, 2)->UseRealTime();

void rebind_pointers(benchmark::State& state) {
  EmptySteps model(100, 8, 1, false);
  for (auto _ : state) {
    model.bind();
    lpd_run(model.instance, 0, nullptr);
  }
}
BENCHMARK(rebind_pointers);

void rebind_shapes(benchmark::State& state) {
  EmptySteps model(100, 8, 1, false);
  for (auto _ : state) {
    model.dims[0] = 15 - model.dims[0];
    model.bind();
    lpd_run(model.instance, 0, nullptr);
  }
}
BENCHMARK(rebind_shapes);

void create_and_first_run(benchmark::State& state, int threads) {
  for (auto _ : state) {
    EmptySteps model(100, 8, threads, true);
    lpd_run(model.instance, 0, nullptr);
  }
}
BENCHMARK_CAPTURE(create_and_first_run, 1_thread, 1);
BENCHMARK_CAPTURE(create_and_first_run, 2_threads, 2)->UseRealTime();

}  // namespace
}  // namespace lapidary::test

BENCHMARK_MAIN();
