// An instance of each family as a kernel, for NVRTC: device_tests.py puts the device library before it. None may spill.
#define PRODUCT(name, PRODUCT, T, ACC, ROWS, COLUMNS, THREADS, A_ALONG_K, B_ALONG_K, VECTOR)                                  \
  extern "C" __global__ void __launch_bounds__(THREADS)                                                                       \
      name(const T* __restrict__ a, const T* __restrict__ b, ACC* __restrict__ c, i64 m, i64 n, i64 k) {                      \
    DYNAMIC_SHARED(shared);                                                                                                   \
    const i64 row = i64(blockIdx.y) * ROWS, column = i64(blockIdx.x) * COLUMNS;                                               \
    ACC acc[PRODUCT::elements] = {};                                                                                          \
    PRODUCT::accumulate(acc, shared, 0, k,                                                                                    \
                        strided<T, VECTOR, A_ALONG_K>(A_ALONG_K ? a + row * k : a + row, A_ALONG_K ? k : m, m - row),         \
                        strided<T, VECTOR, B_ALONG_K>(B_ALONG_K ? b + column * k : b + column, B_ALONG_K ? k : n, n - column)); \
    _Pragma("unroll") for (int e = 0; e < PRODUCT::elements; ++e) {                                                           \
      const i64 i = row + PRODUCT::row_of(threadIdx.x, e), j = column + PRODUCT::column_of(threadIdx.x, e);                   \
      if (i < m && j < n) c[i * n + j] = acc[e];                                                                              \
    }                                                                                                                         \
  }

