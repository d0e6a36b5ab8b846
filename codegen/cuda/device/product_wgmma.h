// Products on Hopper's tensor cores: acc[row, column] = sum over k of a(row, k) * b(k, column), tile after tile. One
// warpgroup, the producer, brings ROWS x DEPTH of a and DEPTH x COLUMNS of b into the next of STAGES slots of a ring in
// shared memory; CONSUMERS warpgroups multiply what has come and give the slot back. A block walks over many tiles and
// the producer does not stop where one ends: the next tile's operands come in while the consumers write out the last.
// The consumers share each tile by rows (by columns where there are fewer than 64 rows for each) or, ALTERNATE, take
// turns: one writes out its tile while the next multiplies, which pays where k is short.
//
//   typedef product_wgmma<atom_f16, 128, 256, 64, 4, 2> product;
//   extern "C" __global__ void __launch_bounds__(product::threads, 1) kernel(const __grid_constant__ tensor_map a, ...)
//   {
//     DYNAMIC_SHARED(shared);  // product::shared_bytes
//     product::run(shared, tiles,
//                  [&](i64 tile) { return product::tile(mapped<u16, true>(&a, first_row), b..., k_begin, k_end); },
//                  [&](i64 tile, int thread, const product::results& acc) { ... product::row_of(thread, e) ... });
//   }
//
// Operands are mapped (wgmma_ring.h), copied or computed (operand.h): the latter two cost the producer registers, which
// the consumers then lack, and take any order that a function can tell: images under a kernel, gathered rows, weights
// to be decoded. k is cut into steps of DEPTH from k_begin on. Beyond k_end a mapped operand is zero only where its
// tensor ends too, so parts of a longer k end at multiples of DEPTH. f32 operands count without their low 13 bits; the
// copy engine rounds them to tf32 if the map says so.

template <class A, class B, class RESIDUAL>
struct tile_of_product {
  typedef A a_operand;
  typedef B b_operand;
  typedef RESIDUAL residual_operand;
  A a;
  B b;
  i64 k_begin, k_end;
  RESIDUAL residual;
};

template <class ATOM, int ROWS, int COLUMNS, int DEPTH, int STAGES, int CONSUMERS, bool ALTERNATE = false>
struct product_wgmma {
  typedef typename ATOM::accumulator accumulator;
  // `down` by `across` consumers share a tile, each has `blocks` blocks of 64 rows by `width` columns.
  static constexpr int down = ALTERNATE ? 1 : ROWS / 64 < CONSUMERS ? ROWS / 64 : CONSUMERS;
  static constexpr int across = ALTERNATE ? 1 : CONSUMERS / down;
  static constexpr int blocks = ROWS / (64 * down), width = COLUMNS / across;
  static_assert(ROWS == 64 * down * blocks && COLUMNS == across * width, "the consumers share a tile evenly");
  static_assert(CONSUMERS >= 1 && CONSUMERS <= 3 && (ALTERNATE || down * across == CONSUMERS), "1 to 3 consumers");
  static_assert(STAGES >= 2, "one slot is filled while another is multiplied");
  static constexpr int registers = width / 2;  // of one block

  static constexpr int threads = 128 * (1 + CONSUMERS);
  static constexpr int elements = blocks * registers;
  typedef accumulator results[elements];
  static constexpr int bytes_a = ROWS * DEPTH * sizeof(typename ATOM::element_a);
  static constexpr int bytes_b = COLUMNS * DEPTH * sizeof(typename ATOM::element_b);
  typedef ring_of_slots<STAGES, bytes_a, bytes_b, ALTERNATE ? CONSUMERS : 0> ring;
  static constexpr int shared_bytes = ring::bytes;  // aligned to 1024

