// Products of warpgroups as kernels, for NVRTC and sm_90a: device_tests.py puts the device library before them. None may
// spill, and none may have its products serialised.
template <class T, bool ALONG_K>
DEV auto by_map(const tensor_map* map, const T*, i64, i64, i64 first) {
  return mapped<T, ALONG_K>(map, first);
}
template <class T, bool ALONG_K>
DEV auto by_copies(const tensor_map*, const T* from, i64 pitch, i64 lines, i64 first) {
  return copied<T, 16 / sizeof(T), ALONG_K>([=](i64 line, i64 k) {
    return source<T>{from + (ALONG_K ? (first + line) * pitch + k : k * pitch + first + line), first + line < lines};
  });
}
template <class T, bool ALONG_K>
DEV auto by_strides(const tensor_map*, const T* from, i64 pitch, i64 lines, i64 first) {
  return strided<T, 16 / sizeof(T), ALONG_K>(ALONG_K ? from + first * pitch : from + first, pitch, lines - first);
}
// Weights of a byte with a scale a line.
template <class T, bool ALONG_K>
DEV auto by_computing(const tensor_map*, const T* from, i64 pitch, i64 lines, i64 first) {
  const i8* const codes = (const i8*)from;
  return computed<T, 8, ALONG_K>([=](i64 line, i64 k) {
    vec<T, 8> chunk = {};
    if (first + line < lines)
      _Pragma("unroll") for (int i = 0; i < 8; ++i)
        chunk.v[i] = encode_f16(f32(codes[(first + line) * pitch + k + i]) * f32(first + line));
    return chunk;
  });
}

#define WGMMA_KERNEL(name, ATOM, ROWS, COLUMNS, DEPTH, STAGES, CONSUMERS, ALTERNATE, BLOCKS, A, A_ALONG_K, B, B_ALONG_K)   \
  typedef product_wgmma<ATOM, ROWS, COLUMNS, DEPTH, STAGES, CONSUMERS, ALTERNATE> name##_product;                          \
  extern "C" __global__ void __launch_bounds__(name##_product::threads, BLOCKS)                                            \
      name(const __grid_constant__ tensor_map map_a, const __grid_constant__ tensor_map map_b, const ATOM::element_a* a,   \
           const ATOM::element_b* b, ATOM::accumulator* c, i64 m, i64 n, i64 k) {                                          \
    DYNAMIC_SHARED(shared);                                                                                                \
    const i64 down = (m + ROWS - 1) / ROWS, across = (n + COLUMNS - 1) / COLUMNS;                                          \
    name##_product::run(                                                                                                   \
        shared, down * across,                                                                                             \
        [&](i64 tile) {                                                                                                    \
          return name##_product::tile(A<ATOM::element_a, A_ALONG_K>(&map_a, a, k, m, tile / across * ROWS),                \
                                      B<ATOM::element_b, B_ALONG_K>(&map_b, b, k, n, tile % across * COLUMNS), 0, k);      \
        },                                                                                                                 \
        [&](i64 tile, int thread, const name##_product::results& acc) {                                                    \
          _Pragma("unroll") for (int e = 0; e < name##_product::elements; ++e) {                                           \
            const i64 i = tile / across * ROWS + name##_product::row_of(thread, e);                                        \
            const i64 j = tile % across * COLUMNS + name##_product::column_of(thread, e);                                  \
            if (i < m && j < n) c[i * n + j] = acc[e];                                                                     \
          }                                                                                                                \
        });                                                                                                                \
  }
// With a residual, stored by the copy engine.
#define WGMMA_RESIDUAL(name, ROWS, COLUMNS, STAGES, ALTERNATE, T)                                                        \
  typedef product_wgmma<atom_f16, ROWS, COLUMNS, 64, STAGES, 2, ALTERNATE> name##_product;                                \
  typedef store_wgmma<name##_product, u16, 2> name##_stores;                                                             \
  extern "C" __global__ void __launch_bounds__(name##_product::threads, 1)                                               \
      name(const __grid_constant__ tensor_map map_a, const __grid_constant__ tensor_map map_b,                           \
           const __grid_constant__ tensor_map map_r, const __grid_constant__ tensor_map map_c, i64 down, i64 across, i64 k) { \
    DYNAMIC_SHARED(shared);                                                                                              \
    const auto tile_of = [&](i64 tile) {                                                                                 \
      const i64 row = tile / across * ROWS, column = tile % across * COLUMNS;                                            \
      return name##_product::tile(mapped<u16, true>(&map_a, row), mapped<u16, true>(&map_b, column), 0, k,               \
                                  residual(mapped<T, true>(&map_r, row), column));                                       \
    };                                                                                                                   \
    typedef name##_product::residual_of<decltype(tile_of(0))> residuals;                                                 \
    name##_product::run(                                                                                                 \
        shared + name##_stores::shared_bytes, down * across, tile_of,                                                    \
        [&](i64 tile, int thread, const name##_product::results& acc, residuals& residual) {                             \
          _Pragma("unroll") for (int panel = 0; panel < name##_stores::panels; ++panel) {                                \
            name##_stores::part part = name##_stores::begin(shared, panel);                                              \
            _Pragma("unroll") for (int e = panel * name##_stores::each; e < (panel + 1) * name##_stores::each; e += 2) { \
              const vec<T, 2> more = residual.pair(thread, e);                                                           \
              name##_stores::put(part, thread, e, {{encode_f16(acc[e] + f32(more.v[0])), encode_f16(acc[e + 1] + f32(more.v[1]))}}); \
            }                                                                                                            \
            name##_stores::send(part, &map_c, {tile % across * COLUMNS, tile / across * ROWS}, thread, panel);           \
          }                                                                                                              \
        });                                                                                                              \
    name##_stores::end();                                                                                                \
  }
