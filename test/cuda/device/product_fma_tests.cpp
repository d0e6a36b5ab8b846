// product_fma: every type, orientation, width of chunks and way to shared memory, tiles large and small.
#include "test/cuda/device/product_checks.h"
//
#include "codegen/cuda/device/product_fma.h"

namespace {

constexpr bool K = true, LINE = false;
constexpr Way COPIED = Way::Copied, STRIDED = Way::Strided, PREPARED = Way::Prepared, CONVERTED = Way::Converted,
              COMPUTED = Way::Computed;

template <class T, class ACC, int ROWS, int COLUMNS, int DEPTH, int THREADS, int STAGES, class A, class B>
void test(const char* name, f64 epsilon, bool all) {
  typedef product_fma<T, ACC, ROWS, COLUMNS, DEPTH, THREADS, STAGES> product;
  check_sizes<product, ROWS, COLUMNS, DEPTH, THREADS, STAGES, ACC, A, B>(name, epsilon, all);
}

void test_f32(bool all) {
  typedef plain_codec<f32> codec;
  constexpr f64 e = 0x1p-24;
  test<f32, f32, 128, 128, 8, 256, 3, matrix<codec, 4, K, PREPARED>, matrix<codec, 4, LINE, STRIDED>>("f32 128x128", e,
                                                                                                      all);
  test<f32, f32, 64, 64, 16, 128, 2, matrix<codec, 4, LINE, STRIDED>, matrix<codec, 2, K, COPIED>>("f32 64x64", e, all);
  test<f32, f32, 32, 32, 16, 64, 4, matrix<codec, 1, K, STRIDED>, matrix<codec, 1, LINE, CONVERTED>>("f32 32x32", e,
                                                                                                     all);
  test<f32, f32, 16, 128, 16, 128, 3, matrix<codec, 4, K, COMPUTED>, matrix<codec, 2, LINE, COPIED>>("f32 16x128", e,
                                                                                                     all);
  test<f32, f32, 4, 64, 32, 32, 2, matrix<codec, 2, K, STRIDED>, matrix<codec, 4, LINE, CONVERTED>>("f32 4x64", e, all);
  test<f32, f32, 1, 256, 8, 128, 2, matrix<codec, 4, K, COPIED>, matrix<codec, 4, LINE, STRIDED>>("f32 1x256", e, all);
}

void test_f64(bool all) {
  typedef plain_codec<f64> codec;
  constexpr f64 e = 0x1p-53;
  test<f64, f64, 64, 64, 8, 256, 3, matrix<codec, 2, K, COPIED>, matrix<codec, 2, LINE, STRIDED>>("f64 64x64", e, all);
  test<f64, f64, 32, 64, 16, 64, 2, matrix<codec, 1, LINE, COPIED>, matrix<codec, 1, K, COMPUTED>>("f64 32x64", e, all);
}

template <class T>
void test_integers(const char* name, bool all) {
  typedef plain_codec<T> codec;
  constexpr int most = 16 / sizeof(T);
  test<T, T, 64, 64, 8, 128, 2, matrix<codec, most, K, STRIDED>, matrix<codec, most, LINE, COPIED>>(name, 0, all);
  test<T, T, 16, 32, 8, 64, 3, matrix<codec, 1, LINE, STRIDED>, matrix<codec, 1, K, CONVERTED>>(name, 0, all);
}

template <class TA, class TB>
void test_bytes(const char* name, bool all) {
  typedef plain_codec<TA> a;
  typedef plain_codec<TB> b;
  test<TA, i32, 64, 64, 32, 128, 3, matrix<a, 16, K, COPIED>, matrix<b, 4, K, STRIDED>>(name, 0, all);
  test<TA, i32, 32, 32, 16, 64, 2, matrix<a, 4, LINE, COPIED>, matrix<b, 2, K, STRIDED>>(name, 0, all);
  test<TA, i32, 16, 64, 8, 64, 4, matrix<a, 1, K, COMPUTED>, matrix<b, 8, LINE, CONVERTED>>(name, 0, all);
}

}  // namespace

// FEW: what finds the mistakes that device_tests.py plants, and compiles quickly.
int main(int argc, char**) {
  const bool all = argc > 1;
#ifdef FEW
  typedef plain_codec<f32> codec;
  test<f32, f32, 64, 64, 16, 128, 3, matrix<codec, 4, K, STRIDED>, matrix<codec, 2, LINE, PREPARED>>("f32", 0x1p-24,
                                                                                                     all);
  typedef plain_codec<i8> bytes;
  test<i8, i32, 32, 32, 16, 64, 2, matrix<bytes, 4, LINE, COPIED>, matrix<bytes, 2, K, CONVERTED>>("s8", 0, all);
#else
  test_f32(all);
  test_f64(all);
  test_integers<i32>("i32", all);
  test_integers<i64>("i64", all);
  test_bytes<i8, i8>("s8 s8", all);
  test_bytes<u8, i8>("u8 s8", all);
  test_bytes<i8, u8>("s8 u8", all);
  test_bytes<u8, u8>("u8 u8", all);
#endif
  return report();
}