  // Which element of the tile acc[e] of a thread is; e = 2i, 2i + 1 are adjacent columns.
  static DEV_MEMBER constexpr int row_of(int thread, int e) {
    return (thread / 128 % down * blocks + e / registers) * 64 + wgmma_row_of(thread, e % registers);
  }
  static DEV_MEMBER constexpr int column_of(int thread, int e) {
    return thread / 128 / down * width + wgmma_column_of(thread, e % registers);
  }

  template <class A, class B, class RESIDUAL = no_residual>
  static DEV_MEMBER tile_of_product<A, B, RESIDUAL> tile(A a, B b, i64 k_begin, i64 k_end, RESIDUAL residual = {}) {
    return {a, b, k_begin, k_end, residual};
  }

  template <class TILE>
  using slots_of_residual = residual_slots<typename TILE::residual_operand, ROWS, COLUMNS, ring::slot_bytes>;
  template <class TILE>
  using residual_of = residual_reader<product_wgmma, ring, slots_of_residual<TILE>>;

  // By all threads of a one-dimensional grid. tile_of(i64 tile) describes one of `tiles`; epilogue(i64 tile, int
  // thread, const results& acc) writes it out, called by the threads that hold it, counted as row_of() and column_of()
  // count; where tiles have a residual (wgmma_residual.h), with a residual_of<tile>& behind, which reads it.
  template <class TILE_OF, class EPILOGUE>
  static DEV_MEMBER void run(char* shared, i64 tiles, const TILE_OF& tile_of, const EPILOGUE& epilogue) {
    typedef decltype(tile_of(0)) tile;
    typedef slot_filler<typename tile::a_operand, ROWS, DEPTH, 64> fill_a;
    typedef slot_filler<typename tile::b_operand, COLUMNS, DEPTH, width> fill_b;
    typedef slots_of_residual<tile> residual;
    typedef ring_producer<ring, fill_a, fill_b, DEPTH, residual> producer;
    static_assert(!ALTERNATE || residual::slots <= 1, "what a turn waits for is there before its first slot is empty");
    const ring slots{shared};
    slots.begin(producer::arrivals, ALTERNATE ? 4 : 4 * CONSUMERS);
    if (threadIdx.x < 128) {
      if constexpr (CONSUMERS > 1) give_registers<registers_of_producer<producer::moves>()>();
      if (!producer::moves && threadIdx.x != 0) return;
      producer producer(slots);
      for (i64 number = blockIdx.x; number < tiles; number += gridDim.x) producer.fill(tile_of(number));
      producer.end();
    } else {
      if constexpr (CONSUMERS > 1) take_registers<registers_of_consumer<producer::moves>()>();
      consume<typename fill_a::layout, typename fill_b::layout, residual>(slots, tiles, tile_of, epilogue);
    }
  }

 private:
  // A block of 1 + CONSUMERS warpgroups has 504 or 512 registers a thread of one; what the producer keeps suffices to
  // move chunks, or to ask for boxes.
  template <bool MOVES>
  static DEV_MEMBER constexpr int registers_of_producer() {
    return CONSUMERS == 2 ? (MOVES ? 120 : 40) : MOVES ? 104 : 32;
  }
  template <bool MOVES>
  static DEV_MEMBER constexpr int registers_of_consumer() {
    return CONSUMERS == 2 ? (MOVES ? 192 : 232) : MOVES ? 136 : 160;
  }