WGMMA_RESIDUAL(wgmma_residual_128x128_turns, 128, 128, 6, true, u16)
#ifdef ALL
WGMMA_RESIDUAL(wgmma_residual_128x256, 128, 256, 4, false, u16)
WGMMA_RESIDUAL(wgmma_residual_128x192_f32, 128, 192, 4, false, f32)
#endif
WGMMA_KERNEL(wgmma_f16_128x128, atom_f16, 128, 128, 64, 4, 2, false, 1, by_map, true, by_map, false)
WGMMA_KERNEL(wgmma_bf16_128x256, atom_bf16, 128, 256, 64, 4, 2, false, 1, by_map, true, by_map, true)
WGMMA_KERNEL(wgmma_f16_64x256_turns, atom_f16, 64, 256, 64, 4, 2, true, 1, by_map, true, by_map, true)
WGMMA_KERNEL(wgmma_f16_128x256_copied, atom_f16, 128, 256, 64, 4, 2, false, 1, by_strides, true, by_copies, false)
WGMMA_KERNEL(wgmma_f16_128x128_computed, atom_f16, 128, 128, 64, 4, 2, false, 1, by_map, true, by_computing, true)
#ifdef ALL
WGMMA_KERNEL(wgmma_f16_192x128, atom_f16, 192, 128, 64, 4, 3, false, 1, by_copies, true, by_map, true)
WGMMA_KERNEL(wgmma_f16_256x128, atom_f16, 256, 128, 64, 4, 2, false, 1, by_map, false, by_map, true)
WGMMA_KERNEL(wgmma_f16_64x256, atom_f16, 64, 256, 64, 4, 1, false, 1, by_map, true, by_map, true)
WGMMA_KERNEL(wgmma_f16_128x128_turns, atom_f16, 128, 128, 64, 4, 2, true, 1, by_copies, true, by_map, false)
WGMMA_KERNEL(wgmma_u8_s8_128x128, atom_u8_s8, 128, 128, 128, 4, 2, false, 1, by_copies, true, by_strides, true)
WGMMA_KERNEL(wgmma_f16_64x128_two_blocks, atom_f16, 64, 128, 64, 4, 1, false, 2, by_copies, true, by_map, true)
WGMMA_KERNEL(wgmma_f16_64x16, atom_f16, 64, 16, 64, 6, 1, false, 2, by_map, true, by_copies, false)
WGMMA_KERNEL(wgmma_tf32_128x128_copied, atom_tf32, 128, 128, 32, 4, 2, false, 1, by_strides, true, by_strides, false)
WGMMA_KERNEL(wgmma_s8_128x256, atom_s8_s8, 128, 256, 128, 4, 2, false, 1, by_map, true, by_map, true)
#endif

