// Scores, weights and results as tensor cores leave them with a lane: of its warp's 16 rows g = lane / 4 and g + 8, of
// each 8 columns the two from 2 (lane mod 4) on. Element e is of row g + 8 (e / 2 mod 2) and column e / 4 * 8 +
// 2 (lane mod 4) + e mod 2. After attend.h and atoms.h.

// How a lane's weights for 16 keys of 16 bits, or 8 of f32, become its fragment. `first` and `second` are its elements
// of the accumulators of 8 keys each: rows g (twice) and g + 8, keys 2t and 2t + 1.
struct weights_f16 {
  static constexpr bool even_first = false;
  static DEV_MEMBER void pack(u32 (&a)[4], const f32* first, const f32* second) {
    a[0] = pair_of_f16(first[0], first[1]), a[1] = pair_of_f16(first[2], first[3]);
    a[2] = pair_of_f16(second[0], second[1]), a[3] = pair_of_f16(second[2], second[3]);
  }
};
struct weights_bf16 {
  static constexpr bool even_first = false;
  static DEV_MEMBER void pack(u32 (&a)[4], const f32* first, const f32* second) {
    a[0] = pair_of_bf16(first[0], first[1]), a[1] = pair_of_bf16(first[2], first[3]);
    a[2] = pair_of_bf16(second[0], second[1]), a[3] = pair_of_bf16(second[2], second[3]);
  }
};
// A fragment has keys t and t + 4, the lane 2t and 2t + 1: so that is the order of keys, and of the rows of values.
struct weights_f32 {
  static constexpr bool even_first = true;
  static DEV_MEMBER void pack(u32 (&a)[4], const f32* first, const f32* /*second*/) {
    a[0] = bits_of(first[0]), a[1] = bits_of(first[2]);
    a[2] = bits_of(first[1]), a[3] = bits_of(first[3]);
  }
};
template <class ATOM>
struct weights_of : weights_f32 {};
template <>
struct weights_of<atom_f16> : weights_f16 {};
template <>
struct weights_of<atom_bf16> : weights_bf16 {};

// Biases of a lane's scores of a tile of keys: of each 8 keys the lane's two, in its upper row, then in its lower one.
template <int KEYS, class SCORE>
struct biases_of_lane {
  typedef typename SCORE::bias_type bias;
  typedef typename bias::element T;
  typedef typename bias::pair pair;
  static constexpr int rows = SCORE::is_shared ? 1 : 2, count = KEYS / 8 * rows;
  static constexpr int words = count * int(sizeof(pair)) / 4;
  pair pairs[count];

  DEV_MEMBER void load(const biases_of_rows<T>& from, int left, bool in_pairs) {
    each(from, left, in_pairs, [&](int i, pair codes) { pairs[i] = codes; });
  }
  DEV_MEMBER void add(f32 (&scores)[KEYS / 2], const SCORE& score) const {
    _Pragma("unroll") for (int i = 0; i < count; ++i) add_pair(scores, score, i, pairs[i]);
  }
  static DEV_MEMBER void load_and_add(f32 (&scores)[KEYS / 2], const SCORE& score, const biases_of_rows<T>& from,
                                      int left, bool in_pairs) {
    each(from, left, in_pairs, [&](int i, pair codes) { add_pair(scores, score, i, codes); });
  }

 private:
  // From the lane's first key of the tile on, `left` of them; in pairs that are aligned, or one by one.
  template <class TAKE>
  static DEV_MEMBER void each(const biases_of_rows<T>& from, int left, bool in_pairs, const TAKE& take) {
    if (in_pairs && left >= KEYS - 6) {
      _Pragma("unroll") for (int i = 0; i < count; ++i) take(i, load_packet_of(at(from, i)));
    } else {
      _Pragma("unroll") for (int i = 0; i < count; ++i) {
        const int key = i / rows * 8;
        const T first = key < left ? at(from, i)[0] : T(0), second = key + 1 < left ? at(from, i)[1] : T(0);
        take(i, bias::join(first, second));
      }
    }
  }
  static DEV_MEMBER pair load_packet_of(const T* from) { return load_packet<int(2 * sizeof(T))>(from); }
  static DEV_MEMBER const T* at(const biases_of_rows<T>& from, int i) {
    return (i % rows ? from.lower : from.upper) + i / rows * 8;
  }
  static DEV_MEMBER void add_pair(f32 (&scores)[KEYS / 2], const SCORE& score, int i, pair codes) {
    _Pragma("unroll") for (int row = i % rows; row < 2; row += rows) {
      f32* const of = scores + i / rows * 4 + row * 2;
      of[0] = score.add(of[0], codes, 0);
      of[1] = score.add(of[1], codes, 1);
    }
  }
};
template <int KEYS, class SCORE>
struct biases_of_none {
  static constexpr int words = 0;
};

