// What emitted kernels are written in: vectors of lanes, memory, and the scalar operations of ir/scalar_ops.def with
// the meaning it gives them. Included after device.h or the emulator.

// --- vectors -------------------------------------------------------------------------------------------------------
template <class T, int N>
struct vec {
  T v[N];
};

#define LANES _Pragma("unroll") for (int i = 0; i < N; ++i)

template <int N, class T>
DEV vec<T, N> splat(T x) {
  vec<T, N> r;
  LANES r.v[i] = x;
  return r;
}
template <int N, class T>
DEV vec<T, N> ramp(T start, T step) {
  vec<T, N> r;
  LANES r.v[i] = start + T(i) * step;
  return r;
}

// Of a line of a product's operand: where it lies in memory, and what else decides which of its elements count.
template <class T, class NUMBER, int COUNT>
struct line_facts {
  const T* at;
  NUMBER facts[COUNT];
};
template <class T, class NUMBER>
struct line_facts<T, NUMBER, 0> {
  const T* at;
};

// Or which taps of it are outside: bits FIRST … FIRST + COUNT - 1 of a word for those along one axis.
template <class T>
struct line_taps {
  const T* at;
  u32 outside;
};
template <int FIRST>
DEV u32 tap(i64 number) {
  return 1u << ((u32(number) + FIRST) & 31);
}
// Tap t is inside where 0 <= start + t < end.
template <int FIRST, int COUNT>
DEV u32 taps_outside(i64 start, i64 end) {
  const i64 least = -start > 0 ? (-start < COUNT ? -start : i64(COUNT)) : 0;
  const i64 most = end - start > least ? (end - start < COUNT ? end - start : i64(COUNT)) : least;
  const u64 inside = (u64(1) << most) - (u64(1) << least);
  return u32((((u64(1) << COUNT) - 1) & ~inside) << FIRST);
}

