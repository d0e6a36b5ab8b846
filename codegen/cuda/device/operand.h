// What a product of matrices takes its operands from. After memory.h.
//
// The compiler prints an operand as a function of (line, k): line is a row of a or a column of b within the block's
// tile, k runs over what is summed. It is asked for chunks of VECTOR elements, next to each other along k if ALONG_K,
// else along the line, at multiples of VECTOR.
//
// copied<T, VECTOR, ALONG_K>(at)
//   at(i64 line, i64 k) gives a source<T>: where the chunk lies in memory, aligned to its size of 1 to 16 bytes; one
//   that is not valid is zeros and is not read.
// strided<T, VECTOR, ALONG_K>(first, stride, lines)
//   The same for a matrix, cheaper: chunks are at first + line * stride + k if ALONG_K, else at first + line + k *
//   stride; lines below `lines` are valid.
// prepared<T, VECTOR, ALONG_K>(prepare, at)
//   Copied too: prepare(line) gives any struct of what is to be known of a line, once, and at(that, line, k) the
//   source.
// converted<T, VECTOR, ALONG_K>(load, convert)
//   load(line, k) gives any struct of what was loaded, well before convert(that, line, k) makes the chunk of it: a
//   vec<T, VECTOR>, or a T if VECTOR is 1. In between a tile is multiplied, so memory has time. The struct has a name:
//   NVRTC takes a lambda of `auto` for the host's.
// computed<T, VECTOR, ALONG_K>(at)
//   at(line, k) gives the chunk at once.
//
// Lines beyond the end of the matrix are for these functions to find: not valid, or zeros. Chunks that begin at or
// beyond the k_end of a product are zeros without their help; one that straddles it must have zeros there.
template <bool CONDITION, class X, class Y>
struct either {
  typedef X type;
};
template <class X, class Y>
struct either<false, X, Y> {
  typedef Y type;
};

template <class T>
struct source {
  const T* from;
  bool valid;
};

struct as_it_is {
  template <class X>
  DEV_MEMBER X operator()(X x, i64 /*line*/, i64 /*k*/) const {
    return x;
  }
};

template <class T, int VECTOR, bool ALONG_K, bool COPIED, class AT, class CONVERT = as_it_is>
struct operand {
  typedef T element;
  typedef AT function;
  static constexpr int vector = VECTOR, bytes = VECTOR * int(sizeof(T));
  static constexpr bool along_k = ALONG_K, is_copied = COPIED;
  static_assert(bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8 || bytes == 16,
                "a chunk is 1, 2, 4, 8 or 16 bytes");
  AT at;
  CONVERT convert;
};
template <class T, int VECTOR, bool ALONG_K, class AT>
DEV operand<T, VECTOR, ALONG_K, true, AT> copied(AT at) {
  return {at, {}};
}
template <class T, int VECTOR, bool ALONG_K, class LOAD, class CONVERT>
DEV operand<T, VECTOR, ALONG_K, false, LOAD, CONVERT> converted(LOAD load, CONVERT convert) {
  return {load, convert};
}
template <class T, int VECTOR, bool ALONG_K, class AT>
DEV operand<T, VECTOR, ALONG_K, false, AT> computed(AT at) {
  return {at, {}};
}
template <class T, bool ALONG_K>
struct matrix_at {
  const T* first;
  i64 stride, lines;
  DEV_MEMBER source<T> operator()(i64 line, i64 k) const {
    return {ALONG_K ? first + line * stride + k : first + line + k * stride, line < lines};
  }
};
template <class T, int VECTOR, bool ALONG_K>
DEV operand<T, VECTOR, ALONG_K, true, matrix_at<T, ALONG_K>> strided(const T* first, i64 stride, i64 lines) {
  return {{first, stride, lines}, {}};
}

template <class PREPARE, class AT>
struct prepared_at {
  PREPARE prepare;
  AT at;
  DEV_MEMBER auto operator()(i64 line, i64 k) const { return at(prepare(line), line, k); }
};
template <class T, int VECTOR, bool ALONG_K, class PREPARE, class AT>
DEV operand<T, VECTOR, ALONG_K, true, prepared_at<PREPARE, AT>> prepared(PREPARE prepare, AT at) {
  return {{prepare, at}, {}};
}