  template <class IN_A, class IN_B, class RESIDUAL, class TILE_OF, class EPILOGUE>
  static DEV_MEMBER void consume(ring slots, i64 tiles, const TILE_OF& tile_of, const EPILOGUE& epilogue) {
    const int thread = int(threadIdx.x) - 128;
    const int group = shuffle_from(thread / 128, 0);  // the same in a warp, and known to be
    ring_place<STAGES> place;
    i64 turn = 0;
    for (i64 number = blockIdx.x; number < tiles; number += gridDim.x, ++turn) {
      const auto tile = tile_of(number);
      const int steps = int((tile.k_end - tile.k_begin + DEPTH - 1) / DEPTH);
      if (ALTERNATE && turn % CONSUMERS != group) {
        place.advance(steps + RESIDUAL::slots);
        continue;
      }
      // A phase's parity tells it from the one before, so nobody waits for a slot two rounds ahead.
      if (ALTERNATE && turn > 0) mbarrier_wait(slots.turn(group), u32((turn - 1) / CONSUMERS) & 1);
      results acc;
      multiply<IN_A, IN_B, RESIDUAL>(slots, place, steps, group, acc);
      int holder = ALTERNATE ? thread % 128 : thread;
      wgmma_settle(holder);  // else the addresses of all its elements are computed up front, and spill
      if constexpr (RESIDUAL::slots > 0) {
        residual_reader<product_wgmma, ring, RESIDUAL> residual{slots, place, {}};
        epilogue(number, holder, acc, residual);
        place.advance(RESIDUAL::slots);
      } else {
        epilogue(number, holder, acc);
      }
    }
  }

  // While the products of one slot run, those of the next are asked for; only then is the first waited for and given
  // back. A turn ends when all slots of its tile are full, the residual's too: whoever is next may come to the same
  // ones a round later.
  template <class IN_A, class IN_B, class RESIDUAL>
  static DEV_MEMBER void multiply(ring slots, ring_place<STAGES>& place, int steps, int group, results& acc) {
    const int part = ALTERNATE ? 0 : group;
    const u32 low_a = IN_A::low_word(slots.address + part % down * blocks * IN_A::bytes_of(64));
    const u32 low_b = IN_B::low_word(slots.address + bytes_a + part / down * IN_B::bytes_of(width));
    const auto give_back = [&](int slot) {
      if (threadIdx.x % 32 == 0) mbarrier_arrive(slots.empty(slot));
    };
    const auto next_turn = [&] {
      if (ALTERNATE && RESIDUAL::slots > 0) mbarrier_wait(slots.full(place.slot), place.parity);
      if (ALTERNATE && threadIdx.x % 32 == 0) mbarrier_arrive(slots.turn(group == CONSUMERS - 1 ? 0 : group + 1));
    };
    const auto begin_slot = [&](bool accumulate) {
      mbarrier_wait(slots.full(place.slot), place.parity);
      wgmma_fence();
      const u32 slot = u32(place.slot) * (ring::slot_bytes >> 4);
      multiply_slot<IN_A, IN_B>(low_a + slot, low_b + slot, accumulate, acc);
      wgmma_commit();
    };
    if (steps <= 0) {
      _Pragma("unroll") for (int e = 0; e < elements; ++e) acc[e] = 0;
      sync_warp();  // no lane may find the barrier of its turn two phases ahead
      next_turn();
      return;
    }
    begin_slot(false);
    int last = place.slot;
    place.advance();
    _Pragma("unroll 1") for (int step = 1; step < steps; ++step) {
      begin_slot(true);
      wgmma_wait<1>();
      give_back(last);
      last = place.slot;
      place.advance();
    }
    sync_warp();  // as above: with one step alone nothing else keeps the lanes together
    next_turn();
    wgmma_wait<0>();
    give_back(last);
    _Pragma("unroll") for (int e = 0; e < elements; ++e) wgmma_settle(acc[e]);
  }

  template <class IN_A, class IN_B>
  static DEV_MEMBER void multiply_slot(u32 low_a, u32 low_b, bool accumulate, results& acc) {
    constexpr int k_of_product = IN_A::k_of_product;
    _Pragma("unroll") for (int k = 0; k < DEPTH; k += k_of_product)
        _Pragma("unroll") for (int block = 0; block < blocks; ++block)
            wgmma_instruction<ATOM, width>::template issue<IN_A::along_k, IN_B::along_k>(
                acc + block * registers, IN_A::descriptor(low_a, block * 64, k), IN_B::descriptor(low_b, 0, k),
                accumulate || k > 0);
  }
};