// --- memory: elements need no alignment beyond their own; what is masked off is not touched and loads as 0 ---------
template <int N, class T>
DEV vec<T, N> load(const T* p) {
  vec<T, N> r;
  LANES r.v[i] = p[i];
  return r;
}
// Accesses of 16 bytes, or one of fewer: p is a multiple of that.
template <class T, int N>
struct alignas(sizeof(T) * N < 16 ? sizeof(T) * N : 16) aligned_vec {
  vec<T, N> lanes;
};
template <int N, class T>
DEV vec<T, N> load_aligned(const T* p) {
  return ((const aligned_vec<T, N>*)p)->lanes;
}
template <class T, int N>
DEV void store_aligned(T* p, vec<T, N> x) {
  ((aligned_vec<T, N>*)p)->lanes = x;
}
// By words, which the compiler keeps together; lanes of 16 bits are the halves of words.
template <int N>
DEV vec<u32, N> load_words(const void* p) {
  vec<u32, N> r;
  if (N == 1) r.v[0] = *(const u32*)p;
  if (N == 2) {
    const words2 w = *(const words2*)p;
    r.v[0] = w.x, r.v[N - 1] = w.y;
  }
  _Pragma("unroll") for (int i = 0; i + 3 < N; i += 4) {
    const words4 w = ((const words4*)p)[i / 4];
    r.v[i] = w.x, r.v[i + 1] = w.y, r.v[i + 2] = w.z, r.v[i + 3] = w.w;
  }
  return r;
}
template <int N>
DEV void store_words(void* p, vec<u32, N> x) {
  if (N == 1) *(u32*)p = x.v[0];
  if (N == 2) *(words2*)p = words2{x.v[0], x.v[N - 1]};
  _Pragma("unroll") for (int i = 0; i + 3 < N; i += 4)((words4*)p)[i / 4] =
      words4{x.v[i], x.v[i + 1], x.v[i + 2], x.v[i + 3]};
}
template <int N>
DEV void store_global_words(void* p, vec<u32, N> x) {
  if (N == 1) *(u32*)p = x.v[0];
  if (N == 2) store_global(p, x.v[0], x.v[N - 1]);
  _Pragma("unroll") for (int i = 0; i + 3 < N; i += 4)
      store_global((words4*)p + i / 4, x.v[i], x.v[i + 1], x.v[i + 2], x.v[i + 3]);
}
template <int N>
DEV vec<u32, N> words_of(vec<f32, N> x) {
  vec<u32, N> words;
  LANES words.v[i] = bits_of(x.v[i]);
  return words;
}
template <int N>
DEV vec<u32, N / 2> words_of(vec<u16, N> x) {
  vec<u32, N / 2> pairs;
  _Pragma("unroll") for (int i = 0; i < N / 2; ++i) pairs.v[i] = pair_of(x.v[2 * i], x.v[2 * i + 1]);
  return pairs;
}
template <int N>
DEV vec<f32, N> load_aligned(const f32* p) {
  const vec<u32, N> words = load_words<N>(p);
  vec<f32, N> r;
  LANES r.v[i] = float_of(words.v[i]);
  return r;
}
template <int N>
DEV vec<u16, N> load_aligned(const u16* p) {
  const vec<u32, N / 2> pairs = load_words<N / 2>(p);
  vec<u16, N> r;
  _Pragma("unroll") for (int i = 0; i < N / 2; ++i) halves_of(pairs.v[i], r.v[2 * i], r.v[2 * i + 1]);
  return r;
}
template <int N>
DEV void store_aligned(f32* p, vec<f32, N> x) {
  store_words(p, words_of(x));
}
template <int N>
DEV void store_aligned(u16* p, vec<u16, N> x) {
  store_words(p, words_of(x));
}
// To what the kernel never reads.
template <class T, int N>
DEV void store_global(T* p, vec<T, N> x) {
  store_aligned(p, x);
}
template <int N>
DEV void store_global(f32* p, vec<f32, N> x) {
  store_global_words(p, words_of(x));
}
template <int N>
DEV void store_global(u16* p, vec<u16, N> x) {
  store_global_words(p, words_of(x));
}
template <int N, class T>
DEV vec<T, N> load(const T* p, vec<bool, N> mask) {
  vec<T, N> r;
  LANES r.v[i] = mask.v[i] ? p[i] : T(0);
  return r;
}
template <class T>
DEV T load_if(const T* p, bool mask) {
  return mask ? *p : T(0);
}
template <class T, class I, int N>
DEV vec<T, N> gather(const T* p, vec<I, N> index) {
  vec<T, N> r;
  LANES r.v[i] = p[index.v[i]];
  return r;
}
template <class T, class I, int N>
DEV vec<T, N> gather(const T* p, vec<I, N> index, vec<bool, N> mask) {
  vec<T, N> r;
  LANES r.v[i] = mask.v[i] ? p[index.v[i]] : T(0);
  return r;
}
template <class T>
DEV void store(T* p, T x) {
  *p = x;
}
template <class T>
DEV void store(T* p, T x, bool mask) {
  if (mask) *p = x;
}
template <class T, int N>
DEV void store(T* p, vec<T, N> x) {
  LANES p[i] = x.v[i];
}
template <class T, int N>
DEV void store(T* p, vec<T, N> x, vec<bool, N> mask) {
  LANES if (mask.v[i]) p[i] = x.v[i];
}
template <class T, class I, int N>
DEV void scatter(T* p, vec<I, N> index, vec<T, N> x) {
  LANES p[index.v[i]] = x.v[i];
}
template <class T, class I, int N>
DEV void scatter(T* p, vec<I, N> index, vec<T, N> x, vec<bool, N> mask) {
  LANES if (mask.v[i]) p[index.v[i]] = x.v[i];
}
DEV bool truth(u8 x) { return x != 0; }
DEV u8 as_byte(bool x) { return x; }

// --- lanewise: a function of scalars becomes one of vectors ---------------------------------------------------------
#define LANEWISE1(name)                                     \
  template <class T, int N>                                 \
  DEV auto name(vec<T, N> a)->vec<decltype(name(T())), N> { \
    vec<decltype(name(T())), N> r;                          \
    LANES r.v[i] = name(a.v[i]);                            \
    return r;                                               \
  }
#define LANEWISE2(name)                                                       \
  template <class T, int N>                                                   \
  DEV auto name(vec<T, N> a, vec<T, N> b)->vec<decltype(name(T(), T())), N> { \
    vec<decltype(name(T(), T())), N> r;                                       \
    LANES r.v[i] = name(a.v[i], b.v[i]);                                      \
    return r;                                                                 \
  }
