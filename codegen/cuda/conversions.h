// Conversions between element types: ir/scalar.h says what they mean. A unit that uses some begins with this and has a
// CONVERSION for each pair that it uses: all of them at once cost the compiler more than most kernels.

// Saturates, and NaN gives 0. As floats the limits may round outwards, so what reaches them is answered without a cast.
template <class I, class F>
DEV I integer_of(F x) {
  if (x != x) return 0;
  if (x >= F(limits<I>::most)) return limits<I>::most;
  if (x <= F(limits<I>::least)) return limits<I>::least;
  return I(x);
}

// A 16-bit or smaller float: what its code is made of.
template <int EXPONENT, int MANTISSA, int BIAS, bool INFINITE, bool NEGATIVE_ZERO_IS_NAN, u32 LARGEST, u32 QUIET>
struct small_float {
  static constexpr u32 mask = (1u << (EXPONENT + MANTISSA)) - 1, sign = mask + 1;
  static DEV_MEMBER f32 decode(u32 code) {
    const u32 magnitude = code & mask, infinity = ((1u << EXPONENT) - 1) << MANTISSA;
    const f32 small = f32(magnitude) * float_of(u32(127 + 1 - BIAS - MANTISSA) << 23);
    u32 bits = magnitude < (1u << MANTISSA) ? bits_of(small) : (magnitude << (23 - MANTISSA)) + (u32(127 - BIAS) << 23);
    if (INFINITE && magnitude == infinity) bits = 0x7f800000u;
    bits |= (code & sign) << (31 - EXPONENT - MANTISSA);
    const bool nan = NEGATIVE_ZERO_IS_NAN ? code == sign : magnitude > (INFINITE ? infinity : 0x7eu);
    return float_of(nan ? 0x7fc00000u : bits);
  }
  static DEV_MEMBER u32 encode(f32 x) {
    constexpr int cut = 23 - MANTISSA;
    const u32 bits = bits_of(x), magnitude = bits & 0x7fffffffu;
    const u32 rounded = magnitude + ((magnitude >> cut) & 1) + (1u << (cut - 1)) - 1;
    const u32 magic = u32(127 + 1 - BIAS + cut) << 23;  // adding it leaves the count of quanta, rounded to even, below
    u32 code = magnitude < (u32(128 - BIAS) << 23) ? bits_of(float_of(magnitude) + float_of(magic)) - magic
                                                   : (rounded >> cut) - (u32(127 - BIAS) << MANTISSA);
    if (magnitude >= (u32(127 + 64) << 23) || code > LARGEST) code = LARGEST;
    if (INFINITE && magnitude == 0x7f800000u) code = ((1u << EXPONENT) - 1) << MANTISSA;
    const u32 minus = (bits >> (31 - EXPONENT - MANTISSA)) & sign;
    if (x != x) return NEGATIVE_ZERO_IS_NAN ? sign : minus | QUIET;
    return NEGATIVE_ZERO_IS_NAN && code == 0 ? 0 : code | minus;
  }
};
typedef small_float<4, 3, 7, false, false, 0x7e, 0x7f> e4m3fn;
typedef small_float<4, 3, 8, false, true, 0x7f, 0> e4m3fnuz;
typedef small_float<5, 2, 15, true, false, 0x7b, 0x7e> e5m2;
typedef small_float<5, 2, 16, false, true, 0x7f, 0> e5m2fnuz;

DEV f32 decode_f16(u16 code) { return float_of_half(code); }
DEV u16 encode_f16(f32 x) { return half_of_float(x); }
DEV f32 decode_bf16(u16 code) { return float_of(u32(code) << 16); }
DEV u16 encode_bf16(f32 x) { return u16(pair_of_bf16(x, 0.0f)); }
DEV f32 decode_f8e4m3fn(u8 code) { return e4m3fn::decode(code); }
DEV u8 encode_f8e4m3fn(f32 x) { return u8(e4m3fn::encode(x)); }
DEV f32 decode_f8e4m3fnuz(u8 code) { return e4m3fnuz::decode(code); }
DEV u8 encode_f8e4m3fnuz(f32 x) { return u8(e4m3fnuz::encode(x)); }
DEV f32 decode_f8e5m2(u8 code) { return e5m2::decode(code); }
DEV u8 encode_f8e5m2(f32 x) { return u8(e5m2::encode(x)); }
DEV f32 decode_f8e5m2fnuz(u8 code) { return e5m2fnuz::decode(code); }
DEV u8 encode_f8e5m2fnuz(f32 x) { return u8(e5m2fnuz::encode(x)); }
DEV f32 decode_f8e8m0(u8 code) {  // 2^(code - 127)
  return float_of(code == 255 ? 0x7fc00000u : code == 0 ? 0x00400000u : u32(code) << 23);
}
DEV u8 encode_f8e8m0(f32 x) {  // the power of two at or above |x|
  if (x != x) return 255;
  const u32 magnitude = bits_of(x) & 0x7fffffffu, up = (magnitude + 0x7fffffu) >> 23;
  const u32 most = up > 254 ? 254 : up;
  return u8(magnitude <= 0x00400000u ? 0 : most);
}