#define STORE_KERNEL(name, T, ROWS, COLUMNS, STAGES, ALTERNATE, VALUE)                                                      \
  typedef product_wgmma<atom_f16, ROWS, COLUMNS, 64, STAGES, 2, ALTERNATE> name##_product;                                  \
  typedef store_wgmma<name##_product, T, 2> name##_stores;                                                                  \
  extern "C" __global__ void __launch_bounds__(name##_product::threads, 1)                                                  \
      name(const __grid_constant__ tensor_map map_a, const __grid_constant__ tensor_map map_b,                              \
           const __grid_constant__ tensor_map map_c, const f32* bias, i64 m, i64 n, i64 k) {                                \
    DYNAMIC_SHARED(shared);                                                                                                 \
    const i64 down = (m + ROWS - 1) / ROWS, across = (n + COLUMNS - 1) / COLUMNS;                                           \
    name##_product::run(                                                                                                    \
        shared + name##_stores::shared_bytes, down * across,                                                                \
        [&](i64 tile) {                                                                                                     \
          return name##_product::tile(mapped<u16, true>(&map_a, tile / across * ROWS),                                      \
                                      mapped<u16, false>(&map_b, tile % across * COLUMNS), 0, k);                           \
        },                                                                                                                  \
        [&](i64 tile, int thread, const name##_product::results& acc) {                                                     \
          const tile_corner corner = {tile % across * COLUMNS, tile / across * ROWS};                                       \
          _Pragma("unroll") for (int panel = 0; panel < name##_stores::panels; ++panel) {                                   \
            name##_stores::part part = name##_stores::begin(shared, panel);                                                 \
            _Pragma("unroll") for (int e = panel * name##_stores::each; e < (panel + 1) * name##_stores::each; e += 2) {    \
              vec<T, 2> pair;                                                                                               \
              _Pragma("unroll") for (int i = 0; i < 2; ++i) {                                                               \
                const i64 column = corner.column + name##_product::column_of(thread, e + i);                                \
                const f32 sum = op_max(acc[e + i] + bias[column], 0.0f);                                                    \
                pair.v[i] = VALUE;                                                                                          \
              }                                                                                                             \
              name##_stores::put(part, thread, e, pair);                                                                    \
            }                                                                                                               \
            name##_stores::send(part, &map_c, corner, thread, panel);                                                       \
          }                                                                                                                 \
        });                                                                                                                 \
    name##_stores::end();                                                                                                   \
  }
STORE_KERNEL(wgmma_stores_f16, u16, 128, 256, 4, false, encode_f16(sum))
#ifdef ALL
STORE_KERNEL(wgmma_stores_f32, f32, 128, 128, 4, false, sum)
#endif

// An image [n, y, x, c] under a window of 3 x 3.
struct pixel {
  i64 first;  // channel
  i32 y, x;
};
typedef product_wgmma<atom_f16, 128, 128, 64, 4, 2> convolution_product;
extern "C" __global__ void __launch_bounds__(convolution_product::threads, 1)
    wgmma_f16_convolution(const u16* image, const __grid_constant__ tensor_map weights, f32* result, i32 images, i32 height,
                          i32 width, i32 channels, i32 out) {
  DYNAMIC_SHARED(shared);
  const i32 pixels = images * height * width, across = (out + 127) / 128;
  convolution_product::run(
      shared, i64((pixels + 127) / 128) * across,
      [&](i64 tile) {
        const i32 first = i32(tile / across) * 128;
        return convolution_product::tile(
            prepared<u16, 8, true>(
                [=](i64 line) {
                  const i32 at = first + i32(line), y = at / width % height, x = at % width;
                  return pixel{i64(at) * channels, at < pixels ? y : -2, x};
                },
                [=](const pixel& under, i64 /*line*/, i64 k) {
                  const i32 window = i32(k) / channels, down = window / 3 - 1, right = window % 3 - 1;
                  const i32 c = i32(k) - window * channels;
                  return source<u16>{image + under.first + i64(down * width + right) * channels + c,
                                     u32(under.y + down) < u32(height) && u32(under.x + right) < u32(width)};
                }),
            mapped<u16, true>(&weights, tile % across * 128), 0, 9 * channels);
      },
      [&](i64 tile, int thread, const convolution_product::results& acc) {
        _Pragma("unroll") for (int e = 0; e < convolution_product::elements; ++e) {
          const i64 i = tile / across * 128 + convolution_product::row_of(thread, e);
          const i64 j = tile % across * 128 + convolution_product::column_of(thread, e);
          if (i < pixels && j < out) result[i * out + j] = acc[e];
        }
      });
}