LANEWISE1(truth)
LANEWISE1(as_byte)

// --- floats ----------------------------------------------------------------------------------------------------------
#define FLOAT1(name, f, d)             \
  DEV f32 name(f32 x) { return f(x); } \
  DEV f64 name(f64 x) { return d(x); }
FLOAT1(op_abs, fabsf, fabs)
FLOAT1(op_floor, floorf, floor)
FLOAT1(op_ceil, ceilf, ceil)
FLOAT1(op_round, rintf, rint)
FLOAT1(op_trunc, truncf, trunc)
FLOAT1(op_sqrt, sqrtf, sqrt)
FLOAT1(op_exp, expf, exp)
FLOAT1(op_log, logf, log)
FLOAT1(op_sin, sinf, sin)
FLOAT1(op_cos, cosf, cos)
FLOAT1(op_tan, tanf, tan)
FLOAT1(op_asin, asinf, asin)
FLOAT1(op_acos, acosf, acos)
FLOAT1(op_atan, atanf, atan)
FLOAT1(op_sinh, sinhf, sinh)
FLOAT1(op_cosh, coshf, cosh)
FLOAT1(op_tanh, tanhf, tanh)
FLOAT1(op_asinh, asinhf, asinh)
FLOAT1(op_acosh, acoshf, acosh)
FLOAT1(op_atanh, atanhf, atanh)
FLOAT1(op_erf, erff, erf)

DEV f32 op_min(f32 x, f32 y) { return least_or_nan(x, y); }
DEV f32 op_max(f32 x, f32 y) { return most_or_nan(x, y); }
DEV f64 op_min(f64 x, f64 y) { return y != y || y < x ? y : x; }
DEV f64 op_max(f64 x, f64 y) { return y != y || y > x ? y : x; }
#define FLOATS(F, exp, copysign, fma, fmod, pow)                        \
  DEV F op_neg(F x) { return -x; }                                      \
  DEV F op_sign(F x) { return x > 0 || x < 0 ? copysign(F(1), x) : x; } \
  DEV bool op_is_nan(F x) { return x != x; }                            \
  DEV bool op_is_inf(F x) { return x - x != x - x && x == x; }          \
  DEV F op_add(F x, F y) { return x + y; }                              \
  DEV F op_sub(F x, F y) { return x - y; }                              \
  DEV F op_mul(F x, F y) { return x * y; }                              \
  DEV F op_div(F x, F y) { return x / y; }                              \
  DEV F op_trunc_mod(F x, F y) { return fmod(x, y); }                   \
  DEV F op_floor_mod(F x, F y) {                                        \
    const F r = fmod(x, y);                                             \
    return r != 0 && (r < 0) != (y < 0) ? r + y : r;                    \
  }                                                                     \
  DEV F op_pow(F x, F y) { return pow(x, y); }                          \
  DEV F op_fma(F x, F y, F z) { return fma(x, y, z); }
FLOATS(f32, expf, copysignf, fmaf, fmodf, powf)
FLOATS(f64, exp, copysign, fma, fmod, pow)

