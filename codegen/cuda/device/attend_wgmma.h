// Attention on Hopper's tensor cores, tile after tile of queries (FlashAttention-3, arXiv 2407.08608). A warpgroup, the
// producer, brings the queries of a tile and then tiles of keys and of values in turn; two warpgroups of 64 rows
// each, the consumers, multiply what has come. Of a consumer the scores of the next keys and the weighted sum of the
// last values are under way together, and while the latter goes on it makes weights of the former. The consumers take
// turns at asking for products, so that those of one run while the other makes weights. After attend_tensor.h,
// wgmma_layout.h and staging.h.
//
//   typedef attend_wgmma<atom_f16, KEYS, WIDTH, VALUES, STAGES> attention;
//   attention::run(shared, tiles, [&](i64 tile) { return attention::tile(q, k, v, score, key_begin, key_end); },
//                  [&](i64 tile, int thread, const attention::results& acc) { … });
//
// Operands and scores are those of attend.h, and operands may be mapped (wgmma_ring.h), each by itself: their lines are
// columns of a head, k of a query counts from the tile's first one. If all are, the producer is one thread, and the
// consumers have its registers. results: of the thread's columns_of_lane, then the logarithms of the sums of its two
// rows. Over no keys results are NaN. Mapped values of keys from key_end on are read as they lie, where their tensor
// has not ended, and weigh 0: a NaN or an infinity among them makes NaN. ONNX's own softmax and product do the same
// with keys that are hidden.
//
// Keys and values come in the order in which they are needed: K0, K1, V0, K2, V1, …; each takes the next of STAGES
// slots. The queries have two places of their own: those of the next tile come while this one is multiplied, keys and
// values behind them as far as there are slots.

template <class Q, class K, class V, class SCORE>
struct tile_of_attention {
  typedef Q q_operand;
  typedef K k_operand;
  typedef V v_operand;
  Q q;
  K k;
  V v;
  SCORE score;
  i64 key_begin, key_end;
};

template <class ATOM, int KEYS, int WIDTH, int VALUES, int STAGES>
struct attend_wgmma {
  typedef typename ATOM::element_a T;
  static_assert(sizeof(T) == 2, "weights of halves are the fragments of the next product as they are");
  static_assert(KEYS % 64 == 0 && WIDTH % 64 == 0 && VALUES % 64 == 0, "operands are panels of 64");
  static_assert(WIDTH <= 128 && VALUES <= 128, "wider heads leave no room for the scores in registers");
  static_assert(STAGES >= 3, "two items are multiplied while another comes");
  static constexpr int consumers = 2, rows = 64 * consumers, threads = 128 * (1 + consumers), elements = VALUES / 2;
  static constexpr int places = 2;  // of queries
  static constexpr int bytes_q = rows * WIDTH * 2, slot_bytes = KEYS * (WIDTH < VALUES ? VALUES : WIDTH) * 2;
  static constexpr int shared_bytes =
      places * bytes_q + STAGES * slot_bytes + (2 * (places + STAGES) + consumers) * kBarrierBytes;  // aligned to 1024
  typedef f32 results[elements + 2];

  template <class Q, class K, class V, class SCORE>
  static DEV_MEMBER tile_of_attention<Q, K, V, SCORE> tile(Q q, K k, V v, SCORE score, i64 key_begin, i64 key_end) {
    return {q, k, v, score, key_begin, key_end};
  }

  // By all threads of a one-dimensional grid; the epilogue by the threads of the consumers, counted from 0.
  template <class TILE_OF, class EPILOGUE>
  static DEV_MEMBER void run(char* shared, i64 tiles, const TILE_OF& tile_of, const EPILOGUE& epilogue) {
    typedef decltype(tile_of(0)) tile;
    typedef wgmma_operand<T, rows, WIDTH, !tile::q_operand::along_k> in_q;
    typedef wgmma_operand<T, KEYS, WIDTH, !tile::k_operand::along_k> in_k;
    typedef wgmma_operand<T, VALUES, KEYS, tile::v_operand::along_k> in_v;
    typedef producer<tile> producer;
    const ring slots{shared};
    slots.begin(producer::arrivals);
    constexpr int given = producer::moves ? 104 : 40, taken = producer::moves ? 200 : 232;  // fewer hold no division
    if (threadIdx.x < 128) {
      give_registers<given>();
      if (!producer::moves && threadIdx.x != 0) return;
      producer producer(slots);
      for (i64 number = blockIdx.x; number < tiles; number += gridDim.x) producer.fill(tile_of(number));
      producer.end();
    } else {
      take_registers<taken>();
      const int thread = int(threadIdx.x) - 128;
      consumer<in_q, in_k, in_v, taken> consumer(slots, shuffle_from(thread / 128, 0));
      for (i64 number = blockIdx.x; number < tiles; number += gridDim.x) {
        results acc;
        consumer.attend(tile_of(number), acc);
        int holder = thread;
        wgmma_settle(holder);  // else the addresses of all its elements are computed up front
        epilogue(number, holder, acc);
      }
    }
  }

