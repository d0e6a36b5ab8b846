// reduce_threads: every group and block, type and operation; all threads of a group get the same bits.
#include <random>
#include <vector>

#include "test/cuda/device/checks.h"
#include "test/cuda/emulator.h"
//
#include "codegen/cuda/prelude.h"
//
#include "codegen/cuda/device/reduce.h"

namespace {

template <class T>
bool same_bits(T x, T y) {
  return std::memcmp(&x, &y, sizeof x) == 0;
}

// Within what rounding explains of the operation in long double; integers and extremes exactly.
struct sum_check {
  typedef sum op;
  static long double of(long double x, long double y) { return x + y; }
};
struct product_check {
  typedef product op;
  static long double of(long double x, long double y) { return x * y; }
};
struct least_check {
  typedef least op;
  static long double of(long double x, long double y) { return x < y ? x : y; }
};
struct most_check {
  typedef most op;
  static long double of(long double x, long double y) { return x > y ? x : y; }
};

template <class T>
T random_value(std::mt19937& random) {
  if constexpr (std::is_floating_point_v<T>) return T(std::uniform_real_distribution<f64>(0.75, 1.25)(random));
  return T(1 + random() % 2);  // products of up to 1024 of them wrap, alike in every order
}

template <class CHECK, int GROUP, int THREADS, class T>
void test(const char* name, unsigned order) {
  std::mt19937 random(GROUP + THREADS);
  std::vector<T> values(THREADS), results(THREADS), again(THREADS);
  for (T& value : values) value = random_value<T>(random);
  emulator::launch({1}, {THREADS}, THREADS / 32 * sizeof(T), order, [&] {
    DYNAMIC_SHARED(shared);
    T* const scratch = reinterpret_cast<T*>(shared);
    results[threadIdx.x] = reduce_threads<typename CHECK::op, GROUP, THREADS>(values[threadIdx.x], scratch);
    again[threadIdx.x] = reduce_threads<typename CHECK::op, GROUP, THREADS>(values[THREADS - 1 - threadIdx.x], scratch);
  });
  const char* error = emulator_error();
  check(!error, "%s %d of %d order %u: %s", name, GROUP, THREADS, order, error ? error : "");
  for (size_t first = 0; first < THREADS && !error; first += GROUP) {
    T exact = values[first];
    long double expected = exact;
    for (size_t i = first + 1; i < first + GROUP; ++i) {
      expected = CHECK::of(expected, values[i]);
      exact = CHECK::op::of(exact, values[i]);
    }
    const f64 bound = std::is_same_v<T, f32> ? 0x1p-24 : 0x1p-53;
    const bool right = std::is_integral_v<T> ? results[first] == exact
                                             : std::fabs(results[first] - expected) <=
                                                   2 * std::sqrt(f64(GROUP)) * bound * std::fabs(expected);
    check(right, "%s %d of %d order %u: got %.9g, expected %.9g", name, GROUP, THREADS, order, f64(results[first]),
          f64(expected));
    bool same = true;
    for (size_t i = first; i < first + GROUP; ++i) same &= same_bits(results[i], results[first]);
    check(same, "%s %d of %d order %u: threads disagree", name, GROUP, THREADS, order);
    const T mirrored = again[THREADS - 1 - first];  // of the same values
    check(std::is_integral_v<T> ? mirrored == exact
                                : std::fabs(f64(mirrored) - f64(results[first])) <= 1e-4 * std::fabs(f64(exact)),
          "%s %d of %d order %u: scratch used twice", name, GROUP, THREADS, order);
  }
}

template <class CHECK, class T>
void test_groups(const char* name, unsigned order) {
  test<CHECK, 16, 16, T>(name, order);
  test<CHECK, 64, 256, T>(name, order);
  test<CHECK, 1024, 1024, T>(name, order);
}
template <class T>
void test_type(const char* name, unsigned order) {
  test_groups<sum_check, T>(name, order);
  test_groups<product_check, T>(name, order);
  test_groups<least_check, T>(name, order);
  test_groups<most_check, T>(name, order);
}
void test_more_groups(unsigned order) {
  test<sum_check, 1, 32, f32>("f32", order);
  test<sum_check, 2, 64, f32>("f32", order);
  test<sum_check, 8, 96, f32>("f32", order);
  test<sum_check, 32, 128, f32>("f32", order);
  test<sum_check, 64, 64, f32>("f32", order);
  test<sum_check, 256, 512, f32>("f32", order);
}

// NaN in one thread is NaN in all; of zeros of both signs all threads have the same one.
template <int GROUP>
void test_extremes(unsigned order) {
  for (int at : {0, 1, GROUP / 2, GROUP - 1}) {
    std::vector<f32> nans(GROUP);
    std::vector<f64> zeros(GROUP);  // f32 has an instruction that puts -0 below
    emulator::launch({1}, {GROUP}, GROUP / 32 * 8, order, [&] {
      DYNAMIC_SHARED(shared);
      const bool here = int(threadIdx.x) == at;
      nans[threadIdx.x] =
          reduce_threads<most, GROUP, GROUP>(here ? NAN : f32(threadIdx.x), reinterpret_cast<f32*>(shared));
      zeros[threadIdx.x] = reduce_threads<least, GROUP, GROUP>(here ? -0.0 : 0.0, reinterpret_cast<f64*>(shared));
    });
    check(!emulator_error(), "extremes of %d", GROUP);
    for (f32 x : nans) check(std::isnan(x), "most of NaN at %d of %d is %g", at, GROUP, f64(x));
    for (f64 x : zeros) check(same_bits(x, zeros[0]), "least of zeros with -0 at %d of %d: signs differ", at, GROUP);
  }
}

// Several reductions at once.
void test_vec(unsigned order) {
  std::vector<f32> sums(128), most_of(128);
  emulator::launch({1}, {128}, 4 * sizeof(vec<f32, 2>), order, [&] {
    DYNAMIC_SHARED(shared);
    const f32 x = f32(threadIdx.x);
    const vec<f32, 2> pair = {{x, -x}};
    const vec<f32, 2> sum_of = reduce_threads<sum, 128, 128>(pair, reinterpret_cast<vec<f32, 2>*>(shared));
    const vec<f32, 2> most_of_pair = reduce_threads<most, 128, 128>(pair, reinterpret_cast<vec<f32, 2>*>(shared));
    sums[threadIdx.x] = sum_of.v[0] - sum_of.v[1];
    most_of[threadIdx.x] = most_of_pair.v[0] + most_of_pair.v[1];
  });
  check(!emulator_error(), "vec");
  for (size_t i = 0; i < 128; ++i)
    check(sums[i] == 2 * 127 * 64 && most_of[i] == 127, "vec at %zu: %g %g", i, f64(sums[i]), f64(most_of[i]));
}

}  // namespace

int main() {
  for (unsigned order : {0u, 1u, 7u}) {
    test_type<f32>("f32", order);
    test_more_groups(order);
#ifndef FEW  // what finds the mistakes that device_tests.py plants, and compiles quickly
    test_type<f64>("f64", order);
    test_type<i32>("i32", order);
    test_type<i64>("i64", order);
#endif
    test_extremes<32>(order);
    test_extremes<256>(order);
    test_vec(order);
  }
  return report();
}