DEV f64 op_sigmoid(f64 x) {  // never infinite; e is 0 to 1
  const f64 e = exp(-fabs(x)), q = 1.0 / (1.0 + e);
  return x < 0 ? e * q : q;
}
DEV f32 op_sigmoid(f32 x) {
  const f32 e = expf(-fabsf(x)), sum = 1.0f + e, nearly = fast_reciprocal(sum);
  const f32 q = fmaf(fmaf(-sum, nearly, 1.0f), nearly, nearly);
  return x < 0 ? e * q : q;
}
// Of what is rounded to 16 bits at once.
DEV f32 op_rough_sigmoid(f32 x) { return fast_reciprocal(1.0f + fast_exp2(x * -0x1.715476p+0f)); }
// 1 + erf(x) = erfc(-x) to 2^-22, which is what rounding erf(x) leaves of it, for all but what f32 itself must tell
// apart: erfc(t) = 2^(t q(t)), with a polynomial q whose error counts as much as erfc(t) does; from 4 on no error
// counts.
DEV f32 op_rough_one_plus_erf(f32 x) {
  const f32 t = fabsf(x);
  f32 q = -0x1.5d8b4cp-16f;
  q = fmaf(q, t, 0x1.0199ep-12f);
  q = fmaf(q, t, -0x1.c2dcc4p-11f);
  q = fmaf(q, t, -0x1.cc26dcp-10f);
  q = fmaf(q, t, 0x1.dc0658p-6f);
  q = fmaf(q, t, -0x1.30c58ap-3f);
  q = fmaf(q, t, -0x1.d63284p-1f);
  q = fmaf(q, t, -0x1.a0bedcp+0f);
  const f32 tail = fast_exp2(q * t);
  return x < 0 ? tail : 2.0f - tail;
}
// x times the normal distribution's Phi(x), to 2^-16 of it or 2^-21: Phi(-t) = 2^p(t), with a polynomial p whose error
// counts as much as t Phi(-t) does; from 10 on no error counts.
DEV f32 op_rough_gelu(f32 x) {
  const f32 t = least_or_nan(fabsf(x), 10.0f);
  f32 p = 0x1.238e6p-15f;
  p = fmaf(p, t, -0x1.97680ap-11f);
  p = fmaf(p, t, 0x1.089954p-7f);
  p = fmaf(p, t, -0x1.b4ea94p-5f);
  p = fmaf(p, t, -0x1.d5e934p-2f);
  p = fmaf(p, t, -0x1.26b0bap+0f);
  p = fmaf(p, t, -0x1.000022p+0f);
  return fmaf(-t, fast_exp2(p), most_or_nan(x, 0.0f));
}
// To 2^-18 of it: x times a rational of x * x.
DEV f32 op_rough_erf(f32 x) {
  const f32 near = most_or_nan(least_or_nan(x, 0x1.99999ap+1f), -0x1.99999ap+1f), s = near * near;
  f32 p = 0x1.8b5682p-11f, q = 0x1.31afbcp-7f;
  p = fmaf(p, s, 0x1.628f48p-5f), q = fmaf(q, s, 0x1.845efcp-4f);
  p = fmaf(p, s, 0x1.3b571cp-3f), q = fmaf(q, s, 0x1.e11aa4p-2f);
  p = fmaf(p, s, 0x1.20dd94p+0f), q = fmaf(q, s, 1.0f);
  return near * p * fast_reciprocal(q);
}
DEV f32 op_rough_one_plus_tanh(f32 x) { return 2.0f * op_rough_sigmoid(2.0f * x); }

// --- integers: arithmetic in the unsigned type wraps; nothing traps --------------------------------------------------
#define INTEGERS(I, U, is_signed)                                                                                 \
  DEV I op_neg(I x) { return I(U(0) - U(x)); }                                                                    \
  DEV I op_abs(I x) { return x < 0 ? op_neg(x) : x; }                                                             \
  DEV I op_sign(I x) { return I((x > 0) - (x < 0)); }                                                             \
  DEV I op_bit_not(I x) { return I(~x); }                                                                         \
  DEV I op_add(I x, I y) { return I(U(x) + U(y)); }                                                               \
  DEV I op_sub(I x, I y) { return I(U(x) - U(y)); }                                                               \
  DEV I op_mul(I x, I y) { return I(u64(U(x)) * u64(U(y))); }                                                     \
  DEV I op_div(I x, I y) { return y == 0 ? I(0) : is_signed && y == I(-1) ? op_neg(x) : I(x / y); }               \
  DEV I op_trunc_mod(I x, I y) { return y == 0 || (is_signed && y == I(-1)) ? I(0) : I(x % y); }                  \
  DEV I op_floor_mod(I x, I y) {                                                                                  \
    const I r = op_trunc_mod(x, y);                                                                               \
    return r != 0 && (r < 0) != (y < 0) ? I(r + y) : r;                                                           \
  }                                                                                                               \
  DEV I op_pow(I x, I y) {                                                                                        \
    if (is_signed && y < 0) return x == 1 ? I(1) : x == I(-1) ? ((y & 1) ? I(-1) : I(1)) : I(0);                  \
    I result = 1;                                                                                                 \
    for (U left = U(y); left; left = U(left >> 1), x = op_mul(x, x))                                              \
      if (left & 1) result = op_mul(result, x);                                                                   \
    return result;                                                                                                \
  }                                                                                                               \
  DEV I op_min(I x, I y) { return y < x ? y : x; }                                                                \
  DEV I op_max(I x, I y) { return y > x ? y : x; }                                                                \
  DEV I op_and(I x, I y) { return I(x & y); }                                                                     \
  DEV I op_or(I x, I y) { return I(x | y); }                                                                      \
  DEV I op_xor(I x, I y) { return I(x ^ y); }                                                                     \
  DEV I op_shift_left(I x, I y) { return U(y) < 8 * sizeof(I) ? I(U(x) << U(y)) : I(0); }                         \
  DEV I op_shift_right(I x, I y) { return U(y) < 8 * sizeof(I) ? I(x >> y) : is_signed && x < 0 ? I(-1) : I(0); } \
  DEV I op_fma(I x, I y, I z) { return op_add(op_mul(x, y), z); }