// Operands of attention: a head's WIDTH columns of `rows` positions, from `first` on.
DEV auto head_by_map(const tensor_map* map, const u16*, i64, i64 head, i64 first, i64) {
  return mapped<u16, false>(map, 0, head).from(first);
}
DEV auto head_by_strides(const tensor_map*, const u16* from, i64 width, i64 head, i64 first, i64 rows) {
  return strided<u16, 8, false>(from + (head * rows + first) * width, width, width);
}
#define ATTEND_WGMMA(name, ATOM, KEYS, WIDTH, VALUES, STAGES, HEAD, SCORE)                                                        \
  typedef attend_wgmma<ATOM, KEYS, WIDTH, VALUES, STAGES> name##_attention;                                                       \
  extern "C" __global__ void __launch_bounds__(name##_attention::threads, 1)                                                      \
      name(const __grid_constant__ tensor_map map_q, const __grid_constant__ tensor_map map_k,                                    \
           const __grid_constant__ tensor_map map_v, const u16* __restrict__ q, const u16* __restrict__ k,                        \
           const u16* __restrict__ v, const f32* __restrict__ mask, u16* __restrict__ o, f32* __restrict__ logs, i64 heads,       \
           i64 rows, i64 keys) {                                                                                                  \
    DYNAMIC_SHARED(shared);                                                                                                       \
    const i64 down = (rows + name##_attention::rows - 1) / name##_attention::rows;                                                \
    name##_attention::run(                                                                                                        \
        shared, heads * down,                                                                                                     \
        [&](i64 tile) {                                                                                                           \
          const i64 head = tile / down, first = tile % down * name##_attention::rows;                                             \
          return name##_attention::tile(HEAD(&map_q, q, WIDTH, head, first, rows), HEAD(&map_k, k, WIDTH, head, 0, keys),         \
                                        HEAD(&map_v, v, VALUES, head, 0, keys), SCORE, 0, keys);                                  \
        },                                                                                                                        \
        [=](i64 tile, int thread, const name##_attention::results& acc) {                                                         \
          typedef columns_of_lane<VALUES> columns;                                                                                \
          const i64 head = tile / down, first = tile % down * name##_attention::rows + thread / 32 * 16;                          \
          _Pragma("unroll") for (int e = 0; e < name##_attention::elements; e += 8) {                                             \
            vec<u16, 8> run;                                                                                                      \
            _Pragma("unroll") for (int i = 0; i < 8; ++i) run.v[i] = encode_f16(acc[e + i]);                                      \
            const i64 row = first + columns::row_of(thread % 32, e);                                                              \
            if (row < rows) store_run(o + (head * rows + row) * VALUES + columns::column_of(thread % 32, e), run);                \
          }                                                                                                                       \
          _Pragma("unroll") for (int i = 0; i < 2; ++i) {                                                                         \
            const i64 row = first + thread % 32 / 4 + 8 * i;                                                                      \
            if (row < rows) logs[head * rows + row] = acc[name##_attention::elements + i];                                        \
          }                                                                                                                       \
        });                                                                                                                       \
  }
#define MASKED biased_score<f32_bias, 2, false, false>{0.125f, 0, mask + first * keys, keys, rows - first}
#define MASKED_HALVES biased_score<f16_bias, 1, false, false>{0.125f, 0, (const u16*)mask + first * keys, keys, rows - first}
#define SHARED_MASK biased_score<f16_bias, 1, true, false>{0.125f, 0, (const u16*)mask + head * keys, 0, rows - first}
#define COMPUTED any_score([=](i64 row, i64 key, f32 s) { return s * 0.125f + (first + row < rows && key < keys ? mask[(first + row) * keys + key] : 0.0f); })
ATTEND_WGMMA(attend_wgmma_f16_64, atom_f16, 128, 64, 64, 6, head_by_map, (scaled_score<false>{0.125f, 0}))
ATTEND_WGMMA(attend_wgmma_bf16_128, atom_bf16, 128, 128, 128, 4, head_by_strides, (scaled_score<true>{0.125f, first}))
#ifdef ALL
ATTEND_WGMMA(attend_wgmma_f16_64_copied, atom_f16, 128, 64, 64, 6, head_by_strides, (scaled_score<false>{0.125f, 0}))
ATTEND_WGMMA(attend_wgmma_f16_64_causal, atom_f16, 128, 64, 64, 6, head_by_map, (scaled_score<true>{0.125f, first}))
ATTEND_WGMMA(attend_wgmma_f16_64_masked, atom_f16, 128, 64, 64, 6, head_by_map, (MASKED))
ATTEND_WGMMA(attend_wgmma_f16_64_halves, atom_f16, 128, 64, 64, 6, head_by_map, (MASKED_HALVES))
ATTEND_WGMMA(attend_wgmma_f16_64_shared, atom_f16, 128, 64, 64, 6, head_by_map, (SHARED_MASK))
ATTEND_WGMMA(attend_wgmma_f16_128_halves, atom_f16, 128, 128, 128, 4, head_by_map, (MASKED_HALVES))
ATTEND_WGMMA(attend_wgmma_f16_128, atom_f16, 128, 128, 128, 4, head_by_map, (scaled_score<false>{0.125f, 0}))
ATTEND_WGMMA(attend_wgmma_f16_128_causal, atom_f16, 128, 128, 128, 4, head_by_map, (scaled_score<true>{0.125f, first}))
ATTEND_WGMMA(attend_wgmma_f16_64_computed, atom_f16, 64, 64, 64, 6, head_by_strides, COMPUTED)
ATTEND_WGMMA(attend_wgmma_f16_128_computed, atom_f16, 64, 128, 128, 6, head_by_map, COMPUTED)
ATTEND_WGMMA(attend_wgmma_f16_128_masked, atom_f16, 128, 128, 128, 4, head_by_strides, (MASKED))
#endif