 private:
  // Places of queries, slots, and their barriers: one for full and one for empty; of each consumer one that ends a
  // phase when it is its turn.
  struct ring {
    char* memory;
    u32 address;
    DEV_MEMBER ring(char* shared) : memory(shared), address(u32(opaque(int(shared_address(shared))))) {}
    static DEV_MEMBER int at_queries(int place) { return place * bytes_q; }
    static DEV_MEMBER int at(int slot) { return places * bytes_q + slot * slot_bytes; }
    DEV_MEMBER u32 full(int slot) const { return address + at(STAGES) + slot * kBarrierBytes; }
    DEV_MEMBER u32 empty(int slot) const { return full(STAGES + slot); }
    DEV_MEMBER u32 full_queries(int place) const { return empty(STAGES + place); }
    DEV_MEMBER u32 empty_queries(int place) const { return full_queries(places + place); }
    DEV_MEMBER u32 turn(int group) const { return empty_queries(places + group); }
    DEV_MEMBER void begin(u32 arrivals_to_fill) const {
      if (threadIdx.x == 0) {
        for (int i = 0; i < STAGES; ++i) mbarrier_init(full(i), arrivals_to_fill);
        for (int i = 0; i < STAGES; ++i) mbarrier_init(empty(i), 4 * consumers);
        for (int i = 0; i < places; ++i) mbarrier_init(full_queries(i), arrivals_to_fill);
        for (int i = 0; i < places; ++i) mbarrier_init(empty_queries(i), 4 * consumers);
        for (int group = 0; group < consumers; ++group) mbarrier_init(turn(group), 4);
        mbarrier_init_fence();
      }
      barrier();
    }
  };

  // Where an item goes.
  struct destination {
    int at;
    u32 full, empty, parity;
  };

  // Every warp that moves anything arrives for every item; one that it moved itself is announced one item later, when
  // its copies are through.
  template <class TILE>
  struct producer {
    typedef slot_filler<typename TILE::q_operand, WIDTH, rows, 64> fill_q;
    typedef slot_filler<typename TILE::k_operand, WIDTH, KEYS, 64> fill_k;
    typedef slot_filler<typename TILE::v_operand, VALUES, KEYS, 64> fill_v;
    static constexpr bool moves = !fill_q::is_mapped || !fill_k::is_mapped || !fill_v::is_mapped;
    static constexpr u32 arrivals = moves ? 4 : 1;

    ring slots;
    ring_place<STAGES> place;
    ring_place<places> queries;
    u32 unannounced = 0;

    DEV_MEMBER producer(ring slots) : slots(slots) {}

    DEV_MEMBER void fill(const TILE& tile) {
      if (tile.key_begin >= tile.key_end) return;
      {
        fill_q q(tile.q, 0);
        const int to = queries.slot;
        bring(q, {ring::at_queries(to), slots.full_queries(to), slots.empty_queries(to), queries.parity}, 0, rows);
        queries.advance();
      }
      fill_k k(tile.k, tile.key_begin);
      fill_v v(tile.v, tile.key_begin);
      _Pragma("unroll 1") for (i64 key = tile.key_begin; key < tile.key_end + KEYS; key += KEYS) {
        if (key < tile.key_end) bring_keys(k, key, tile.key_end);
        if (key > tile.key_begin) bring_keys(v, key - KEYS, tile.key_end);
      }
    }
    DEV_MEMBER void end() {
      if (unannounced) announce<0>();
    }

   private:
    template <class FILLER>
    DEV_MEMBER void bring_keys(FILLER& filler, i64 key, i64 key_end) {
      const int left = key_end - key < KEYS ? int(key_end - key) : KEYS, to = place.slot;
      bring(filler, {ring::at(to), slots.full(to), slots.empty(to), place.parity}, key, left);
      place.advance();
    }
    template <class FILLER>
    DEV_MEMBER void bring(FILLER& filler, const destination& to, i64 key, int left) {
      constexpr bool mapped = FILLER::is_mapped;
      filler.begin(key, left);
      mbarrier_wait(to.empty, to.parity ^ 1);
      if (mapped && threadIdx.x == 0)
        mbarrier_arrive_expecting(to.full, FILLER::layout::bytes);
      else if (mapped && threadIdx.x % 32 == 0)
        mbarrier_arrive(to.full);
      filler.fill(slots.memory + to.at, slots.address + to.at, key, left, to.full);
      if constexpr (moves) {
        if (!mapped) copy_async_commit();
        if (unannounced) announce<mapped ? 0 : 1>();
        unannounced = mapped ? 0 : to.full;
      }
    }
    template <int PENDING>
    DEV_MEMBER void announce() {
      copy_async_wait<PENDING>();
      fence_proxy_async();
      sync_warp();
      if (threadIdx.x % 32 == 0) mbarrier_arrive(unannounced);
    }
  };

  // Of so many REGISTERS that what is added to scores can mostly come before they do.
  template <class IN_Q, class IN_K, class IN_V, int REGISTERS>
  struct consumer {
    ring slots;
    int group, row, lane;
    u32 turn;
    ring_place<STAGES> place;
    ring_place<places> queries;

