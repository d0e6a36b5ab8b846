// attend_fma: widths that are no powers of two, tiles large and small, every way to shared memory.
#include "test/cuda/device/attend_checks.h"
//
#include "codegen/cuda/device/product_fma.h"
//
#include "codegen/cuda/device/attend_fma.h"

namespace {

constexpr bool HEAD = false, SEQUENCE = true;  // along the columns of a head, or along positions
constexpr Way COPIED = Way::Copied, STRIDED = Way::Strided, COMPUTED = Way::Computed;

template <int ROWS, int KEYS, int WIDTH, int VALUES, int WARPS, int STAGES, class Q, class K, class V>
void test(const char* name, bool all) {
  typedef attend_fma<ROWS, KEYS, WIDTH, VALUES, WARPS, STAGES> attention;
  typedef by_blocks<attention, ROWS, 32 * WARPS> launch;
  check_attentions<launch, ROWS, KEYS, WIDTH, VALUES, Q, K, V>(name, {0x1p-24, 0x1p-22}, all);
}

}  // namespace

int main(int argc, char**) {
  const bool all = argc > 1;
  typedef plain_codec<f32> codec;
  test<16, 32, 20, 32, 2, 2, matrix<codec, 4, HEAD, STRIDED>, matrix<codec, 4, HEAD, STRIDED>,
       matrix<codec, 2, HEAD, COPIED>>("16x32", all);
#ifndef FEW
  test<64, 64, 64, 64, 4, 2, matrix<codec, 4, HEAD, COPIED>, matrix<codec, 4, HEAD, COPIED>,
       matrix<codec, 4, HEAD, STRIDED>>("64x64", all);
  test<8, 16, 32, 96, 1, 3, matrix<codec, 1, SEQUENCE, COMPUTED>, matrix<codec, 4, SEQUENCE, COPIED>,
       matrix<codec, 1, HEAD, COMPUTED>>("8x16", all);
#endif
  return report();
}
