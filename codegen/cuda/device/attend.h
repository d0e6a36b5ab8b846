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
//   biased_score<f16_bias, VECTOR, CAUSAL>{scale, b, bias, stride, rows}
//                                   the same plus bias[row * stride + key], there for rows below `rows`; VECTOR of them
//                                   (1 or 2) are aligned from even keys on
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

struct f16_bias {
  typedef u16 element;
  static DEV_MEMBER f32 decode(u16 code) { return float_of_half(code); }
};
struct bf16_bias {
  typedef u16 element;
  static DEV_MEMBER f32 decode(u16 code) { return float_of(u32(code) << 16); }
};
struct f32_bias {
  typedef f32 element;
  static DEV_MEMBER f32 decode(f32 x) { return x; }
};
template <class BIAS, int VECTOR, bool CAUSAL>
struct biased_score {
  typedef typename BIAS::element T;
  static constexpr bool is_scaled = false, is_biased = true, is_causal = CAUSAL;
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
  // To the scores of two neighbouring keys, of which the second may be beyond the end.
  DEV_MEMBER void add(f32& first, f32& second, const T* from, bool both) const {
    vec<T, 2> pair = {{from[0], 0}};
    if (VECTOR == 2)
      pair = load_run<2>(from);
    else if (both)
      pair.v[1] = from[1];
    first = op_fma(first, scale, BIAS::decode(pair.v[0]));
    second = op_fma(second, scale, BIAS::decode(pair.v[1]));
  }
};

// The softmax of one row so far: exponentials are of 2, relative to the largest score.
struct softmax_row {
  f32 most, sum;  // most: score times factor

  DEV_MEMBER void clear() {
    most = minus_infinity();
    sum = 0;
  }
  // Of scores; one that is NaN makes a weight of NaN soon enough.
  struct larger {
    static constexpr bool symmetric = true;
    static DEV_MEMBER f32 of(f32 x, f32 y) { return fmaxf(x, y); }
  };
  // A larger maximum, of scores: what was weighed until now shrinks by the result.
  DEV_MEMBER f32 raise(f32 largest, f32 factor) {
    const f32 before = most, now = largest * factor;
    most = now > before ? now : before;
    return fast_exp2(before == most ? 0.0f : before - most);
  }
  // Of a score that is not above the maximum. If all were -inf until now, they weigh nothing.
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
