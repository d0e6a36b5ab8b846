// What a warp's tensor cores multiply at once: 16 rows by 8 columns, 32 bytes deep. After prelude.h.
//
// An atom holds what a lane has of a in 4 registers and of b in 2, made of what lies in shared memory by prepare().

// Operands as they are.
template <int REGISTERS>
struct plain_fragment {
  u32 bits[REGISTERS];
  DEV_MEMBER void prepare(const u32 (&loaded)[REGISTERS]) {
    _Pragma("unroll") for (int i = 0; i < REGISTERS; ++i) bits[i] = loaded[i];
  }
};

#define ATOM(name, A, B, SUM, mma)                                                             \
  struct name {                                                                                \
    typedef A element_a;                                                                       \
    typedef B element_b;                                                                       \
    typedef SUM accumulator;                                                                   \
    template <int REGISTERS>                                                                   \
    using fragment = plain_fragment<REGISTERS>;                                                \
    static DEV_MEMBER void multiply(SUM (&d)[4], const fragment<4>& a, const fragment<2>& b) { \
      mma(d, a.bits, b.bits);                                                                  \
    }                                                                                          \
  };
ATOM(atom_f16, u16, u16, f32, mma_f16)
ATOM(atom_bf16, u16, u16, f32, mma_bf16)
ATOM(atom_s8_s8, i8, i8, i32, (mma_i8<true, true>))
ATOM(atom_s8_u8, i8, u8, i32, (mma_i8<true, false>))
ATOM(atom_u8_s8, u8, i8, i32, (mma_i8<false, true>))
ATOM(atom_u8_u8, u8, u8, i32, (mma_i8<false, false>))
#undef ATOM

// Of an f32 an atom takes 10 bits of mantissa and drops the rest. This makes it the nearest, halves away from zero;
// what would become infinite (from 2^128 (1 - 2^-12) on), infinities and NaN stay. The low bits are any.
DEV bool rounds_to_tf32(f32 x) { return op_abs(x) < 0x1.ffep127f; }
DEV u32 rounded_to_tf32(f32 x) { return rounds_to_tf32(x) ? bits_of(x) + 0x1000u : bits_of(x); }

struct atom_tf32 {
  typedef f32 element_a, element_b, accumulator;
  template <int REGISTERS>
  struct fragment {
    u32 bits[REGISTERS];
    DEV_MEMBER void prepare(const u32 (&loaded)[REGISTERS]) {
      _Pragma("unroll") for (int i = 0; i < REGISTERS; ++i) bits[i] = rounded_to_tf32(float_of(loaded[i]));
    }
  };
  static DEV_MEMBER void multiply(f32 (&d)[4], const fragment<4>& a, const fragment<2>& b) {
    mma_tf32(d, a.bits, b.bits);
  }
};

// f32 as the sum of two such, x = big + small to 2^-22 |x|; small * small is not worth its cost. What does not round
// (infinity, NaN, the largest numbers) is small, with a 1 of its sign as big: so no product meets infinity with a 0
// that only rounding made.
struct atom_3xtf32 {
  typedef f32 element_a, element_b, accumulator;
  template <int REGISTERS>
  struct fragment {
    u32 big[REGISTERS], small[REGISTERS];
    DEV_MEMBER void prepare(const u32 (&loaded)[REGISTERS]) {
      _Pragma("unroll") for (int i = 0; i < REGISTERS; ++i) {
        const f32 x = float_of(loaded[i]);
        const bool rounds = rounds_to_tf32(x);
        big[i] = rounds ? (loaded[i] + 0x1000u) & 0xffffe000u : (loaded[i] & 0x80000000u) | bits_of(1.0f);
        small[i] = rounds ? bits_of(x - float_of(big[i])) + 0x1000u : loaded[i];
      }
    }
  };
  static DEV_MEMBER void multiply(f32 (&d)[4], const fragment<4>& a, const fragment<2>& b) {
    mma_tf32(d, a.small, b.big);
    mma_tf32(d, a.big, b.small);
    mma_tf32(d, a.big, b.big);
  }
};
