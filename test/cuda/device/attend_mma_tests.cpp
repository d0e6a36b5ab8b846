// attend_mma: every type, widths that are no powers of two, operands along the head and along the sequence.
#include "test/cuda/device/attend_checks.h"
//
#include "codegen/cuda/device/atoms.h"
//
#include "codegen/cuda/device/product_mma.h"
//
#include "codegen/cuda/device/attend_tensor.h"
//
#include "codegen/cuda/device/attend_mma.h"

namespace {

constexpr bool HEAD = false, SEQUENCE = true;  // along the columns of a head, or along positions
constexpr Way COPIED = Way::Copied, STRIDED = Way::Strided, COMPUTED = Way::Computed;

template <class ATOM, int KEYS, int WIDTH, int VALUES, int WARPS, int STAGES, class Q, class K, class V>
void test(const char* name, exactness exact, bool all) {
  typedef attend_mma<ATOM, 16 * WARPS, KEYS, WIDTH, VALUES, WARPS, STAGES> attention;
  typedef by_blocks<attention, 16 * WARPS, 32 * WARPS> launch;
  check_attentions<launch, 16 * WARPS, KEYS, WIDTH, VALUES, Q, K, V>(name, exact, all);
}

template <class CODEC, class ATOM>
void test_16_bits(const char* name, exactness exact, bool all) {
  test<ATOM, 64, 64, 64, 4, 2, matrix<CODEC, 8, HEAD, STRIDED>, matrix<CODEC, 8, HEAD, STRIDED>,
       matrix<CODEC, 8, HEAD, STRIDED>>(name, exact, all);
#ifndef FEW
  test<ATOM, 32, 80, 48, 2, 3, matrix<CODEC, 1, HEAD, COPIED>, matrix<CODEC, 4, HEAD, COPIED>,
       matrix<CODEC, 2, HEAD, COMPUTED>>(name, exact, all);
  test<ATOM, 16, 32, 16, 1, 2, matrix<CODEC, 4, SEQUENCE, COPIED>, matrix<CODEC, 8, SEQUENCE, STRIDED>,
       matrix<CODEC, 8, SEQUENCE, COPIED>>(name, exact, all);
#endif
}

template <class ATOM>
void test_f32(const char* name, exactness exact, bool all) {
  typedef plain_codec<f32> codec;
  test<ATOM, 32, 32, 32, 2, 2, matrix<codec, 4, HEAD, STRIDED>, matrix<codec, 4, HEAD, STRIDED>,
       matrix<codec, 4, HEAD, STRIDED>>(name, exact, all);
#ifndef FEW
  test<ATOM, 16, 24, 48, 3, 3, matrix<codec, 1, SEQUENCE, COMPUTED>, matrix<codec, 2, SEQUENCE, COPIED>,
       matrix<codec, 4, SEQUENCE, COPIED>>(name, exact, all);
#endif
}

}  // namespace

int main(int argc, char**) {
  const bool all = argc > 1;
  test_16_bits<f16_codec, atom_f16>("f16", {0x1p-24, 0x1p-11}, all);
  test_f32<atom_tf32>("tf32", {0x1p-11, 0x1p-10}, all);
#ifndef FEW
  test_16_bits<bf16_codec, atom_bf16>("bf16", {0x1p-24, 0x1p-8}, all);
  test_f32<atom_3xtf32>("3xtf32", {0x1p-22, 0x1p-21}, all);
#endif
  return report();
}
