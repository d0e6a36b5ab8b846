// product_mma: every atom, orientation, width of chunks and way to shared memory.
#include "test/cuda/device/product_checks.h"
//
#include "codegen/cuda/device/atoms.h"
//
#include "codegen/cuda/device/product_mma.h"

namespace {

constexpr f64 kF32 = 0x1p-24, kTf32 = 0x1p-11, k3xTf32 = 0x1p-22;

template <class ATOM, int ROWS, int COLUMNS, int DEPTH, int WARPS_M, int WARPS_N, int STAGES, class A, class B>
void test(const char* name, f64 epsilon, bool all) {
  typedef product_mma<ATOM, ROWS, COLUMNS, DEPTH, WARPS_M, WARPS_N, STAGES> product;
  check_sizes<product, ROWS, COLUMNS, DEPTH, product::threads, STAGES, typename product::accumulator, A, B>(
      name, epsilon, all);
}

constexpr bool K = true, LINE = false;
constexpr Way COPIED = Way::Copied, STRIDED = Way::Strided, PREPARED = Way::Prepared, CONVERTED = Way::Converted,
              COMPUTED = Way::Computed;

template <class CODEC, class ATOM>
void test_16_bits(const char* name, bool all) {
  test<ATOM, 64, 64, 32, 2, 2, 3, matrix<CODEC, 8, K, PREPARED>, matrix<CODEC, 8, LINE, STRIDED>>(name, kF32, all);
  test<ATOM, 32, 64, 16, 1, 2, 2, matrix<CODEC, 2, LINE, PREPARED>, matrix<CODEC, 4, K, COPIED>>(name, kF32, all);
  test<ATOM, 64, 32, 64, 2, 1, 4, matrix<CODEC, 1, K, STRIDED>, matrix<CODEC, 1, LINE, CONVERTED>>(name, kF32, all);
  test<ATOM, 16, 24, 32, 1, 3, 2, matrix<CODEC, 8, K, COMPUTED>, matrix<CODEC, 4, LINE, COPIED>>(name, kF32, all);
  test<ATOM, 96, 48, 32, 3, 1, 2, matrix<CODEC, 4, LINE, CONVERTED>, matrix<CODEC, 8, LINE, STRIDED>>(name, kF32, all);
}

template <class ATOM>
void test_f32(const char* name, f64 epsilon, bool all) {
  typedef plain_codec<f32> codec;
  test<ATOM, 64, 64, 16, 2, 2, 3, matrix<codec, 4, K, COPIED>, matrix<codec, 4, LINE, STRIDED>>(name, epsilon, all);
  test<ATOM, 32, 32, 32, 1, 2, 2, matrix<codec, 2, LINE, COPIED>, matrix<codec, 1, K, STRIDED>>(name, epsilon, all);
  test<ATOM, 16, 24, 8, 1, 1, 4, matrix<codec, 1, K, COMPUTED>, matrix<codec, 4, LINE, CONVERTED>>(name, epsilon, all);
  test<ATOM, 48, 16, 16, 3, 2, 3, matrix<codec, 4, LINE, COMPUTED>, matrix<codec, 2, K, CONVERTED>>(name, epsilon, all);
}

template <class TA, class TB, class ATOM>
void test_8_bits(const char* name, bool all) {
  typedef plain_codec<TA> a;
  typedef plain_codec<TB> b;
  test<ATOM, 64, 64, 64, 2, 2, 3, matrix<a, 16, K, COPIED>, matrix<b, 16, K, STRIDED>>(name, 0, all);
  test<ATOM, 32, 32, 32, 2, 1, 2, matrix<a, 4, K, COPIED>, matrix<b, 8, LINE, PREPARED>>(name, 0, all);
  test<ATOM, 16, 24, 32, 1, 1, 4, matrix<a, 1, LINE, COMPUTED>, matrix<b, 2, K, COPIED>>(name, 0, all);
}

// Infinity, NaN and the largest number in one row each: they come out as they would of f32, and touch no other row.
template <class ATOM>
void test_extremes(const char* name) {
  typedef product_mma<ATOM, 16, 8, 8, 1, 1, 2> product;
  std::vector<f32> a(16 * 8, 1), b(8 * 8, 1.5f), c(16 * 8);
  a[0 * 8 + 3] = INFINITY;
  a[1 * 8 + 7] = NAN;
  a[2 * 8 + 0] = -INFINITY;
  a[3 * 8 + 0] = 3.4028234e38f, b[0] = 0.25f;
  emulator::launch({1}, {32}, product::shared_bytes, 0, [&] {
    DYNAMIC_SHARED(shared);
    f32 acc[product::elements] = {};
    product::accumulate(acc, shared, 0, 8, strided<f32, 4, true>(a.data(), 8, 16),
                        strided<f32, 4, true>(b.data(), 8, 8));
    for (int e = 0; e < product::elements; ++e)
      c[size_t(product::row_of(threadIdx.x, e) * 8 + product::column_of(threadIdx.x, e))] = acc[e];
  });
  check(!emulator_error(), "%s with extremes", name);
  for (size_t j = 0; j < 8; ++j) {
    check(c[0 * 8 + j] == INFINITY, "%s: infinity in a row gives %g", name, f64(c[j]));
    check(std::isnan(c[1 * 8 + j]), "%s: NaN in a row gives %g", name, f64(c[8 + j]));
    check(c[2 * 8 + j] == -INFINITY, "%s: -infinity in a row gives %g", name, f64(c[16 + j]));
    check(c[4 * 8 + j] == (j ? 12.0f : 10.75f), "%s: a row of ones gives %g", name, f64(c[32 + j]));
  }
  check(std::fabs(c[3 * 8] - 8.507e37f) < 1e35f, "%s: a quarter of the largest number is %g", name, f64(c[24]));
}

}  // namespace

// FEW: what finds the mistakes that device_tests.py plants, and compiles quickly.
int main(int argc, char**) {
  const bool all = argc > 1;
#ifdef FEW
  test<atom_f16, 128, 64, 32, 2, 2, 2, matrix<f16_codec, 8, K, CONVERTED>, matrix<f16_codec, 8, LINE, STRIDED>>(
      "f16", kF32, all);
  typedef plain_codec<f32> codec;
  test<atom_3xtf32, 16, 24, 16, 1, 3, 4, matrix<codec, 4, LINE, COPIED>, matrix<codec, 1, K, PREPARED>>("3xtf32",
                                                                                                        k3xTf32, all);
  test_extremes<atom_3xtf32>("3xtf32");
#else
  test_extremes<atom_tf32>("tf32");
  test_extremes<atom_3xtf32>("3xtf32");
  test_16_bits<f16_codec, atom_f16>("f16", all);
  test_16_bits<bf16_codec, atom_bf16>("bf16", all);
  test_f32<atom_tf32>("tf32", kTf32, all);
  test_f32<atom_3xtf32>("3xtf32", k3xTf32, all);
  test_8_bits<i8, i8, atom_s8_s8>("s8 s8", all);
  test_8_bits<i8, u8, atom_s8_u8>("s8 u8", all);
  test_8_bits<u8, i8, atom_u8_s8>("u8 s8", all);
  test_8_bits<u8, u8, atom_u8_u8>("u8 u8", all);
#endif
  return report();
}
