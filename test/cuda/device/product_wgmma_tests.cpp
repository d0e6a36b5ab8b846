// product_wgmma: every atom, orientation and way to bring an operand; tiles shared by rows, by columns and in turns;
// sizes at the edges of a tile, depths at the edges of the ring, several tiles a block, batches.
#include "test/cuda/device/product_wgmma_checks.h"

namespace {

#ifdef FEW
// By these every mistake of mistakes.py is found.
void test_few() {
  test<atom_f16, 128, 128, 64, 3, 2, map_f16, lines_f16>("mapped", kF32, {200, 136, 300, 2});
  test<atom_f16, 64, 64, 64, 3, 1, matrix<f16_codec, 8, K, STRIDED>, map_f16>("copied", kF32, {64, 129, 504});
  test<atom_f16, 64, 64, 64, 3, 2, matrix<f16_codec, 1, K, COPIED>, map_f16, true>("turns", kF32, {65, 129, 300});
  test<atom_f16, 64, 64, 64, 3, 2, matrix<f16_codec, 1, K, COPIED>, matrix<f16_codec, 1, K, COPIED>, true>(
      "turns without steps", kF32, {65, 129, 0});
  test<atom_f16, 64, 64, 64, 2, 1, matrix<f16_codec, 8, K, COPIED>, map_f16>("one step", kF32, {64, 64, 64});
  check_stores<128, 192, 2, 2, u16>("stores", {130, 200, 64});
  check_stores<128, 256, 2, 2, u16, false, f16_codec>("residual", {300, 264, 200});
  check_stores<64, 128, 2, 2, u16, true, f16_codec, matrix<f16_codec, 8, K, COPIED>>("residual in turns",
                                                                                     {300, 136, 64});
  check_stores<128, 128, 2, 2, u16, false, plain_codec<f32>>("residual of f32", {300, 136, 72});
  check_rows<128, 128, 2, 2, u16, true>("rows between words", {140, 200, 64});
  check_rows<128, 128, 2, 2, f32>("rows of f32", {130, 140, 64});
}
#else

template <class T>
using map_of = mapped_matrix<plain_codec<T>, K>;

void test_mapped() {
  typedef mapped_matrix<bf16_codec, LINE> lines_bf16;
  test<atom_f16, 128, 128, 64, 3, 2, map_f16, lines_f16>("f16", kF32, {200, 136, 300, 2});
  test<atom_f16, 128, 128, 64, 3, 2, lines_f16, map_f16>("f16, lines of a", kF32, {200, 136, 300, 3});
  test<atom_bf16, 128, 256, 64, 2, 2, lines_bf16, lines_bf16>("bf16", kF32, {130, 300, 200, 2});
  test<atom_f16, 64, 64, 128, 2, 1, map_f16, lines_f16>("f16, two panels of k", kF32, {65, 63, 520, 1});
  test<atom_tf32, 128, 128, 32, 3, 2, map_of<f32>, map_of<f32>>("tf32", kTf32, {130, 140, 150, 2});
  test<atom_s8_s8, 64, 128, 128, 2, 1, map_of<i8>, map_of<i8>>("s8 s8", 0, {100, 144, 600, 1});
  test<atom_u8_s8, 64, 32, 128, 3, 1, map_of<u8>, map_of<i8>>("u8 s8", 0, {64, 33, 129, 1});
  test<atom_s8_u8, 64, 16, 128, 3, 1, map_of<i8>, map_of<u8>>("s8 u8", 0, {63, 17, 128, 1});
  test<atom_u8_u8, 64, 8, 128, 3, 1, map_of<u8>, map_of<u8>>("u8 u8", 0, {1, 8, 1000, 1});
}

void test_sharing() {
  typedef mapped_matrix<bf16_codec, K> map_bf16;
  test<atom_f16, 64, 256, 64, 3, 2, map_f16, lines_f16>("two by columns", kF32, {70, 260, 200});
  test<atom_f16, 256, 64, 64, 2, 2, lines_f16, map_f16>("two blocks each", kF32, {300, 65, 200});
  test<atom_f16, 192, 96, 64, 2, 3, map_f16, map_f16>("three by rows", kF32, {200, 100, 100, 2});
  test<atom_bf16, 64, 192, 64, 2, 1, map_bf16, map_bf16>("one", kF32, {65, 193, 64, 3});
  test<atom_f16, 64, 128, 64, 4, 2, map_f16, map_f16, true>("turns", kF32, {200, 260, 100, 2});
  test<atom_f16, 64, 128, 64, 4, 2, map_f16, map_f16, true>("turns of one step", kF32, {640, 640, 64, 2});
  test<atom_f16, 128, 64, 64, 3, 2, map_f16, lines_f16, true>("turns, one tile", kF32, {100, 64, 500});
  test<atom_f16, 64, 64, 64, 2, 3, map_f16, map_f16, true>("three turns", kF32, {64, 1000, 65, 2});
}

void test_moved() {
  typedef plain_codec<f32> f;
  test<atom_f16, 128, 128, 64, 3, 2, matrix<f16_codec, 8, K, COPIED>, map_f16>("copied a", kF32, {200, 136, 304, 2});
  test<atom_f16, 128, 128, 64, 4, 2, map_f16, matrix<f16_codec, 8, LINE, COPIED>>("copied b", kF32, {200, 136, 304});
  test<atom_bf16, 64, 128, 64, 2, 1, matrix<bf16_codec, 8, LINE, COPIED>, matrix<bf16_codec, 8, K, COPIED>>(
      "copied, two slots", kF32, {72, 129, 400, 2});
  test<atom_f16, 64, 64, 64, 5, 1, matrix<f16_codec, 2, K, COPIED>, matrix<f16_codec, 4, LINE, COPIED>>(
      "small chunks", kF32, {70, 72, 402, 2});
  test<atom_f16, 64, 32, 64, 3, 1, matrix<f16_codec, 1, K, COPIED>, matrix<f16_codec, 8, LINE, COPIED>>(
      "too narrow for a panel", kF32, {65, 40, 131});
  test<atom_f16, 64, 64, 64, 3, 2, matrix<f16_codec, 1, LINE, COPIED>, matrix<f16_codec, 2, K, COMPUTED>, true>(
      "computed", kF32, {65, 70, 250, 2});
  test<atom_tf32, 64, 64, 32, 3, 1, matrix<f, 4, LINE, COPIED>, matrix<f, 1, K, COPIED>>("tf32", kCutTf32,
                                                                                         {68, 66, 99});
  test<atom_tf32, 128, 128, 32, 3, 2, matrix<f, 4, LINE, COPIED>, matrix<f, 4, LINE, COPIED>>("tf32 turned", kCutTf32,
                                                                                              {132, 136, 99});
  test<atom_tf32, 64, 96, 32, 4, 1, matrix<f, 2, K, COPIED>, matrix<f, 4, LINE, CONVERTED>>("tf32 computed", kCutTf32,
                                                                                            {66, 100, 130, 2});
  test<atom_s8_s8, 64, 64, 128, 3, 1, matrix<plain_codec<i8>, 16, K, COPIED>,
       matrix<plain_codec<i8>, 16, LINE, COPIED>>("s8 s8 copied", 0, {65, 80, 560});
  test<atom_u8_s8, 64, 64, 128, 3, 1, matrix<plain_codec<u8>, 1, K, COPIED>, matrix<plain_codec<i8>, 4, K, COMPUTED>>(
      "u8 s8 computed", 0, {33, 70, 516});
}

void test_sizes() {
  typedef matrix<f16_codec, 1, K, COPIED> copied_f16;
  for (i64 depth : {0, 1, 63, 64, 65, 192, 193, 500}) {
    test<atom_f16, 64, 64, 64, 3, 1, copied_f16, copied_f16>("copied", kF32, {64, 64, depth});
    test<atom_f16, 64, 64, 64, 3, 2, copied_f16, copied_f16, true>("copied in turns", kF32, {65, 129, depth});
    if (depth) test<atom_f16, 64, 64, 64, 3, 1, map_f16, map_f16>("mapped", kF32, {65, 129, depth});
  }
  for (i64 edge : {1, 2, 63, 64, 65, 127, 128}) {
    test<atom_f16, 64, 64, 64, 3, 1, map_f16, lines_f16>("rows", kF32, {edge, 64, 100});
    test<atom_f16, 64, 64, 64, 3, 1, map_f16, lines_f16>("columns", kF32, {64, edge, 100, 2});
  }
  test<atom_f16, 64, 64, 64, 3, 1, map_f16, map_f16>("parts of k", kF32, {100, 70, 450, 2, 3});
  test<atom_f16, 64, 64, 64, 3, 1, map_f16, map_f16>("more parts than steps", kF32, {64, 64, 100, 1, 4});
  test<atom_f16, 64, 64, 64, 3, 1, copied_f16, copied_f16>("more blocks than tiles", kF32, {65, 64, 100, 4});
  test<atom_f16, 64, 64, 64, 3, 1, copied_f16, copied_f16>("no tile", kF32, {0, 64, 100});
}

// Batches [z, y] of a, by a map of four dimensions, times those [y] of b, by one of three; called as the driver would.
typedef product_wgmma<atom_f16, 64, 64, 64, 3, 1> batch_product;

extern "C" __global__ void __launch_bounds__(batch_product::threads)
    batched(const __grid_constant__ tensor_map a, const __grid_constant__ tensor_map b, f32* c, i64 m, i64 n, i64 depth,
            i64 y, i64 z) {
  DYNAMIC_SHARED(shared);
  const i64 down = (m + 63) / 64, across = (n + 63) / 64;
  batch_product::run(
      shared, down * across * y * z,
      [&](i64 tile) {
        const i64 batch = tile / (down * across), row = tile / across % down * 64, column = tile % across * 64;
        return batch_product::tile(mapped<u16, K>(&a, row, batch % y, batch / y),
                                   mapped<u16, LINE>(&b, column, batch % y), 0, depth);
      },
      [&](i64 tile, int thread, const batch_product::results& acc) {
        const i64 batch = tile / (down * across), row = tile / across % down * 64, column = tile % across * 64;
        for (int e = 0; e < batch_product::elements; ++e) {
          const i64 i = row + batch_product::row_of(thread, e), j = column + batch_product::column_of(thread, e);
          if (i < m && j < n) c[(batch * m + i) * n + j] = acc[e];
        }
      });
}
EMULATED_KERNEL(batched)

void test_batches() {
  const i64 m = 70, n = 40, depth = 200, y = 2, z = 3;
  std::mt19937 random(1);
  mapped_matrix<f16_codec, K> a(m * y * z, depth, random);
  mapped_matrix<f16_codec, LINE> b(n, depth * y, random);
  const uint64_t a_extents[] = {uint64_t(depth), m, y, z}, b_extents[] = {n, uint64_t(depth), y};
  const uint64_t a_pitch = uint64_t(a.pitch) * 2, b_pitch = uint64_t(b.pitch) * 2;
  const uint64_t a_strides[] = {a_pitch, a_pitch * m, a_pitch * m * y}, b_strides[] = {b_pitch, b_pitch * depth};
  const u32 box[] = {64, 64, 1, 1}, ones[] = {1, 1, 1, 1};
  check(!encode_tensor_map(&a.map.map, 6, 4, a.first, a_extents, a_strides, box, ones, 0, 3, 0), "map of a");
  check(!encode_tensor_map(&b.map.map, 6, 3, b.first, b_extents, b_strides, box, ones, 0, 3, 0), "map of b");
  std::vector<f32> c(size_t(m * n * y * z), NAN);
  f32* to = c.data();
  i64 sizes[] = {m, n, depth, y, z};
  void* parameters[] = {&a.map, &b.map, &to, &sizes[0], &sizes[1], &sizes[2], &sizes[3], &sizes[4]};
  const unsigned grid[] = {2, 1, 1}, block[] = {unsigned(batch_product::threads), 1, 1};
  emulated_batched(grid, block, batch_product::shared_bytes, 7, parameters);
  const char* error = emulator_error();
  check(!error, "batches: %s", error ? error : "");
  i64 wrong = 0;
  for (i64 batch = 0; batch < y * z; ++batch)
    for (i64 i = 0; i < m; ++i)
      for (i64 j = 0; j < n; ++j) {
        f64 sum = 0, magnitude = 0;
        for (i64 k = 0; k < depth; ++k) {
          const f64 term = f64(a.value(batch * m + i, k)) * b.value(j, batch % y * depth + k);
          sum += term, magnitude += std::fabs(term);
        }
        wrong += !(std::fabs(c[size_t((batch * m + i) * n + j)] - sum) <= 2 * std::sqrt(f64(depth)) * kF32 * magnitude);
      }
  check(wrong == 0, "batches: %lld elements wrong", wrong);
}

// A convolution of images [images, y, x, channels] with weights [out, 3, 3, channels], padded by 1: a row of a is a
// pixel under the window, in chunks of 8 channels, zeros beyond the border.
struct pixel {
  i64 at, y, x;
};
void test_convolution() {
  const i64 images = 2, height = 9, width = 7, channels = 24, out = 40, pixels = height * width, depth = 9 * channels;
  typedef product_wgmma<atom_f16, 64, 64, 64, 3, 1> product;
  std::mt19937 random(1);
  const matrix<f16_codec, 8, K, STRIDED> image(images * pixels, channels, random);
  mapped_matrix<f16_codec, K> weights(out, depth, random);
  check(!weights.encode(64, 64), "map of weights");
  std::vector<f32> c(size_t(images * pixels * out), NAN);
  const i64 tiles = (images * pixels + 63) / 64;
  emulator::launch({2}, {unsigned(product::threads)}, size_t(product::shared_bytes), 7, [&] {
    DYNAMIC_SHARED(shared);
    product::run(
        shared, tiles,
        [&](i64 tile) {
          return product::tile(prepared<u16, 8, K>(
                                   [&, tile](i64 line) {
                                     const i64 at = tile * 64 + line;
                                     return pixel{at, at < images * pixels ? at / width % height : -2, at % width};
                                   },
                                   [&](const pixel& under, i64 /*line*/, i64 k) {
                                     const i64 down = k / (3 * channels) - 1, right = k / channels % 3 - 1;
                                     const bool inside = under.y + down >= 0 && under.y + down < height &&
                                                         under.x + right >= 0 && under.x + right < width;
                                     return source<u16>{
                                         image.first + image.index(under.at + down * width + right, k % channels),
                                         inside};
                                   }),
                               weights.operand(0), 0, depth);
        },
        [&](i64 tile, int thread, const product::results& acc) {
          for (int e = 0; e < product::elements; ++e) {
            const i64 i = tile * 64 + product::row_of(thread, e), j = product::column_of(thread, e);
            if (i < images * pixels && j < out) c[size_t(i * out + j)] = acc[e];
          }
        });
  });
  const char* error = emulator_error();
  check(!error, "convolution: %s", error ? error : "");
  i64 wrong = 0;
  for (i64 i = 0; i < images * pixels; ++i)
    for (i64 j = 0; j < out; ++j) {
      f64 sum = 0, magnitude = 0;
      for (i64 k = 0; k < depth; ++k) {
        const i64 y = i / width % height + k / (3 * channels) - 1, x = i % width + k / channels % 3 - 1;
        if (y < 0 || y >= height || x < 0 || x >= width) continue;
        const f64 term = f64(image.value(i / pixels * pixels + y * width + x, k % channels)) * weights.value(j, k);
        sum += term, magnitude += std::fabs(term);
      }
      wrong += !(std::fabs(c[size_t(i * out + j)] - sum) <= 2 * std::sqrt(f64(depth)) * kF32 * magnitude);
    }
  check(wrong == 0, "convolution: %lld elements wrong", wrong);
}

void test_stores() {
  check_stores<128, 128, 2, 2, u16>("f16 stores", {200, 136, 70, 2});
  check_stores<128, 64, 2, 1, f32>("f32 stores", {200, 100, 64, 1});
  check_stores<64, 192, 2, 1, u16>("f16 stores, three panels", {65, 200, 64, 2});
  check_stores<64, 64, 3, 2, u16, true>("f16 stores in turns", {300, 64, 64, 2});
}

void test_residuals() {
  typedef plain_codec<f32> f;
  typedef matrix<f16_codec, 8, K, COPIED> copied;
  check_stores<128, 256, 3, 2, u16, false, f16_codec>("residual of two slots", {300, 264, 200, 2});
  check_stores<128, 256, 2, 2, u16, false, f16_codec>("residual of as many slots as there are", {130, 264, 72});
  check_stores<128, 128, 2, 2, u16, false, f16_codec, copied>("residual, a copied", {300, 136, 72, 2});
  check_stores<128, 192, 4, 2, u16, false, f, copied>("residual of f32, a copied", {130, 200, 264});
  check_stores<64, 128, 2, 1, f32, false, f16_codec>("residual of f32 results", {130, 136, 40});
  check_stores<128, 128, 6, 2, u16, true, f16_codec>("residual in turns", {600, 264, 264, 2});
  check_stores<128, 128, 2, 2, u16, true, f16_codec>("residual in turns, two slots", {600, 264, 72});
  check_stores<64, 256, 3, 2, u16, true, f16_codec, copied>("residual in turns, a copied", {300, 264, 64, 2});
  check_stores<64, 64, 3, 2, u16, true, f16_codec, copied, copied>("residual alone", {300, 72, 0});
}

void test_rows() {
  check_rows<128, 128, 2, 2, u16, true>("rows between words", {140, 200, 64, 2});
  check_rows<128, 128, 2, 2, u16, true>("rows at words", {140, 201, 64});
  check_rows<128, 256, 2, 2, u16>("rows of two consumers", {200, 300, 64});
  check_rows<64, 128, 2, 1, f32>("rows of f32", {130, 133, 64});
  check_rows<64, 64, 2, 2, u16, true>("rows of one panel", {1, 1, 64});
}

#endif

}  // namespace

int main(int argc, char**) {
#ifdef FEW
  all_orders = argc > 0;
  test_few();
#else
  all_orders = argc > 1;
  test_mapped();
  test_sharing();
  test_moved();
  test_sizes();
  test_batches();
  test_convolution();
  test_stores();
  test_residuals();
  test_rows();
#endif
  return report();
}
