// Kernels of product_wgmma.h: c[m, n] = a[m, k] b[k, n], operands with rows of `pitch` elements. The same text for the
// emulator and for NVRTC.

// How an operand comes: a row of memory is a line with its k if ALONG_K, else a k with its lines.
template <class T, bool ALONG_K_>
struct by_map {
  static constexpr bool along_k = ALONG_K_, is_mapped = true;
  typedef T element;
  static DEV_MEMBER auto take(const tensor_map* map, const T*, i64, i64, i64, i64 line) {
    return mapped<T, along_k>(map, line);
  }
};
template <class T, int VECTOR, bool ALONG_K_>
struct by_copies {
  static constexpr bool along_k = ALONG_K_, is_mapped = false;
  typedef T element;
  static DEV_MEMBER auto take(const tensor_map*, const T* from, i64 pitch, i64 lines, i64, i64 first) {
    return copied<T, VECTOR, along_k>([=](i64 line, i64 k) {
      return source<T>{from + (along_k ? (first + line) * pitch + k : k * pitch + first + line), first + line < lines};
    });
  }
};
template <class T, int VECTOR, bool ALONG_K_>
struct by_computing {
  static constexpr bool along_k = ALONG_K_, is_mapped = false;
  typedef T element;
  static DEV_MEMBER auto take(const tensor_map*, const T* from, i64 pitch, i64 lines, i64 depth, i64 first) {
    return computed<T, VECTOR, along_k>([=](i64 line, i64 k) {
      vec<T, VECTOR> chunk;
      _Pragma("unroll") for (int i = 0; i < VECTOR; ++i) {
        const i64 at = first + line + (along_k ? 0 : i), deep = k + (along_k ? i : 0);
        chunk.v[i] = at < lines && deep < depth ? from[along_k ? at * pitch + deep : deep * pitch + at] : T(0);
      }
      return chunk;
    });
  }
};

// k is cut into `parts` (at multiples of DEPTH) whose sums lie behind each other in c.
template <class PRODUCT, class A, class B, int ROWS, int COLUMNS, int DEPTH>
DEV void multiply_matrices(const tensor_map* map_a, const tensor_map* map_b, const typename A::element* a,
                           const typename B::element* b, typename PRODUCT::accumulator* c, i64 m, i64 n, i64 k,
                           i64 pitch_a, i64 pitch_b, i64 parts) {
  DYNAMIC_SHARED(shared);
  const i64 down = (m + ROWS - 1) / ROWS, across = (n + COLUMNS - 1) / COLUMNS;
  const i64 steps = (k + DEPTH - 1) / DEPTH, part_length = (steps + parts - 1) / parts * DEPTH;
  PRODUCT::run(
      shared, down * across * parts,
      [&](i64 tile) {
        const i64 part = tile / (down * across), row = tile / across % down * ROWS, column = tile % across * COLUMNS;
        const i64 begin = op_min(part * part_length, k);
        return PRODUCT::tile(A::take(map_a, a, pitch_a, m, k, row), B::take(map_b, b, pitch_b, n, k, column), begin,
                             op_min(begin + part_length, k));
      },
      [&](i64 tile, int thread, const typename PRODUCT::results& acc) {
        const i64 part = tile / (down * across), row = tile / across % down * ROWS, column = tile % across * COLUMNS;
        _Pragma("unroll") for (int e = 0; e < PRODUCT::elements; ++e) {
          const i64 i = row + PRODUCT::row_of(thread, e), j = column + PRODUCT::column_of(thread, e);
          if (i < m && j < n) c[(part * m + i) * n + j] = acc[e];
        }
      });
}

// Batches [y, z] of matrices, by maps of four dimensions.
template <class PRODUCT, class T, int ROWS, int COLUMNS>
DEV void multiply_batches(const tensor_map* map_a, const tensor_map* map_b, f32* c, i64 m, i64 n, i64 k, i64 y, i64 z) {
  DYNAMIC_SHARED(shared);
  const i64 down = (m + ROWS - 1) / ROWS, across = (n + COLUMNS - 1) / COLUMNS;
  PRODUCT::run(
      shared, down * across * y * z,
      [&](i64 tile) {
        const i64 batch = tile / (down * across), row = tile / across % down * ROWS, column = tile % across * COLUMNS;
        return PRODUCT::tile(mapped<T, true>(map_a, row, batch % y, batch / y),
                             mapped<T, false>(map_b, column, batch % y), 0, k);  // b is the same for all z
      },
      [&](i64 tile, int thread, const typename PRODUCT::results& acc) {
        const i64 batch = tile / (down * across), row = tile / across % down * ROWS, column = tile % across * COLUMNS;
        _Pragma("unroll") for (int e = 0; e < PRODUCT::elements; ++e) {
          const i64 i = row + PRODUCT::row_of(thread, e), j = column + PRODUCT::column_of(thread, e);
          if (i < m && j < n) c[(batch * m + i) * n + j] = acc[e];
        }
      });
}
