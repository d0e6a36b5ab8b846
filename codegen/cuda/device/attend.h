// Attention of a block's queries over a range of keys, one pass: scores, softmax and weighted sum a tile of keys at a
// time, with a running maximum (FlashAttention-2, arXiv 2307.08691). After staging.h and reduce.h; see attend_mma.h and
// attend_fma.h for the two ways to multiply.
//
//   typedef attend_mma<atom_f16, ROWS, KEYS, WIDTH, VALUES, WARPS, STAGES> attention;
//   attention::run(shared, key_begin, key_end, q, k, v, score, output, log_sum);
//
// q, k and v are operands whose lines are the columns of a head and whose k is the position in the sequence: a query of
// the block for q (0 <= position < ROWS), a key for k and v. So in a row-major sequence chunks are along the line.
// Positions beyond the queries and columns beyond the width are for `at` to find; keys from key_end on have no weight.
//
// score(row, key, s): f32
//   The score of a pair from the product of its query and key: scaled, biased, minus infinity where masked.
// output(row, column, x, y)
//   The result at (row, column) and (row, column + 1); called for all ROWS and VALUES.
// log_sum(row, x)
//   The logarithm of the row's sum of exponentials, for gradients.
//
// A row whose keys are all masked is NaN, as the softmax of minus infinities is.

// The softmax of one row so far: exponentials are of 2, relative to the largest score.
struct softmax_row {
  f32 most, sum;  // most: score times log2(e)
  static constexpr f32 log2_e = 1.44269504f, ln_2 = 0.693147181f;

  DEV_MEMBER void clear() {
    most = -float_of(0x7f800000u);
    sum = 0;
  }
  // Of scores; one that is NaN makes a weight of NaN soon enough.
  struct larger {
    static constexpr bool symmetric = true;
    static DEV_MEMBER f32 of(f32 x, f32 y) { return fmaxf(x, y); }
  };
  // A larger maximum, of scores: what was weighed until now shrinks by the result.
  DEV_MEMBER f32 raise(f32 largest) {
    const f32 before = most, now = largest * log2_e;
    most = now > before ? now : before;
    return fast_exp2(before == most ? 0.0f : before - most);
  }
  // Of a score that is not above the maximum. If all were -inf until now, they weigh nothing.
  DEV_MEMBER f32 weight(f32 score) const {
    const f32 none = -float_of(0x7f800000u);
    return fast_exp2(op_fma(score, log2_e, most == none ? 0.0f : -most));
  }
  DEV_MEMBER f32 log_sum() const { return (most + log2f(sum)) * ln_2; }
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
