// load_run and store_run: every size of element and run, what lies around is not touched.
#include "test/cuda/device/checks.h"
#include "test/cuda/emulator.h"
//
#include "codegen/cuda/prelude.h"
//
#include "codegen/cuda/device/memory.h"

namespace {

template <class T, int N>
void test(const char* name) {
  alignas(64) T from[3 * N], to[3 * N];
  for (int i = 0; i < 3 * N; ++i) from[i] = T(i * 37 + 1), to[i] = T(99);
  const vec<T, N> run = load_run<N>(from + N);
  store_run(to + N, run);
  for (int i = 0; i < 3 * N; ++i) {
    const bool inside = i >= N && i < 2 * N;
    if (inside) check(run.v[i - N] == from[i], "%s %d: loads another element at %d", name, N, i - N);
    check(to[i] == (inside ? from[i] : T(99)), "%s %d: stores another element at %d", name, N, i - N);
  }
}

template <class T>
void test_sizes(const char* name) {
  test<T, 1>(name);
  test<T, 2>(name);
  test<T, 4>(name);
  test<T, 8>(name);
  test<T, 16>(name);
}

}  // namespace

int main() {
  test_sizes<u8>("u8");
  test_sizes<i8>("i8");
  test_sizes<u16>("u16");
  test_sizes<f32>("f32");
  test_sizes<i32>("i32");
  test_sizes<f64>("f64");
  test_sizes<i64>("i64");
  return report();
}