// What is cut off remains in the last bit kept, so that a second rounding gives what one would have.
DEV f32 rounded_to_odd(f64 x) {
  const f32 nearest = f32(x);
  const f64 back = nearest;
  if (back == x || x != x || back - back != back - back) return nearest;
  u32 bits = bits_of(nearest);
  if (fabs(back) > fabs(x)) --bits;
  return float_of(bits | 1u);
}
DEV f32 rounded_to_odd(f32 x) { return x; }
DEV f32 rounded_to_odd(u64 x) {
  const u64 kept = x >= (u64(1) << 53) ? (x & ~u64(0x7ff)) | (u64((x & 0x7ff) != 0) << 11) : x;
  return rounded_to_odd(f64(kept));
}
DEV f32 rounded_to_odd(i64 x) { return x < 0 ? -rounded_to_odd(u64(0) - u64(x)) : rounded_to_odd(u64(x)); }
DEV f32 rounded_to_odd(i32 x) { return rounded_to_odd(f64(x)); }
DEV f32 rounded_to_odd(u32 x) { return rounded_to_odd(f64(x)); }
DEV f32 rounded_to_odd(i16 x) { return x; }
DEV f32 rounded_to_odd(u16 x) { return x; }
DEV f32 rounded_to_odd(i8 x) { return x; }
DEV f32 rounded_to_odd(u8 x) { return x; }
DEV f32 rounded_to_odd(bool x) { return x; }

// --- from: a number that arithmetic has; a code is decoded
// --------------------------------------------------------------
#define FROM_NUMBER(name)    \
  typedef name value_##name; \
  DEV name number_##name(name x) { return x; }
FROM_NUMBER(bool)
FROM_NUMBER(i8)
FROM_NUMBER(i16)
FROM_NUMBER(i32)
FROM_NUMBER(i64)
FROM_NUMBER(u8)
FROM_NUMBER(u16)
FROM_NUMBER(u32)
FROM_NUMBER(u64)
FROM_NUMBER(f32)
FROM_NUMBER(f64)
#define FROM_CODE(name, T) \
  typedef T value_##name;  \
  DEV f32 number_##name(T x) { return decode_##name(x); }
FROM_CODE(f16, u16)
FROM_CODE(bf16, u16)
FROM_CODE(f8e4m3fn, u8)
FROM_CODE(f8e4m3fnuz, u8)
FROM_CODE(f8e5m2, u8)
FROM_CODE(f8e5m2fnuz, u8)
FROM_CODE(f8e8m0, u8)

// --- to: of a number; integers wrap, floats saturate
// ----------------------------------------------------------------------
template <class F>
DEV bool make_bool(F x) {
  return x != F(0);
}
#define TO_FLOAT(T)     \
  template <class F>    \
  DEV T make_##T(F x) { \
    return T(x);        \
  }
TO_FLOAT(f32)
TO_FLOAT(f64)
#define TO_INTEGER(I)                                \
  template <class F>                                 \
  DEV I make_##I(F x) {                              \
    return I(x);                                     \
  }                                                  \
  DEV I make_##I(f32 x) { return integer_of<I>(x); } \
  DEV I make_##I(f64 x) { return integer_of<I>(x); }
TO_INTEGER(i8)
TO_INTEGER(i16)
TO_INTEGER(i32)
TO_INTEGER(i64)
TO_INTEGER(u8)
TO_INTEGER(u16)
TO_INTEGER(u32)
TO_INTEGER(u64)
#define TO_CODE(name)                        \
  template <class F>                         \
  DEV value_##name make_##name(F x) {        \
    return encode_##name(rounded_to_odd(x)); \
  }
TO_CODE(f16)
TO_CODE(bf16)
TO_CODE(f8e4m3fn)
TO_CODE(f8e4m3fnuz)
TO_CODE(f8e5m2)
TO_CODE(f8e5m2fnuz)
TO_CODE(f8e8m0)

// --- lanes: floats become 16 bits by pairs, which is one instruction
#define EACH(name)                                         \
  template <class F, int N>                                \
  DEV vec<value_##name, N> make_each_##name(vec<F, N> x) { \
    vec<value_##name, N> r;                                \
    LANES r.v[i] = make_##name(x.v[i]);                    \
    return r;                                              \
  }
EACH(bool)
EACH(i8)
EACH(i16)
EACH(i32)
EACH(i64)
EACH(u8)
EACH(u16)
EACH(u32)
EACH(u64)
EACH(f32)
EACH(f64)
EACH(f16)
EACH(bf16)
EACH(f8e4m3fn)
EACH(f8e4m3fnuz)
EACH(f8e5m2)
EACH(f8e5m2fnuz)
EACH(f8e8m0)
#define PAIRS(name)                                                        \
  template <int N>                                                         \
  DEV vec<u16, N> make_each_##name(vec<f32, N> x) {                        \
    vec<u16, N> r;                                                         \
    _Pragma("unroll") for (int i = 0; i + 1 < N; i += 2)                   \
        halves_of(pair_of_##name(x.v[i], x.v[i + 1]), r.v[i], r.v[i + 1]); \
    if (N % 2 == 1) r.v[N - 1] = encode_##name(x.v[N - 1]);                \
    return r;                                                              \
  }
PAIRS(f16)
PAIRS(bf16)

#define CONVERSION(from, to)                                                                   \
  DEV value_##to convert_##from##_##to(value_##from x) { return make_##to(number_##from(x)); } \
  template <int N>                                                                             \
  DEV vec<value_##to, N> convert_##from##_##to(vec<value_##from, N> x) {                       \
    vec<decltype(number_##from(x.v[0])), N> numbers;                                           \
    LANES numbers.v[i] = number_##from(x.v[i]);                                                \
    return make_each_##to(numbers);                                                            \
  }
