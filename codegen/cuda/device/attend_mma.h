// Attention by tensor cores: f16, bf16 or tf32. After attend_tensor.h and product_mma.h.
//
// A warp has 16 queries. Their scores with a tile of keys are the accumulators of one product, and as a lane holds them
// they are, rounded, its fragment of the next, by the values: nothing goes through shared memory in between. Queries
// stay in registers where these have room for them (heads of 128 halves, beside 64 keys), else they are read again for
// every tile of keys, one load for each that keys take.

// Of 8 keys the even ones first.
template <class LAYOUT>
struct even_keys_first : LAYOUT {
  static DEV_MEMBER constexpr int offset(int line, int k) {
    return LAYOUT::offset(line, k / 8 * 8 + k % 2 * 4 + k % 8 / 2);
  }
};

template <class ATOM, int ROWS, int KEYS, int WIDTH, int VALUES, int WARPS, int STAGES>
struct attend_mma {
  typedef typename ATOM::element_a T;
  typedef weights_of<ATOM> weights;
  typedef typename ATOM::template fragment<4> fragment_a;
  typedef typename ATOM::template fragment<2> fragment_b;
  static constexpr int threads = 32 * WARPS, size = int(sizeof(T)), depth = 32 / size;  // depth: of an atom
  static constexpr int steps = WIDTH / depth, key_steps = KEYS / depth, atoms_k = KEYS / 8, atoms_v = VALUES / 8;
  // Registers that results, scores and queries may take.
  static constexpr int most = size == 2 ? 128 : 88;
  static constexpr bool holds_queries = (atoms_v + atoms_k) * 4 + steps * int(sizeof(fragment_a)) / 4 <= most;
  static constexpr int held_steps = holds_queries ? steps : 1;
  static constexpr int bytes_q = ROWS * WIDTH * size, bytes_k = KEYS * WIDTH * size, bytes_v = KEYS * VALUES * size;
  static constexpr int shared_bytes = bytes_q + STAGES * (bytes_k + bytes_v);
  static_assert(ROWS == 16 * WARPS && KEYS % 16 == 0 && WIDTH % depth == 0 && VALUES % 16 == 0, "uneven tile");

  template <class Q, class K, class V, class SCORE, class OUTPUT, class LOG_SUM>
  static DEV_MEMBER void run(char* shared, i64 key_begin, i64 key_end, const Q& q, const K& k, const V& v,
                             const SCORE& score, const OUTPUT& output, const LOG_SUM& log_sum) {
    typedef swizzled<T, ROWS, WIDTH, !Q::along_k> layout_q;
    typedef swizzled<T, KEYS, WIDTH, !K::along_k> layout_k;
    typedef swizzled<T, VALUES, KEYS, V::along_k && !weights::even_first> layout_v;
    typedef typename either<weights::even_first, even_keys_first<layout_v>, layout_v>::type stored_v;
    const int lane = int(threadIdx.x % 32), first_row = int(threadIdx.x / 32) * 16;
    const int row = first_row + lane / 4;  // and row + 8

    stage_once(shared, mover<Q, turned<layout_q>, WIDTH, ROWS, threads>(q, 0), ROWS);
    const fragment_reader<T, layout_q, 1, steps, true> reader_q(first_row, lane);
    const auto queries_at = [&](int step) {
      u32 loaded[4];
      reader_q.load(loaded, shared, 0, step);
      fragment_a queries;
      queries.prepare(loaded);
      return queries;
    };
    fragment_a queries[held_steps];
    _Pragma("unroll") for (int step = 0; step < held_steps; ++step) queries[step] = queries_at(step);

    const fragment_reader<T, layout_k, KEYS / 16, steps, false> reader_k(0, lane);
    const fragment_reader<T, layout_v, VALUES / 16, key_steps, false> reader_v(0, lane);
    const scores_of_lane<KEYS, SCORE> lane_scores(score, row, first_row, key_begin, key_end);
    softmax_rows rows;
    rows.clear();
    f32 result[atoms_v * 4] = {};
    stage_tiles<KEYS, STAGES, bytes_k, bytes_v>(
        shared + bytes_q, key_begin, key_end, mover<K, turned<layout_k>, WIDTH, KEYS, threads>(k, key_begin),
        mover<V, stored_v, VALUES, KEYS, threads>(v, key_begin), [&](const char* slot_k, const char* slot_v, i64 key) {
          f32 scores[atoms_k * 4] = {};
          _Pragma("unroll") for (int step = 0; step < steps; ++step) {
            multiply<atoms_k>(scores, holds_queries ? queries[step % held_steps] : queries_at(step), reader_k, slot_k,
                              step);
          }
          lane_scores.finish(scores, nullptr, int(key - key_begin));
          rows.weigh(scores, score.factor());
          rows.shrink(result);
          _Pragma("unroll") for (int step = 0; step < key_steps; ++step) {
            multiply<atoms_v>(result, weights_at(scores, step), reader_v, slot_v, step);
          }
        });

    rows.divide(result);
    typedef columns_of_lane<VALUES> columns;
    columns::gather(result, lane);
    _Pragma("unroll") for (int e = 0; e < atoms_v * 4; e += 2) {
      output(first_row + columns::row_of(lane, e), columns::column_of(lane, e), result[e], result[e + 1]);
    }
    log_sum(row, rows.upper.log_sum());
    log_sum(row + 8, rows.lower.log_sum());
  }

 private:
  // sums, 16 rows by ATOMS * 8 columns, += one step along k.
  template <int ATOMS, class READER>
  static DEV_MEMBER void multiply(f32 (&sums)[ATOMS * 4], const fragment_a& rows, const READER& reader,
                                  const char* slot, int step) {
    _Pragma("unroll") for (int j = 0; j < ATOMS; j += 2) {
      u32 loaded[4];
      reader.load(loaded, slot, j / 2, step);
      _Pragma("unroll") for (int n = 0; n < 2; ++n) {
        const u32 pair[2] = {loaded[2 * n], loaded[2 * n + 1]};
        fragment_b columns;
        columns.prepare(pair);
        const int first = (j + n) * 4;
        f32 d[4] = {sums[first], sums[first + 1], sums[first + 2], sums[first + 3]};
        ATOM::multiply(d, rows, columns);
        _Pragma("unroll") for (int e = 0; e < 4; ++e) sums[first + e] = d[e];
      }
    }
  }

  static DEV_MEMBER fragment_a weights_at(const f32 (&scores)[atoms_k * 4], int step) {
    constexpr int atoms = depth / 8;  // of scores in a step: 2, or 1 of f32
    const int first = step * atoms * 4;
    u32 bits[4];
    weights::pack(bits, scores + first, scores + first + (atoms - 1) * 4);
    fragment_a fragment;
    fragment.prepare(bits);
    return fragment;
  }
};