// What a lane's scores of KEYS keys at a time go through, over a range of keys: biased and hidden as SCORE says, and
// hidden from the range's end on. Keys are counted from the range's begin.
template <int KEYS, class SCORE>
struct scores_of_lane {
  typedef typename either<SCORE::is_biased, biases_of_lane<KEYS, SCORE>, biases_of_none<KEYS, SCORE>>::type biases;
  typedef decltype(((const SCORE*)nullptr)->of_rows(0, 0)) biased_rows;
  static constexpr int bias_words = biases::words;
  const SCORE& score;
  i64 begin;
  int row, lane_key, keys, seen, seen_above, seen_below;  // seen by the first row of all; by the lane's two
  biased_rows of_rows;
  bool in_pairs = false;

  // `row` is g, `first` the first row that any lane has who comes here with this one.
  DEV_MEMBER scores_of_lane(const SCORE& score, int row, int first, i64 begin, i64 end)
      : score(score),
        begin(begin),
        row(row),
        lane_key(int(threadIdx.x % 4) * 2),
        keys(int(end - begin)),
        seen(seen_by(first)),
        seen_above(seen_by(row) - lane_key),
        seen_below(seen_by(row + 8) - lane_key),
        of_rows(score.of_rows(row, row + 8)) {
    if constexpr (SCORE::is_biased) {
      of_rows.upper += begin + lane_key;
      of_rows.lower += begin + lane_key;
      in_pairs = SCORE::has_pairs(of_rows);
    }
  }
  // Of the tile from `key` on: what is to be added to its scores, which may still be on their way.
  DEV_MEMBER void load(biases& added, int key) const {
    if constexpr (SCORE::is_biased) added.load(biases_at(key), keys - lane_key - key, in_pairs);
  }
  // Null: it has not been loaded.
  DEV_MEMBER void finish(f32 (&scores)[KEYS / 2], const biases* added, int key) const {
    if constexpr (SCORE::is_biased) {
      if (added)
        added->add(scores, score);
      else
        biases::load_and_add(scores, score, biases_at(key), keys - lane_key - key, in_pairs);
    } else if constexpr (!SCORE::is_scaled) {
      const i64 first = begin + key + lane_key;
      _Pragma("unroll") for (int e = 0; e < KEYS / 2; ++e) {
        scores[e] = score.at(row + e / 2 % 2 * 8, first + e / 4 * 8 + e % 2, scores[e]);
      }
    }
    if (seen >= key + KEYS) return;
    _Pragma("unroll") for (int e = 0; e < KEYS / 2; ++e) {
      if (e / 4 * 8 + e % 2 >= (e / 2 % 2 ? seen_below : seen_above) - key) scores[e] = minus_infinity();
    }
  }

 private:
  DEV_MEMBER biased_rows biases_at(int key) const {
    if constexpr (SCORE::is_biased)
      return {of_rows.upper + key, of_rows.lower + key};
    else
      return {};
  }
  DEV_MEMBER int seen_by(int r) const {
    if (!SCORE::is_causal) return keys;
    const i64 count = score.seen(r) - begin;
    return count < 0 ? 0 : count < keys ? int(count) : keys;
  }
};

// The softmax of a lane's two rows.
struct softmax_rows {
  softmax_row upper, lower;
  f32 shrink_upper, shrink_lower;  // of what was weighed before the last tile

