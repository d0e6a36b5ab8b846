// Results of product_wgmma to memory row by row, where rows do not begin at multiples of 16 bytes and the copy engine
// cannot store them: fragments would go by two bytes, each a transaction's worth of work. After wgmma_store.h.
//
//   typedef rows_wgmma<product, u16> stores;
//   for (int panel = 0; panel < stores::panels; ++panel) {                         // unrolled
//     stores::part part = stores::begin(staging, panel);
//     for (int e = panel * stores::each; e < (panel + 1) * stores::each; ++e)      // unrolled
//       stores::put(part, thread, e, result);                                      // or two of them
//     stores::send(part, first_of_tile, stride, rows, columns, thread, panel);     // what is beyond those is not
//     stored
//   }
//
// A warp lays its 16 rows of 128 bytes into shared memory and stores one after the other, a word a lane. Where a row of
// halves begins between two words, its words are made of neighbours' halves, and its ends are stored as halves.
template <class PRODUCT, class T>
struct rows_wgmma : panels_of_results<PRODUCT, T> {
  typedef panels_of_results<PRODUCT, T> results;
  using results::columns, results::each, results::in_matrices;
  using typename results::part;
  typedef typename results::panel_layout panel_layout;
  static constexpr int shared_bytes = results::consumers * panel_layout::bytes;  // aligned to 1024
  static constexpr int of_word = 4 / int(sizeof(T));

  static DEV_MEMBER part begin(char* staging, int /*panel*/) {
    part result;
    result.buffer = staging + (threadIdx.x / 128 - 1) * panel_layout::bytes;
    return result;
  }

  static DEV_MEMBER void send(const part& part, T* tile, i64 stride, i64 rows, i64 columns_there, int thread,
                              int panel) {
    if constexpr (in_matrices) results::store_matrices(part, thread);
    sync_warp();
    constexpr int at_once = 8;  // a group of the swizzle
    const int lane = int(u32(thread) % 32), row = PRODUCT::row_of(thread, panel * each) / 16 * 16;
    const int column = PRODUCT::column_of(thread, panel * each) / columns * columns;
    const int rows_left = at_most(rows - row, 16), columns_left = at_most(columns_there - column, columns);
    const char* from = part.buffer + u32(thread) % 128 / 32 * 16 * 128;
    T* to = tile + row * stride + column;
    _Pragma("unroll 1") for (int first = 0; first < rows_left; first += at_once, from += at_once * 128) {
      u32 words[at_once];
      _Pragma("unroll") for (int i = 0; i < at_once; ++i) words[i] =
          load_packet<4>(from + panel_layout::offset(i, lane * of_word)).words[0];
      _Pragma("unroll") for (int i = 0; i < at_once; ++i, to += stride) {
        if (first + i >= rows_left) break;
        if (columns_left == columns)
          store_row(to, words[i], lane);
        else
          store_part(to, words[i], lane, columns_left);
      }
    }
    sync_warp();  // the next panel is written there
  }
  static DEV_MEMBER void end() {}

 private:
  static DEV_MEMBER int at_most(i64 count, int most) { return count < most ? int(count) : most; }
  static DEV_MEMBER void store_row(T* to, u32 word, int lane) {
    if (in_matrices && u64(to) % 4 != 0) {
      const u32 next = shuffle_from(word, (lane + 1) % 32);
      if (lane < 31) store_packet<4>(to + lane * of_word + 1, packet<4>{{word >> 16 | next << 16}}, 0);
      const bool begins = lane == 0;
      if (begins || lane == 31)
        store_packet<2>(begins ? to : to + columns - 1, packet<4>{{begins ? word : word >> 16}}, 0);
    } else {
      store_packet<4>(to + lane * of_word, packet<4>{{word}}, 0);
    }
  }
  // The row's end: what is there of a word, element by element.
  static DEV_MEMBER void store_part(T* to, u32 word, int lane, int there) {
    _Pragma("unroll") for (int i = 0; i < of_word; ++i) if (lane * of_word + i < there)
        store_packet<sizeof(T)>(to + lane * of_word + i, packet<4>{{word}}, i * int(sizeof(T)));
  }
};