INTEGERS(i8, u8, true)
INTEGERS(i16, u16, true)
INTEGERS(i32, u32, true)
INTEGERS(i64, u64, true)
INTEGERS(u8, u8, false)
INTEGERS(u16, u16, false)
INTEGERS(u32, u32, false)
INTEGERS(u64, u64, false)

// Of what is not negative: a quarter of the instructions where 32 bits hold it.
DEV i64 small_quotient(i64 x, i64 y) { return u32(x) / u32(y); }
DEV i64 small_remainder(i64 x, i64 y) { return u32(x) % u32(y); }
DEV i64 quotient(i64 x, i64 y) { return u64(x | y) >> 32 ? i64(u64(x) / u64(y)) : small_quotient(x, y); }
DEV i64 remainder(i64 x, i64 y) { return x - quotient(x, y) * y; }  // which is there already, mostly

DEV bool op_not(bool x) { return !x; }
DEV bool op_and(bool x, bool y) { return x && y; }
DEV bool op_or(bool x, bool y) { return x || y; }
DEV bool op_xor(bool x, bool y) { return x != y; }
#define COMPARE(T)                                   \
  DEV bool op_equal(T x, T y) { return x == y; }     \
  DEV bool op_not_equal(T x, T y) { return x != y; } \
  DEV bool op_less(T x, T y) { return x < y; }       \
  DEV bool op_less_equal(T x, T y) { return x <= y; }
COMPARE(bool)
COMPARE(i8)
COMPARE(i16)
COMPARE(i32)
COMPARE(i64)
COMPARE(u8)
COMPARE(u16)
COMPARE(u32)
COMPARE(u64)
COMPARE(f32)
COMPARE(f64)

// The formatter does not come to rest on these.
// clang-format off
#define EACH_UNARY(X)                                                                                         \
  X(op_neg) X(op_abs) X(op_sign) X(op_not) X(op_bit_not) X(op_floor) X(op_ceil) X(op_round) X(op_trunc)       \
  X(op_sqrt) X(op_exp) X(op_log) X(op_sin) X(op_cos) X(op_tan) X(op_asin) X(op_acos) X(op_atan) X(op_sinh)    \
  X(op_cosh) X(op_tanh) X(op_asinh) X(op_acosh) X(op_atanh) X(op_erf) X(op_sigmoid) X(op_is_nan) X(op_is_inf)
#define EACH_BINARY(X)                                                                                   \
  X(op_add) X(op_sub) X(op_mul) X(op_div) X(op_floor_mod) X(op_trunc_mod) X(op_pow) X(op_min) X(op_max)  \
  X(op_and) X(op_or) X(op_xor) X(op_shift_left) X(op_shift_right) X(op_equal) X(op_not_equal) X(op_less) \
  X(op_less_equal)
// clang-format on
EACH_UNARY(LANEWISE1)
LANEWISE1(op_rough_sigmoid)
LANEWISE1(op_rough_erf)
LANEWISE1(op_rough_one_plus_erf)
LANEWISE1(op_rough_gelu)
LANEWISE1(op_rough_one_plus_tanh)
EACH_BINARY(LANEWISE2)