#define FMA(name, T, ACC, ROWS, COLUMNS, DEPTH, THREADS, STAGES, A_ALONG_K, B_ALONG_K, VECTOR) \
  typedef product_fma<T, ACC, ROWS, COLUMNS, DEPTH, THREADS, STAGES> name##_product;           \
  PRODUCT(name, name##_product, T, ACC, ROWS, COLUMNS, THREADS, A_ALONG_K, B_ALONG_K, VECTOR)
FMA(fma_f32_128x128, f32, f32, 128, 128, 8, 256, 3, true, false, 4)
FMA(fma_f32_128x128_transposed, f32, f32, 128, 128, 8, 256, 3, false, true, 4)
FMA(fma_f32_64x64, f32, f32, 64, 64, 16, 128, 3, true, false, 4)
FMA(fma_f32_16x128, f32, f32, 16, 128, 16, 128, 3, true, false, 4)
FMA(fma_f64_64x64, f64, f64, 64, 64, 8, 256, 3, true, false, 2)
FMA(fma_i8_128x128, i8, i32, 128, 128, 32, 256, 3, true, true, 16)
FMA(fma_i8_64x64_turned, i8, i32, 64, 64, 32, 128, 3, false, false, 4)

// On the way: a bias on the rows, and for columns weights of 8 bits with a scale for each.
typedef product_fma<f32, f32, 64, 64, 16, 128, 2> converted_product;
struct scaled_weights {
  packet<4> codes;
  f32 scale;
};
extern "C" __global__ void __launch_bounds__(128)
    fma_converted(const f32* __restrict__ a, const i8* __restrict__ b, const f32* __restrict__ scale, f32* __restrict__ c, i64 n, i64 k) {
  DYNAMIC_SHARED(shared);
  f32 acc[converted_product::elements] = {};
  const auto rows = computed<f32, 4, true>([=](i64 line, i64 at) { return op_add(load<4>(a + line * k + at), splat<4>(1.0f)); });
  const auto load_weights = [=](i64 line, i64 at) {
    scaled_weights loaded = {};
    if (line < n) loaded = {load_packet<4>(b + line * k + at), scale[line]};
    return loaded;
  };
  const auto columns = converted<f32, 4, true>(load_weights, [](const scaled_weights& loaded, i64, i64) {
    vec<f32, 4> values;
    _Pragma("unroll") for (int i = 0; i < 4; ++i) values.v[i] = f32(i8(loaded.codes.words[0] >> (8 * i))) * loaded.scale;
    return values;
  });
  converted_product::accumulate(acc, shared, 0, k, rows, columns);
  _Pragma("unroll") for (int e = 0; e < converted_product::elements; ++e)
    c[converted_product::row_of(threadIdx.x, e) * 64 + converted_product::column_of(threadIdx.x, e)] = acc[e];
}

extern "C" __global__ void __launch_bounds__(1024) reduce_rows(const f32* __restrict__ x, f32* __restrict__ y) {
  DYNAMIC_SHARED(shared);
  const f32 value = x[threadIdx.x];
  y[threadIdx.x] = reduce_threads<sum, 1024, 1024>(value, (f32*)shared) + reduce_threads<most, 32, 1024>(value, (f32*)shared);
}

#define BIASED any_score([=](i64 row, i64 key, f32 s) { return key > first + row ? -float_of(0x7f800000u) : s * 0.125f; })
#define ATTENTION(name, attention, T, ROWS, THREADS, WIDTH, VALUES, VECTOR, SCORE)                                               \
  extern "C" __global__ void __launch_bounds__(THREADS)                                                                         \
      name(const T* __restrict__ q, const T* __restrict__ k, const T* __restrict__ v, f32* __restrict__ o, i64 rows, i64 keys) { \
    DYNAMIC_SHARED(shared);                                                                                                     \
    const i64 first = i64(blockIdx.x) * ROWS;                                                                                   \
    const auto queries = copied<T, VECTOR, false>([=](i64 column, i64 row) {                                                    \
      return source<T>{q + (first + row) * WIDTH + column, first + row < rows};                                                 \
    });                                                                                                                         \
    attention::run(                                                                                                             \
        shared, 0, keys, queries, strided<T, VECTOR, false>(k, WIDTH, WIDTH), strided<T, VECTOR, false>(v, VALUES, VALUES),     \
        SCORE,                                                                                                                  \
        [=](i64 row, i64 column, f32 x, f32 y) {                                                                                \
          if (first + row >= rows) return;                                                                                      \
          o[(first + row) * VALUES + column] = x;                                                                               \
          o[(first + row) * VALUES + column + 1] = y;                                                                           \
        },                                                                                                                      \
        [=](i64, f32) {});                                                                                                      \
  }
typedef attend_fma<32, 64, 64, 64, 4, 2> attention_of_f32;
ATTENTION(attend_f32_64, attention_of_f32, f32, 32, 128, 64, 64, 4, BIASED)

#if __CUDA_ARCH__ >= 800
#define MMA(name, ATOM, T, ROWS, COLUMNS, DEPTH, WARPS_M, WARPS_N, STAGES, A_ALONG_K, B_ALONG_K, VECTOR)                       \
  typedef product_mma<ATOM, ROWS, COLUMNS, DEPTH, WARPS_M, WARPS_N, STAGES> name##_product;                                    \
  PRODUCT(name, name##_product, T, typename name##_product::accumulator, ROWS, COLUMNS, 32 * WARPS_M * WARPS_N, A_ALONG_K, B_ALONG_K, VECTOR)
MMA(mma_f16_128x128, atom_f16, u16, 128, 128, 32, 2, 4, 3, true, true, 8)
MMA(mma_f16_128x128_transposed, atom_f16, u16, 128, 128, 32, 2, 4, 3, false, false, 8)
MMA(mma_bf16_128x256, atom_bf16, u16, 128, 256, 32, 2, 4, 3, true, false, 8)
MMA(mma_f16_64x64, atom_f16, u16, 64, 64, 64, 2, 2, 3, true, false, 8)
MMA(mma_tf32_128x128, atom_tf32, f32, 128, 128, 32, 2, 2, 3, true, false, 4)
MMA(mma_3xtf32_128x128, atom_3xtf32, f32, 128, 128, 16, 2, 4, 3, true, false, 4)
MMA(mma_u8_128x128, atom_u8_u8, u8, 128, 128, 64, 2, 4, 3, true, true, 16)

// A convolution over images in channels-last order: where a position's window lies is prepared once.
typedef product_mma<atom_f16, 128, 128, 32, 2, 4, 3> convolution_product;
struct window {
  const u16* from;
  i32 y, x;
  bool valid;
};
extern "C" __global__ void __launch_bounds__(256)
    convolution(const u16* __restrict__ image, const u16* __restrict__ weights, u16* __restrict__ result, i64 positions, i64 filters,
                i64 depth, i32 height, i32 width, i32 channels, i32 result_height, i32 result_width, i32 window_width) {
  DYNAMIC_SHARED(shared);
  const i64 row = i64(blockIdx.y) * 128, column = i64(blockIdx.x) * 128;
  const auto prepare = [=](i64 line) {
    const u32 position = u32(row + line), x = position % u32(result_width), y = position / u32(result_width) % u32(result_height);
    const i64 number = position / u32(result_width) / u32(result_height);
    const u16* const from = image + ((number * height + y) * width + x) * channels;
    return window{from, i32(y), i32(x), row + line < positions};
  };
  const auto at = [=](const window& of, i64, i64 k) {
    const u32 channel = u32(k) % u32(channels), x = u32(k) / u32(channels) % u32(window_width);
    const u32 y = u32(k) / u32(channels) / u32(window_width);
    const bool inside = u32(of.y + i32(y)) < u32(height) && u32(of.x + i32(x)) < u32(width);
    return source<u16>{of.from + (i64(y) * width + x) * channels + channel, of.valid && inside};
  };
  f32 acc[convolution_product::elements] = {};
  convolution_product::accumulate(acc, shared, 0, depth, prepared<u16, 8, true>(prepare, at),
                                  strided<u16, 8, true>(weights + column * depth, depth, filters - column));
  _Pragma("unroll") for (int e = 0; e < convolution_product::elements; e += 2) {
    const i64 i = row + convolution_product::row_of(threadIdx.x, e), j = column + convolution_product::column_of(threadIdx.x, e);
    if (i < positions && j < filters) *(u32*)(result + i * filters + j) = pair_of_f16(acc[e], acc[e + 1]);
  }
}

#define ATTEND(name, ATOM, T, WARPS, KEYS, WIDTH, VECTOR, SCORE)                         \
  typedef attend_mma<ATOM, 16 * WARPS, KEYS, WIDTH, WIDTH, WARPS, 2> name##_attention;   \
  ATTENTION(name, name##_attention, T, 16 * WARPS, 32 * WARPS, WIDTH, WIDTH, VECTOR, SCORE)
ATTEND(attend_f16_64, atom_f16, u16, 4, 64, 64, 8, BIASED)
ATTEND(attend_bf16_128, atom_bf16, u16, 4, 64, 128, 8, (scaled_score<true>{0.125f, first}))
ATTEND(attend_f16_128, atom_f16, u16, 4, 64, 128, 8, (scaled_score<false>{0.125f, 0}))
ATTEND(attend_tf32_64, atom_tf32, f32, 4, 32, 64, 4, BIASED)
#endif
