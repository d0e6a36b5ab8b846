// attend_wgmma: both types, widths of the queries and of the values, one and several tiles a block, operands along the
// head and along the sequence, mapped, copied and computed.
#include "test/cuda/device/mapped_matrix.h"
//
#include "test/cuda/device/attend_checks.h"
//
#include "codegen/cuda/device/attend_tensor.h"
//
#include "codegen/cuda/device/attend_wgmma.h"

namespace {

constexpr bool HEAD = false, SEQUENCE = true;  // along the columns of a head, or along positions
constexpr Way COPIED = Way::Copied, STRIDED = Way::Strided, COMPUTED = Way::Computed;

// A few blocks take all tiles of queries.
template <class ATTENTION, int KEYS, int WIDTH, int VALUES, unsigned BLOCKS>
struct by_warpgroups {
  template <class Q, class K, class V>
  static void run(const attend_case& the, const Q& q, const K& k, const V& v, unsigned order, attended& found) {
    for (const char* broken : {encode(q, WIDTH, ATTENTION::rows), encode(k, WIDTH, KEYS), encode(v, VALUES, KEYS)})
      if (broken) return check(false, "tensor map: %s", broken);
    const i64 tiles = (the.queries + ATTENTION::rows - 1) / ATTENTION::rows;
    emulator::launch({BLOCKS}, {unsigned(ATTENTION::threads)}, ATTENTION::shared_bytes, order, [&] {
      DYNAMIC_SHARED(shared);
      const auto run_with = [&](const auto& score_of_tile) {
        ATTENTION::run(
            shared, tiles,
            [&](i64 tile) {
              return ATTENTION::tile(q.positions(tile * ATTENTION::rows), k.operand(0), v.operand(0),
                                     score_of_tile(tile * ATTENTION::rows), the.key_begin, the.keys);
            },
            [&](i64 tile, int thread, const typename ATTENTION::results& acc) {
              typedef columns_of_lane<2 * ATTENTION::elements> columns;
              const i64 first = tile * ATTENTION::rows + thread / 32 * 16;
              for (int e = 0; e < ATTENTION::elements; ++e)
                found.result(first + columns::row_of(thread % 32, e), columns::column_of(thread % 32, e), acc[e]);
              for (int i = 0; i < 2; ++i) found.log_sum(first + thread % 32 / 4 + 8 * i, acc[ATTENTION::elements + i]);
            });
      };
      with_score(found, run_with);
    });
  }
};

template <class ATOM, int KEYS, int WIDTH, int VALUES, int STAGES, class Q, class K, class V, unsigned BLOCKS = 1>
void test(const char* name, exactness exact, bool all) {
  typedef attend_wgmma<ATOM, KEYS, WIDTH, VALUES, STAGES> attention;
  check_attentions<by_warpgroups<attention, KEYS, WIDTH, VALUES, BLOCKS>, attention::rows, KEYS, WIDTH, VALUES, Q, K,
                   V>(name, exact, all);
}

constexpr exactness kF16 = {0x1p-24, 0x1p-11}, kBf16 = {0x1p-24, 0x1p-8};

}  // namespace

int main(int argc, char**) {
  const bool all = argc > 1;
  typedef matrix<f16_codec, 8, HEAD, STRIDED> rows;
  test<atom_f16, 128, 64, 64, 4, rows, rows, rows>("f16", kF16, all);
  typedef mapped_matrix<f16_codec, HEAD> map_f16;
  test<atom_f16, 64, 64, 64, 3, map_f16, map_f16, map_f16>("mapped", kF16, all);
  test<atom_f16, 64, 64, 64, 3, rows, map_f16, rows>("mapped keys", kF16, all);
#ifndef FEW
  typedef mapped_matrix<bf16_codec, HEAD> map_bf16;
  typedef mapped_matrix<f16_codec, SEQUENCE> turned_f16;
  test<atom_bf16, 64, 128, 64, 4, map_bf16, map_bf16, map_bf16, 2>("mapped bf16, two blocks", kBf16, all);
  test<atom_f16, 128, 64, 128, 5, turned_f16, turned_f16, turned_f16>("mapped sequence", kF16, all);
  test<atom_f16, 64, 64, 64, 3, map_f16, rows, map_f16, 2>("copied keys", kF16, all);
  typedef matrix<bf16_codec, 8, HEAD, STRIDED> rows_bf16;
  test<atom_bf16, 64, 128, 128, 3, rows_bf16, rows_bf16, rows_bf16, 2>("bf16, two blocks", kBf16, all);
  test<atom_f16, 64, 64, 128, 5, matrix<f16_codec, 1, HEAD, COPIED>, matrix<f16_codec, 4, HEAD, COPIED>,
       matrix<f16_codec, 2, HEAD, COMPUTED>>("small chunks", kF16, all);
  test<atom_f16, 64, 128, 64, 4, matrix<f16_codec, 4, SEQUENCE, COPIED>, matrix<f16_codec, 8, SEQUENCE, STRIDED>,
       matrix<f16_codec, 8, SEQUENCE, COPIED>>("sequence", kF16, all);
#endif
  return report();
}