// x & mask as a float, where the mask is below 2^23: a bit operation and an addition, where a conversion takes many
// times as long.
DEV f32 float_of_mantissa(i32 x, i32 mask) { return float_of(and_or(u32(x), u32(mask), 0x4b000000u)) - 0x1p23f; }
template <int N>
DEV vec<f32, N> float_of_mantissa(vec<i32, N> x, i32 mask) {
  vec<f32, N> r;
  LANES r.v[i] = float_of_mantissa(x.v[i], mask);
  return r;
}
template <class T, int N>
DEV vec<T, N> op_fma(vec<T, N> a, vec<T, N> b, vec<T, N> c) {
  vec<T, N> r;
  LANES r.v[i] = op_fma(a.v[i], b.v[i], c.v[i]);
  return r;
}
// By one number for all lanes: its reciprocal once. A power of two keeps that in the range of normal numbers, and what
// it takes out of range is of a quotient that is there too.
DEV f32 scale_of_divisor(f32 y) {
  const f32 size = fabsf(y);
  return size > 0x1p100f ? 0x1p-64f : size < 0x1p-100f ? 0x1p64f : 1.0f;
}
// What the quotient leaves of the dividend makes it round as a division does, but below 2^-126.
template <int N>
DEV vec<f32, N> op_div(vec<f32, N> x, f32 y) {
  const f32 scale = scale_of_divisor(y), divisor = y * scale, reciprocal = 1.0f / divisor;
  const bool finite = fabsf(divisor) < 0x1p127f;
  LANES {
    const f32 dividend = x.v[i] * scale, quotient = dividend * reciprocal;
    const f32 nearer = fmaf(fmaf(-quotient, divisor, dividend), reciprocal, quotient);
    x.v[i] = finite && fabsf(quotient) < 0x1p127f ? nearer : quotient;
  }
  return x;
}
template <int N>
DEV vec<f32, N> op_rough_div(vec<f32, N> x, f32 y) {
  const f32 scale = scale_of_divisor(y), reciprocal = 1.0f / (y * scale);
  LANES x.v[i] = x.v[i] * scale * reciprocal;
  return x;
}
template <class T, int N>
DEV vec<T, N> op_div(vec<T, N> x, T y) {
  LANES x.v[i] = op_div(x.v[i], y);
  return x;
}

template <class T>
DEV T op_select(bool condition, T x, T y) {
  return condition ? x : y;
}
template <class T, int N>
DEV vec<T, N> op_select(vec<bool, N> condition, vec<T, N> x, vec<T, N> y) {
  vec<T, N> r;
  LANES r.v[i] = condition.v[i] ? x.v[i] : y.v[i];
  return r;
}
template <class T, int N>
DEV vec<T, N> op_select(bool condition, vec<T, N> x, vec<T, N> y) {
  return condition ? x : y;
}

// Pairwise: lanes i and i + half, halving.
#define REDUCE(op)                                                                                                 \
  template <class T, int N>                                                                                        \
  DEV T reduce_##op(vec<T, N> x) {                                                                                 \
    _Pragma("unroll") for (int half = N / 2; half > 0; half /= 2) _Pragma("unroll") for (int i = 0; i < half; ++i) \
        x.v[i] = op_##op(x.v[i], x.v[i + half]);                                                                   \
    return x.v[0];                                                                                                 \
  }
REDUCE(add)
REDUCE(mul)
REDUCE(min)
REDUCE(max)

template <class A, int G, class B, int M, int N>
DEV vec<i32, N> dot(vec<A, G> a, vec<B, M> b, vec<i32, N> c) {
  LANES _Pragma("unroll") for (int j = 0; j < G; ++j) c.v[i] = op_add(c.v[i], i32(a.v[j]) * i32(b.v[G * i + j]));
  return c;
}

// --- what an integer can hold
// -----------------------------------------------------------------------------------------
template <class T>
struct limits;
#define LIMITS(T, low, high, is_signed_)          \
  template <>                                     \
  struct limits<T> {                              \
    static constexpr T least = low, most = high;  \
    static constexpr bool is_signed = is_signed_; \
  };
LIMITS(i8, -128, 127, true)
LIMITS(i16, -32768, 32767, true)
LIMITS(i32, -2147483647 - 1, 2147483647, true)
LIMITS(i64, -9223372036854775807ll - 1, 9223372036854775807ll, true)
LIMITS(u8, 0, 255, false)
LIMITS(u16, 0, 65535, false)
LIMITS(u32, 0, 4294967295u, false)
LIMITS(u64, 0, 18446744073709551615ull, false)