  DEV_MEMBER void clear() {
    upper.clear();
    lower.clear();
  }
  // Scores become weights.
  template <int COUNT>
  DEV_MEMBER void weigh(f32 (&scores)[COUNT], f32 factor) {
    shrink_upper = weigh<0>(scores, upper, factor);
    shrink_lower = weigh<2>(scores, lower, factor);
  }
  // Does any lane of the warp have anything to shrink?
  DEV_MEMBER bool shrinks() const { return any_lane(shrink_upper != 1 || shrink_lower != 1); }
  // Always true, but ptxas must make the sums to find out: a barrier in its schedule, which does not move the weights
  // behind what depends on this.
  DEV_MEMBER bool sums_are_made() const { return !(upper.sum + lower.sum < 0); }
  template <int COUNT>
  DEV_MEMBER void shrink(f32 (&result)[COUNT]) const {
    scale(result, shrink_upper, shrink_lower);
  }
  // After the last tile.
  template <int COUNT>
  DEV_MEMBER void divide(f32 (&result)[COUNT]) {
    upper.sum = reduce_lanes<sum, 4>(upper.sum);
    lower.sum = reduce_lanes<sum, 4>(lower.sum);
    scale(result, 1 / upper.sum, 1 / lower.sum);
  }

 private:
  template <int FIRST, int COUNT>
  static DEV_MEMBER f32 weigh(f32 (&scores)[COUNT], softmax_row& row, f32 factor) {
    typedef softmax_row::larger larger;
    f32 odd = minus_infinity(), even = minus_infinity();  // two chains: a warp has few others to wait for
    _Pragma("unroll") for (int e = FIRST; e < COUNT; e += 4) {
      even = larger::of(even, scores[e]);
      odd = larger::of(odd, scores[e + 1]);
    }
    const f32 shrink = row.raise(reduce_lanes<larger, 4>(larger::of(even, odd)), factor);
    even = row.sum * shrink;
    odd = 0;
    _Pragma("unroll") for (int e = FIRST; e < COUNT; e += 4) {
      even += scores[e] = row.weight(scores[e], factor);
      odd += scores[e + 1] = row.weight(scores[e + 1], factor);
    }
    row.sum = even + odd;
    return shrink;
  }
  template <int COUNT>
  static DEV_MEMBER void scale(f32 (&result)[COUNT], f32 by_upper, f32 by_lower) {
    _Pragma("unroll") for (int e = 0; e < COUNT; ++e) result[e] *= e / 2 % 2 ? by_lower : by_upper;
  }
};

// A lane's pairs of columns become runs of 8, so that they are stored as 16 bytes of halves: of each 32 columns it then
// has those from 8 (lane mod 4) on, of its upper row, then of its lower one. Other numbers of columns stay pairs.
template <int COLUMNS>
struct columns_of_lane {
  static constexpr bool in_runs = COLUMNS % 32 == 0;
  static DEV_MEMBER constexpr int row_of(int lane, int e) { return lane / 4 + (in_runs ? e / 8 % 2 : e / 2 % 2) * 8; }
  static DEV_MEMBER constexpr int column_of(int lane, int e) {
    return in_runs ? e / 16 * 32 + lane % 4 * 8 + e % 8 : e / 4 * 8 + lane % 4 * 2 + e % 2;
  }

  // Four lanes turn squares of 4 by 4 pairs.
  static DEV_MEMBER void gather(f32 (&result)[COLUMNS / 2], int lane) {
    if constexpr (in_runs) {
      _Pragma("unroll") for (int first = 0; first < COLUMNS / 2; first += 16) {
        f32 turned[16];
        _Pragma("unroll") for (int e = 0; e < 16; ++e) turned[e] = result[first + e % 8 / 2 * 4 + e / 8 * 2 + e % 2];
        exchange<1>(turned, lane);
        exchange<2>(turned, lane);
        _Pragma("unroll") for (int e = 0; e < 16; ++e) result[first + e] = turned[e];
      }
    }
  }

 private:
  // Of pairs that differ in BIT of their number, a lane whose own number has it gives the lower one.
  template <int BIT>
  static DEV_MEMBER void exchange(f32 (&x)[16], int lane) {
    const bool gives_lower = (lane & BIT) != 0;
    _Pragma("unroll") for (int e = 0; e < 16; ++e) {
      if (e / 2 & BIT) continue;
      const f32 given = gives_lower ? x[e] : x[e + 2 * BIT], taken = shuffle_xor(given, BIT);
      x[e] = gives_lower ? taken : x[e];
      x[e + 2 * BIT] = gives_lower ? x[e + 2 * BIT] : taken;
    }
  }
};
