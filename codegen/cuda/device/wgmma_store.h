// Results of product_wgmma to memory by the copy engine: whole lines of 128 bytes, and nobody asks where the matrix
// ends. After product_wgmma.h.
//
//   typedef store_wgmma<product, u16, 2> stores;
//   product::run(shared, tiles, ..., [&](i64 tile, int thread, const product::results& acc) {
//     for (int panel = 0; panel < stores::panels; ++panel) {                       // unrolled
//       stores::part part = stores::begin(staging, panel);
//       for (int e = panel * stores::each; e < (panel + 1) * stores::each; e += 2)  // unrolled
//         stores::put(part, thread, e, pair_of_results);
//       stores::send(part, &map, {first_column, first_row}, thread, panel);
//     }
//   });
//   stores::end();
//
// A consumer writes 64 rows of 128 bytes into one of its two staging buffers while the engine reads the other: pairs of
// halves as 8x8 matrices, when all of them are there. The map has RANK dimensions, of which the first is along a row,
// 128-byte swizzle, and boxes of that size. The functions are called by the threads that an epilogue is called by.
struct tile_corner {
  i64 column, row, y = 0, z = 0;  // y and z count from rank 3 and 4 on
};

// What a thread has of a panel: 64 rows by 128 bytes of a consumer's results.
template <class PRODUCT, class T>
struct panels_of_results {
  typedef wgmma_operand<T, 64, 128 / int(sizeof(T)), true> panel_layout;
  static constexpr int columns = 128 / int(sizeof(T)), each = columns / 2;  // of a panel; its elements in a thread
  static constexpr int panels = PRODUCT::elements / each;
  static constexpr int consumers = PRODUCT::threads / 128 - 1;
  static_assert(PRODUCT::registers % each == 0, "rows of a consumer are whole panels");

  static constexpr bool in_matrices = sizeof(T) == 2;
  struct part {
    char* buffer;
    u32 pairs[in_matrices ? each / 2 : 1];
  };

  // acc[e] and acc[e + 1], or one of them.
  static DEV_MEMBER void put(part& part, int thread, int e, const vec<T, 2>& pair) {
    if constexpr (in_matrices)
      part.pairs[e % each / 2] = packed(pair).words[0];
    else
      write(part, thread, e, packed(pair));
  }
  static DEV_MEMBER void put(part& part, int thread, int e, T one) {
    if constexpr (in_matrices) {
      u32& pair = part.pairs[e % each / 2];
      pair = e % 2 == 0 ? u32(one) : pair | u32(one) << 16;
    } else {
      write(part, thread, e, packed(one));
    }
  }

 protected:
  // Four at once, of 16 rows and columns: lane 8 m + r has the address of row r of matrix m, whose rows are the upper
  // or lower eight (m % 2) and whose columns the left or right ones (m / 2), as the pairs of a thread follow each
  // other.
  static DEV_MEMBER void store_matrices(const part& part, int thread) {
    const int lane = thread % 32, row = thread % 128 / 32 * 16 + lane / 8 % 2 * 8 + lane % 8;
    _Pragma("unroll") for (int first = 0; first < columns; first += 16)
        store_matrix_x4(part.buffer + panel_layout::offset(row, first + lane / 16 * 8), part.pairs + first / 4);
  }

 private:
  template <int BYTES>
  static DEV_MEMBER void write(const part& part, int thread, int e, const packet<BYTES>& data) {
    char* const to =
        part.buffer + panel_layout::offset(PRODUCT::row_of(thread, e) % 64, PRODUCT::column_of(thread, e) % columns);
    store_packet<BYTES>(to, data, 0);
    wrote_shared(to, BYTES);
  }
};

template <class PRODUCT, class T, int RANK>
struct store_wgmma : panels_of_results<PRODUCT, T> {
  typedef panels_of_results<PRODUCT, T> results;
  using results::columns, results::each, results::in_matrices, results::panels;
  using typename results::part;
  typedef typename results::panel_layout panel_layout;
  static constexpr int shared_bytes = results::consumers * 2 * panel_layout::bytes;  // aligned to 1024

  static DEV_MEMBER part begin(char* staging, int panel) {
    if (!in_matrices) await_buffer(panel);
    part result;
    result.buffer = staging + ((threadIdx.x / 128 - 1) * 2 + panel % 2) * panel_layout::bytes;  // the producer is 0
    return result;
  }

  static DEV_MEMBER void send(const part& part, const tensor_map* map, const tile_corner& corner, int thread,
                              int panel) {
    if constexpr (in_matrices) {
      await_buffer(panel);
      results::store_matrices(part, thread);
    }
    fence_proxy_async();
    barrier(threadIdx.x / 128, 128);
    if (threadIdx.x % 128 == 0)
      send_box(shared_address(part.buffer), map, corner, PRODUCT::row_of(thread, panel * each),
               PRODUCT::column_of(thread, panel * each));
  }

  // By all threads, when no tile follows.
  static DEV_MEMBER void end() {
    if (threadIdx.x % 128 == 0) tma_store_wait<0>();
  }

 private:
  static DEV_MEMBER void await_buffer(int panel) {
    // The other buffer may still be read, except that a tile begins with the one that an odd tile ended with.
    if (threadIdx.x % 128 == 0) {
      if (panel == 0 && panels % 2 != 0)
        tma_store_wait<0>();
      else
        tma_store_wait<1>();
    }
    barrier(threadIdx.x / 128, 128);
  }

  // (row, column) is one of the panel's first elements.
  static DEV_MEMBER void send_box(u32 buffer, const tensor_map* map, const tile_corner& corner, int row, int column) {
    const i32 x = i32(corner.column) + column / columns * columns, y = i32(corner.row) + row / 64 * 64;
    if constexpr (RANK == 2) tma_store(buffer, map, x, y);
    if constexpr (RANK == 3) tma_store(buffer, map, x, y, i32(corner.y));
    if constexpr (RANK == 4) tma_store(buffer, map, x, y, i32(corner.y), i32(corner.z));
    tma_store_commit();
  }
};
