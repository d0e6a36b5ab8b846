// What a product's epilogue takes element by element beside its sums, a residual, through the ring that the factors
// come by (wgmma_ring.h): behind the last step of k the producer asks for the tile's part of it, so it comes while the
// consumers still multiply, in whole lines and by nobody's registers. It lies in as few slots as hold it, in panels of
// 128 bytes by the tile's rows; consumers read from there what they have of the sums, pair by pair.
//
//   product::tile(a, b, k_begin, k_end, residual(mapped<u16, true>(&map, first_row), first_column))
//   [&](i64 tile, int thread, const product::results& acc, product::residual_of<tile>& residual) {
//     for (int e = 0; e < product::elements; e += 2)                       // unrolled, none left out
//       const vec<u16, 2> pair = residual.pair(thread, e);  // what belongs to acc[e] and acc[e + 1]
//   }
//
// Boxes of the map are 128 bytes wide by the tile's rows. A slot is given back when a warp has read its last pair.
struct no_residual {};
template <class T, int RANK>
struct mapped_residual {
  mapped_operand<T, true, RANK> from;
  i32 column;
};
template <class T, int RANK>
DEV mapped_residual<T, RANK> residual(mapped_operand<T, true, RANK> from, i64 column) {
  return {from, i32(column)};
}

// How many slots of SLOT_BYTES it takes, and which panels they hold.
template <class RESIDUAL, int ROWS, int COLUMNS, int SLOT_BYTES>
struct residual_slots {
  static constexpr int slots = 0;
  static DEV_MEMBER constexpr u32 bytes_of(int /*slot*/) { return 0; }
  static DEV_MEMBER void ask(const RESIDUAL&, int /*slot*/, u32 /*address*/, u32 /*full*/) {}
};
template <class T, int RANK, int ROWS, int COLUMNS, int SLOT_BYTES>
struct residual_slots<mapped_residual<T, RANK>, ROWS, COLUMNS, SLOT_BYTES> {
  typedef T element;
  typedef wgmma_operand<T, ROWS, 128 / int(sizeof(T)), true> panel;
  static_assert(ROWS <= 256 && COLUMNS % panel::width == 0, "whole boxes");
  static constexpr int panels = COLUMNS / panel::width, most = SLOT_BYTES / panel::bytes;
  static constexpr int slots = (panels + most - 1) / most, each = (panels + slots - 1) / slots;
  static DEV_MEMBER constexpr int panels_of(int slot) { return slot + 1 < slots ? each : panels - slot * each; }
  static DEV_MEMBER constexpr u32 bytes_of(int slot) { return u32(panels_of(slot) * panel::bytes); }

  static DEV_MEMBER void ask(const mapped_residual<T, RANK>& residual, int slot, u32 address, u32 full) {
    typedef slot_filler<mapped_operand<T, true, RANK>, ROWS, panel::width, ROWS> filler;
    _Pragma("unroll") for (int i = 0; i < panels_of(slot); ++i) filler(residual.from, 0)
        .fill(nullptr, address + i * panel::bytes, residual.column + (slot * each + i) * panel::width, panel::width,
              full);
  }
};

// One thread's view of what came: `place` is that of the first slot. Halves are read as 8x8 matrices, four at once,
// which gives a lane four of its pairs.
template <class PRODUCT, class RING, class SLOTS>
struct residual_reader {
  typedef typename SLOTS::element T;
  typedef typename SLOTS::panel panel;
  static_assert(PRODUCT::across == 1, "consumers that share a tile by rows");
  static_assert(SLOTS::slots == 1 || PRODUCT::blocks == 1, "one slot is read after the other");
  RING slots;
  ring_place<RING::stages> place;
  u32 pairs[4];

  DEV_MEMBER vec<T, 2> pair(int thread, int e) {
    constexpr int together = sizeof(T) == 2 ? 8 : 2;  // elements of a lane that are read at once
    constexpr int of_slot = SLOTS::each * panel::width / 2;
    const int within = e % PRODUCT::registers % of_slot;
    if (within == 0) mbarrier_wait(slots.full(place.slot), place.parity);
    const int block = e / PRODUCT::registers, column = within / 4 * 8;
    if (e % together == 0) read(slots.memory + place.slot * RING::slot_bytes, thread, block * 64, column, e);
    const bool ends_row = (e + together) % PRODUCT::registers == 0,
               ends_slot = within + together == of_slot || ends_row;
    if (e % together == 0 && ends_slot && block + 1 == PRODUCT::blocks) give_back();
    vec<T, 2> result;
    memcpy(&result, pairs + (sizeof(T) == 2 ? e % 8 / 2 : 0), sizeof result);
    return result;
  }

 private:
  DEV_MEMBER void read(const char* slot, int thread, int block_row, int column, int e) {
    const int warp_row = thread / 128 * PRODUCT::blocks * 64 + block_row + thread % 128 / 32 * 16, lane = thread % 32;
    const char* const from = slot + column / panel::width * panel::bytes;
    if constexpr (sizeof(T) == 2) {
      const int row = warp_row + lane / 8 % 2 * 8 + lane % 8;
      load_matrix_x4<false>(pairs, from + panel::offset(row, column % panel::width + lane / 16 * 8));
    } else {
      const auto pair = load_packet<8>(
          from + panel::offset(PRODUCT::row_of(thread, e), PRODUCT::column_of(thread, e) % panel::width));
      pairs[0] = pair.words[0], pairs[1] = pair.words[1];
    }
  }
  // The copy engine may write there next.
  DEV_MEMBER void give_back() {
    fence_proxy_async();
    sync_warp();
    if (threadIdx.x % 32 == 0) mbarrier_arrive(slots.empty(place.slot));
    place.advance();
  }
};
