// Results of product_wgmma to memory by the copy engine: whole lines of 128 bytes, and nobody asks where the matrix
// ends. After product_wgmma.h.
//
//   typedef store_wgmma<product, u16, 2> stores;
//   product::run(shared, tiles, ..., [&](i64 tile, int thread, const product::results& acc) {
//     for (int panel = 0; panel < stores::panels; ++panel) {                       // unrolled
//       char* const buffer = stores::begin(staging, panel);
//       for (int e = panel * stores::each; e < (panel + 1) * stores::each; e += 2)  // unrolled
//         stores::put(buffer, thread, e, pair_of_results);
//       stores::send(buffer, &map, {first_column, first_row}, thread, panel);
//     }
//   });
//   stores::end();
//
// A consumer writes 64 rows of 128 bytes into one of its two staging buffers while the engine reads the other. The map
// has RANK dimensions, of which the first is along a row, 128-byte swizzle, and boxes of that size. The functions are
// called by the threads that an epilogue is called by.
struct tile_corner {
  i64 column, row, y = 0, z = 0;  // y and z count from rank 3 and 4 on
};

template <class PRODUCT, class T, int RANK>
struct store_wgmma {
  typedef wgmma_operand<T, 64, 128 / int(sizeof(T)), true> panel_layout;
  static constexpr int columns = 128 / int(sizeof(T)), each = columns / 2;  // of a panel; its elements in a thread
  static constexpr int panels = PRODUCT::elements / each;
  static constexpr int shared_bytes = (PRODUCT::threads / 128 - 1) * 2 * panel_layout::bytes;  // aligned to 1024
  static_assert(PRODUCT::registers % each == 0, "rows of a consumer are whole panels");

  // The panel's buffer, when it is free.
  static DEV_MEMBER char* begin(char* staging, int panel) {
    const u32 group = threadIdx.x / 128;  // the producer is 0
    // The other buffer may still be read, except that a tile begins with the one that an odd tile ended with.
    if (threadIdx.x % 128 == 0) {
      if (panel == 0 && panels % 2 != 0)
        tma_store_wait<0>();
      else
        tma_store_wait<1>();
    }
    barrier(group, 128);
    return staging + ((group - 1) * 2 + panel % 2) * panel_layout::bytes;
  }

  static DEV_MEMBER void put(char* buffer, int thread, int e, const vec<T, 2>& pair) {
    char* const to =
        buffer + panel_layout::offset(PRODUCT::row_of(thread, e) % 64, PRODUCT::column_of(thread, e) % columns);
    store_packet<2 * sizeof(T)>(to, packed(pair), 0);
    wrote_shared(to, 2 * sizeof(T));
  }

  static DEV_MEMBER void send(char* buffer, const tensor_map* map, const tile_corner& corner, int thread, int panel) {
    fence_proxy_async();
    barrier(threadIdx.x / 128, 128);
    if (threadIdx.x % 128 == 0)
      send_box(shared_address(buffer), map, corner, PRODUCT::row_of(thread, panel * each),
               PRODUCT::column_of(thread, panel * each));
  }

  // By all threads, when no tile follows.
  static DEV_MEMBER void end() {
    if (threadIdx.x % 128 == 0) tma_store_wait<0>();
  }

 private:
  // (row, column) is one of the panel's first elements.
  static DEV_MEMBER void send_box(u32 buffer, const tensor_map* map, const tile_corner& corner, int row, int column) {
    const i32 x = i32(corner.column) + column / columns * columns, y = i32(corner.row) + row / 64 * 64;
    if constexpr (RANK == 2) tma_store(buffer, map, x, y);
    if constexpr (RANK == 3) tma_store(buffer, map, x, y, i32(corner.y));
    if constexpr (RANK == 4) tma_store(buffer, map, x, y, i32(corner.y), i32(corner.z));
    tma_store_commit();
  }
};
