// Attention of a block's queries over a range of keys, one pass: scores, softmax and weighted sum a tile of keys at a
// time, with a running maximum (FlashAttention-2, arXiv 2307.08691). After staging.h and reduce.h; see attend_mma.h and
// attend_fma.h for ways to multiply; attend_wgmma.h is called otherwise.
//
//   typedef attend_mma<atom_f16, ROWS, KEYS, WIDTH, VALUES, WARPS, STAGES> attention;
//   attention::run(shared, key_begin, key_end, q, k, v, score, output, log_sum);
//
// q, k and v are operands whose lines are the columns of a head and whose k is the position in the sequence: a query of
// the block for q (0 <= position < ROWS), a key for k and v. So in a row-major sequence chunks are along the line.
// Positions beyond the queries and columns beyond the width are for `at` to find; keys from key_end on have no weight.
//
// score: the score of a pair from the product of its query and key
//   any_score(f)                    f(row, key, s): scaled, biased, minus infinity where masked
//   scaled_score<false>{scale, 0}   s * scale, scale > 0: costs nothing, nor does
//   scaled_score<true>{scale, b}    the same, and minus infinity for keys beyond row + b
//   biased_score<f16_bias, VECTOR, SHARED, CAUSAL>{scale, b, bias, stride, rows}
//                                   the same plus bias[row * stride + key], there for rows below `rows`; VECTOR of them
//                                   (1 or 2) are aligned from even keys on; SHARED by all rows: stride is 0
// output(row, column, x, y)
//   The result at (row, column) and (row, column + 1); called for all ROWS and VALUES.
// log_sum(row, x)
//   The logarithm of the row's sum of exponentials; called by every thread that has part of the row.
//
// A row whose keys are all masked is NaN, as the softmax of minus infinities is.

constexpr f32 kLog2E = 1.44269504f;
DEV f32 minus_infinity() { return -float_of(0x7f800000u); }

struct no_biases {};
template <class T>
struct biases_of_rows {
  const T *upper, *lower;
};

// factor(): what at() is to be multiplied by to be an exponent of 2.
template <class F>
struct score_of_function {
  static constexpr bool is_scaled = false, is_biased = false, is_causal = false;
  F of;
  DEV_MEMBER f32 factor() const { return kLog2E; }
  DEV_MEMBER f32 at(i64 row, i64 key, f32 s) const { return of(row, key, s); }
  DEV_MEMBER i64 seen(i64 /*row*/) const { return 0; }
  DEV_MEMBER no_biases of_rows(i64, i64) const { return {}; }
};
template <class F>
DEV score_of_function<F> any_score(F of) {
  return {of};
}
template <bool CAUSAL>
struct scaled_score {
  static constexpr bool is_scaled = true, is_biased = false, is_causal = CAUSAL;
  f32 scale;
  i64 beyond;
  DEV_MEMBER f32 factor() const { return scale * kLog2E; }
  DEV_MEMBER f32 at(i64 row, i64 key, f32 s) const { return CAUSAL && key >= seen(row) ? minus_infinity() : s; }
  DEV_MEMBER i64 seen(i64 row) const { return row + beyond + 1; }  // keys
  DEV_MEMBER no_biases of_rows(i64, i64) const { return {}; }
};

