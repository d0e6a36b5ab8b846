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

template <int KEYS, class SCORE, class T>
DEV void add_biases(f32 (&scores)[KEYS / 2], const SCORE& score, const biases_of_rows<T>& biases, int lane, i64 key,
                    i64 key_end) {
  const T* const upper = biases.upper + key + lane % 4 * 2;
  const T* const lower = biases.lower + key + lane % 4 * 2;
  const int left = key_end - key < KEYS ? int(key_end - key) - lane % 4 * 2 : KEYS;
  if (left == KEYS) {
    _Pragma("unroll") for (int e = 0; e < KEYS / 2; e += 2) {
      score.add(scores[e], scores[e + 1], (e / 2 % 2 ? lower : upper) + e / 4 * 8, true);
    }
  } else {
    _Pragma("unroll") for (int e = 0; e < KEYS / 2; e += 2) {
      const int k = e / 4 * 8;
      if (k < left) score.add(scores[e], scores[e + 1], (e / 2 % 2 ? lower : upper) + k, k + 1 < left);
    }
  }
}

// Of a tile of scores that begins at `key`, a lane's: biased and hidden as `score` says, and hidden from key_end on.
// `row` is g, `first` the first row of the warp, `biases` score.of_rows(row, row + 8).
template <int KEYS, class SCORE, class BIASES>
DEV void hide_keys(f32 (&scores)[KEYS / 2], const SCORE& score, const BIASES& biases, int row, int first, int lane,
                   i64 key, i64 key_end) {
  const auto key_of = [&](int e) { return e / 4 * 8 + lane % 4 * 2 + e % 2; };
  if constexpr (SCORE::is_biased) {
    add_biases<KEYS>(scores, score, biases, lane, key, key_end);
  } else if constexpr (!SCORE::is_scaled) {
    _Pragma("unroll") for (int e = 0; e < KEYS / 2; ++e) {
      scores[e] = score.at(row + e / 2 % 2 * 8, key + key_of(e), scores[e]);
    }
  }
  const auto seen_by = [&](int r) {
    const i64 left = key_end - key, seen = SCORE::is_causal ? score.seen(r) - key : left,
              both = left < seen ? left : seen;
    return both < 0 ? 0 : both < KEYS ? int(both) : KEYS;
  };
  if (seen_by(first) == KEYS) return;
  const int upper = seen_by(row), lower = seen_by(row + 8);
  _Pragma("unroll") for (int e = 0; e < KEYS / 2; ++e) {
    if (key_of(e) >= (e / 2 % 2 ? lower : upper)) scores[e] = minus_infinity();
  }
}

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
  // Always; that takes the sums to know.
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