    DEV_MEMBER consumer(ring slots, int group)
        : slots(slots),
          group(group),
          row(group * 64 + int(threadIdx.x / 32 % 4) * 16 + int(threadIdx.x % 32 / 4)),
          lane(int(threadIdx.x % 32)),
          turn(group == 0 ? 1 : 0) {}

    template <class TILE>
    DEV_MEMBER void attend(const TILE& tile, results& acc) {
      softmax_rows softmax;
      softmax.clear();
      f32 result[elements];
      if (tile.key_begin >= tile.key_end) {
        _Pragma("unroll") for (int e = 0; e < elements; ++e) result[e] = 0;
      } else {
        f32 scores[KEYS / 2];
        u32 weights[KEYS / 16][4];
        typedef scores_of_lane<KEYS, decltype(tile.score)> scores_of;
        constexpr bool early = scores_of::bias_words + KEYS * 3 / 4 + VALUES / 2 <= REGISTERS - 40;
        const scores_of of(tile.score, row, group * 64, tile.key_begin, tile.key_end);
        typename scores_of::biases added;
        if (early) of.load(added, 0);
        mbarrier_wait(slots.full_queries(queries.slot), queries.parity);
        const int first = begin_scores(scores);
        wgmma_wait<0>();
        settle(scores);
        give_back(first);
        of.finish(scores, early ? &added : nullptr, 0);
        softmax.weigh(scores, tile.score.factor());
        pack(weights, scores);
        bool accumulate = false;
        _Pragma("unroll 1") for (int key = KEYS; key < of.keys; key += KEYS) {
          if (early) of.load(added, key);
          mbarrier_wait(slots.turn(group), turn);
          turn ^= 1;
          const int keys = begin_scores(scores), values = begin_values(result, weights, accumulate);
          sync_warp();  // no lane may find the barrier of its turn two phases ahead
          if (lane == 0) mbarrier_arrive(slots.turn(1 - group));
          accumulate = true;
          wgmma_wait<1>();
          settle(scores);
          of.finish(scores, early ? &added : nullptr, key);
          softmax.weigh(scores, tile.score.factor());
          give_back(keys, softmax.sums_are_made());  // else ptxas makes the weights behind the wait
          wgmma_wait<0>();
          settle(result);
          give_back(values);
          if (softmax.shrinks()) softmax.shrink(result);
          pack(weights, scores);
        }
        if (lane == 0) mbarrier_arrive(slots.empty_queries(queries.slot));
        queries.advance();
        const int last = begin_values(result, weights, accumulate);
        wgmma_wait<0>();
        settle(result);
        give_back(last);
      }
      softmax.divide(result);
      columns_of_lane<VALUES>::gather(result, lane);
      _Pragma("unroll") for (int e = 0; e < elements; ++e) acc[e] = result[e];
      acc[elements] = softmax.upper.log_sum();
      acc[elements + 1] = softmax.lower.log_sum();
    }

   private:
    template <int COUNT>
    static DEV_MEMBER void settle(f32 (&x)[COUNT]) {
      _Pragma("unroll") for (int e = 0; e < COUNT; ++e) wgmma_settle(x[e]);
    }
    DEV_MEMBER void give_back(int slot, bool always = true) const {
      if (lane == 0 && always) mbarrier_arrive(slots.empty(slot));
    }
    // Waits for the next item; its slot.
    DEV_MEMBER int take() {
      const int slot = place.slot;
      mbarrier_wait(slots.full(slot), place.parity);
      place.advance();
      return slot;
    }

    DEV_MEMBER int begin_scores(f32 (&scores)[KEYS / 2]) {
      const int slot = take();
      const u32 low_q = IN_Q::low_word(slots.address + ring::at_queries(queries.slot) + group * IN_Q::bytes_of(64));
      const u32 low = IN_K::low_word(slots.address + ring::at(slot));
      wgmma_fence();
      _Pragma("unroll") for (int d = 0; d < WIDTH; d += 16) {
        wgmma_instruction<ATOM, KEYS>::template issue<IN_Q::along_k, IN_K::along_k>(
            scores, IN_Q::descriptor(low_q, 0, d), IN_K::descriptor(low, 0, d), d > 0);
      }
      wgmma_commit();
      return slot;
    }
    DEV_MEMBER int begin_values(f32 (&result)[elements], const u32 (&weights)[KEYS / 16][4], bool accumulate) {
      const int slot = take();
      const u32 low = IN_V::low_word(slots.address + ring::at(slot));
      wgmma_fence();
      _Pragma("unroll") for (int step = 0; step < KEYS / 16; ++step) {
        wgmma_of_registers<ATOM, VALUES>::template issue<IN_V::along_k>(
            result, weights[step], IN_V::descriptor(low, 0, step * 16), accumulate || step > 0);
      }
      wgmma_commit();
      return slot;
    }

    static DEV_MEMBER void pack(u32 (&weights)[KEYS / 16][4], const f32 (&scores)[KEYS / 2]) {
      _Pragma("unroll") for (int step = 0; step < KEYS / 16; ++step) {
        weights_of<ATOM>::pack(weights[step], scores + step * 8, scores + step * 8 + 4);
      }
    }
  };
};