// A pair is that of two neighbouring keys.
struct f16_bias {
  typedef u16 element;
  typedef packet<4> pair;
  static DEV_MEMBER f32 decode(u16 code) { return float_of_half(code); }
  static DEV_MEMBER pair join(u16 first, u16 second) { return {{first | u32(second) << 16}}; }
  static DEV_MEMBER f32 decode(pair codes, int i) {
    return float_of_half(u16(i ? codes.words[0] >> 16 : codes.words[0]));
  }
};
struct bf16_bias {
  typedef u16 element;
  typedef packet<4> pair;
  static DEV_MEMBER f32 decode(u16 code) { return float_of(u32(code) << 16); }
  static DEV_MEMBER pair join(u16 first, u16 second) { return {{first | u32(second) << 16}}; }
  static DEV_MEMBER f32 decode(pair codes, int i) {
    return float_of(i ? codes.words[0] & 0xffff0000u : codes.words[0] << 16);
  }
};
struct f32_bias {
  typedef f32 element;
  typedef packet<8> pair;
  static DEV_MEMBER f32 decode(f32 x) { return x; }
  static DEV_MEMBER pair join(f32 first, f32 second) { return {{bits_of(first), bits_of(second)}}; }
  static DEV_MEMBER f32 decode(pair codes, int i) { return float_of(codes.words[i]); }
};
template <class BIAS, int VECTOR, bool SHARED, bool CAUSAL>
struct biased_score {
  typedef BIAS bias_type;
  typedef typename BIAS::element T;
  static constexpr bool is_scaled = false, is_biased = true, is_shared = SHARED, is_causal = CAUSAL;
  f32 scale;
  i64 beyond;
  const T* bias;
  i64 stride, rows;
  DEV_MEMBER f32 factor() const { return kLog2E; }
  DEV_MEMBER f32 at(i64 row, i64 key, f32 s) const {
    return CAUSAL && key >= seen(row) ? minus_infinity() : op_fma(s, scale, BIAS::decode(of_row(row)[key]));
  }
  DEV_MEMBER i64 seen(i64 row) const { return row + beyond + 1; }
  DEV_MEMBER const T* of_row(i64 row) const { return bias + (row < rows ? row : rows - 1) * stride; }
  DEV_MEMBER biases_of_rows<T> of_rows(i64 upper, i64 lower) const { return {of_row(upper), of_row(lower)}; }
  // Are pairs of keys aligned in both rows?
  static DEV_MEMBER bool has_pairs(const biases_of_rows<T>& biases) {
    return VECTOR == 2 || ((u64(biases.upper) | u64(biases.lower)) & (2 * sizeof(T) - 1)) == 0;
  }
  DEV_MEMBER f32 add(f32 s, typename BIAS::pair codes, int i) const { return op_fma(s, scale, BIAS::decode(codes, i)); }
};

// The softmax of one row so far: exponentials are of 2, relative to `most`, a score times its factor that once was the
// largest of the row: by now one may be up to 8 above it (raise).
struct softmax_row {
  f32 most, sum;

  DEV_MEMBER void clear() {
    most = minus_infinity();
    sum = 0;
  }
  // Of scores; one that is NaN makes a weight of NaN soon enough.
  struct larger {
    static constexpr bool symmetric = true;
    static DEV_MEMBER f32 of(f32 x, f32 y) { return fmaxf(x, y); }
  };
  // A larger maximum, of scores: what was weighed until now shrinks by the result. It mostly is 1: a maximum that is
  // hardly larger is let be, and weights may then be above 1, up to 2^kMostRise.
  DEV_MEMBER f32 raise(f32 largest, f32 factor) {
    constexpr f32 kMostRise = 8;
    const f32 before = most, now = largest * factor;
    if (!(now > before + kMostRise)) return 1;
    most = now;
    return fast_exp2(before - now);
  }
  // Of a score that is not far above `most`. If all were -inf until now, they weigh nothing.
  DEV_MEMBER f32 weight(f32 score, f32 factor) const {
    return fast_exp2(op_fma(score, factor, most == minus_infinity() ? 0.0f : -most));
  }
  DEV_MEMBER f32 log_sum() const { return (most + log2f(sum)) * 0.693147181f; }
};

// Where (line, k) of an operand is (k, line) of a layout.
template <class LAYOUT>
struct turned {
  static constexpr bool along_k = !LAYOUT::along_k;
  static constexpr int run_bytes = LAYOUT::run_bytes;
  static constexpr bool permuted = LAYOUT::permuted;
  static DEV_MEMBER int offset(int line, int k) { return LAYOUT::offset(k, line); }
};

// All of an operand that is one tile; there for all threads on return.
template <class MOVER>
DEV void stage_once(char* slot, MOVER mover, int depth) {
  mover.begin(slot, 0, depth);
  mover.finish(slot);
  copy_async_commit();
  copy_async_wait<0>();
  barrier();
}
