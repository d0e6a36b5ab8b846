// The products of a warpgroup: d[64, N] += a[64, K] * b[K, N] with a and b in shared memory, named by descriptors
// (wgmma_layout.h), K being 32 bytes of elements. They are asynchronous: issue, commit a group, and touch neither d nor
// the operands before a wait. An instruction names each of its N / 2 registers, so the text of all widths is made by
// the preprocessor. After atoms.h; test/cuda/emulator/hopper.h has the same names.

// Registers of d may have been written since the last product.
DEV void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
DEV void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Until at most PENDING of the committed groups run.
template <int PENDING>
DEV void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
}
// Uses of an accumulator stay behind the wait that stands before this.
DEV void wgmma_settle(f32& x) { asm volatile("" : "+f"(x)::"memory"); }
DEV void wgmma_settle(i32& x) { asm volatile("" : "+r"(x)::"memory"); }

// X of the numbers t0, t1, ... with S() between them.
#define TWO_(X, S, t) X(t##0) S() X(t##1)
#define FOUR_(X, S, t) TWO_(X, S, t) S() X(t##2) S() X(t##3)
#define SIX_(X, S, t) FOUR_(X, S, t) S() X(t##4) S() X(t##5)
#define EIGHT_(X, S, t) SIX_(X, S, t) S() X(t##6) S() X(t##7)
#define TEN_(X, S, t) EIGHT_(X, S, t) S() X(t##8) S() X(t##9)
#define THIRTY_(X, S, t, u, v) TEN_(X, S, t) S() TEN_(X, S, u) S() TEN_(X, S, v)
// X of 0, 1, ... below the number of registers.
#define REGISTERS_4(X, S) FOUR_(X, S, )
#define REGISTERS_8(X, S) EIGHT_(X, S, )
#define REGISTERS_16(X, S) TEN_(X, S, ) S() SIX_(X, S, 1)
#define REGISTERS_32(X, S) THIRTY_(X, S, , 1, 2) S() TWO_(X, S, 3)
#define REGISTERS_48(X, S) THIRTY_(X, S, , 1, 2) S() TEN_(X, S, 3) S() EIGHT_(X, S, 4)
#define REGISTERS_64(X, S) THIRTY_(X, S, , 1, 2) S() THIRTY_(X, S, 3, 4, 5) S() FOUR_(X, S, 6)
#define REGISTERS_96(X, S) THIRTY_(X, S, , 1, 2) S() THIRTY_(X, S, 3, 4, 5) S() THIRTY_(X, S, 6, 7, 8) S() SIX_(X, S, 9)
#define REGISTERS_128(X, S) \
  THIRTY_(X, S, , 1, 2)     \
  S() THIRTY_(X, S, 3, 4, 5) S() THIRTY_(X, S, 6, 7, 8) S() THIRTY_(X, S, 9, 10, 11) S() EIGHT_(X, S, 12)

#define NAME_(i) "%" #i
#define COMMA_() ,
#define COMMA_TEXT_() ","
#define FLOAT_(i) "+f"(d[i])
#define INTEGER_(i) "+r"(d[i])

template <class ATOM, int N>
struct wgmma_instruction;

// A, B, P: the numbers of the operands behind the N / 2 = R registers; what is accumulated onto counts as 0 without P.
#define WGMMA_(ATOM, TYPES, N, R, SUM, REGISTER, A, B, P, TAIL, ...)                                      \
  template <>                                                                                             \
  struct wgmma_instruction<ATOM, N> {                                                                     \
    template <bool A_ALONG_K, bool B_ALONG_K>                                                             \
    static DEV_MEMBER void issue(SUM* d, u64 a, u64 b, bool accumulate) {                                 \
      asm volatile("{.reg .pred p; setp.ne.b32 p, %" #P ", 0; wgmma.mma_async.sync.aligned.m64n" #N TYPES \
                   " {" REGISTERS_##R(NAME_, COMMA_TEXT_) "}, %" #A ", %" #B ", p" TAIL ";}"              \
                   : REGISTERS_##R(REGISTER, COMMA_)                                                      \
                   : "l"(a), "l"(b), "r"(u32(accumulate))__VA_ARGS__                                      \
                   : "memory");                                                                           \
    }                                                                                                     \
  };
// The same with a in registers, of 16-bit elements: rows and k as in the fragment of an mma (atoms.h).
template <class ATOM, int N>
struct wgmma_of_registers;
#define OF_REGISTERS_(ATOM, TYPES, N, R, A0, A1, A2, A3, B, P, T)                                                   \
  template <>                                                                                                       \
  struct wgmma_of_registers<ATOM, N> {                                                                              \
    template <bool B_ALONG_K>                                                                                       \
    static DEV_MEMBER void issue(f32* d, const u32 (&a)[4], u64 b, bool accumulate) {                               \
      asm volatile("{.reg .pred p; setp.ne.b32 p, %" #P ", 0; wgmma.mma_async.sync.aligned.m64n" #N TYPES           \
                   " {" REGISTERS_##R(NAME_, COMMA_TEXT_) "}, {%" #A0 ", %" #A1 ", %" #A2 ", %" #A3 "}, %" #B       \
                                                          ", p, 1, 1, %" #T ";}"                                    \
                   : REGISTERS_##R(FLOAT_, COMMA_)                                                                  \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(u32(accumulate)), "n"(int(!B_ALONG_K)) \
                   : "memory");                                                                                     \
    }                                                                                                               \
  };
#define HALVES_OF_REGISTERS_(N, R, A0, A1, A2, A3, B, P, T)                 \
  OF_REGISTERS_(atom_f16, "k16.f32.f16.f16", N, R, A0, A1, A2, A3, B, P, T) \
  OF_REGISTERS_(atom_bf16, "k16.f32.bf16.bf16", N, R, A0, A1, A2, A3, B, P, T)
HALVES_OF_REGISTERS_(64, 32, 32, 33, 34, 35, 36, 37, 38)
HALVES_OF_REGISTERS_(128, 64, 64, 65, 66, 67, 68, 69, 70)
HALVES_OF_REGISTERS_(192, 96, 96, 97, 98, 99, 100, 101, 102)
HALVES_OF_REGISTERS_(256, 128, 128, 129, 130, 131, 132, 133, 134)

#define TRANSPOSES_ , "n"(int(!A_ALONG_K)), "n"(int(!B_ALONG_K))
#define WIDTH_(N, R, A, B, P, TRANSPOSE_A, TRANSPOSE_B)                                                           \
  WGMMA_(atom_f16, "k16.f32.f16.f16", N, R, f32, FLOAT_, A, B, P, ", 1, 1, %" #TRANSPOSE_A ", %" #TRANSPOSE_B,    \
         TRANSPOSES_)                                                                                             \
  WGMMA_(atom_bf16, "k16.f32.bf16.bf16", N, R, f32, FLOAT_, A, B, P, ", 1, 1, %" #TRANSPOSE_A ", %" #TRANSPOSE_B, \
         TRANSPOSES_)                                                                                             \
  WGMMA_(atom_tf32, "k8.f32.tf32.tf32", N, R, f32, FLOAT_, A, B, P, ", 1, 1")                                     \
  WGMMA_(atom_s8_s8, "k32.s32.s8.s8", N, R, i32, INTEGER_, A, B, P, "")                                           \
  WGMMA_(atom_s8_u8, "k32.s32.s8.u8", N, R, i32, INTEGER_, A, B, P, "")                                           \
  WGMMA_(atom_u8_s8, "k32.s32.u8.s8", N, R, i32, INTEGER_, A, B, P, "")                                           \
  WGMMA_(atom_u8_u8, "k32.s32.u8.u8", N, R, i32, INTEGER_, A, B, P, "")
WIDTH_(8, 4, 4, 5, 6, 7, 8)
WIDTH_(16, 8, 8, 9, 10, 11, 12)
WIDTH_(32, 16, 16, 17, 18, 19, 20)
WIDTH_(64, 32, 32, 33, 34, 35, 36)
WIDTH_(96, 48, 48, 49, 50, 51, 52)
WIDTH_(128, 64, 64, 65, 66, 67, 68)
WIDTH_(192, 96, 96, 97, 98, 99, 100)
WIDTH_(256, 128, 128, 129, 130, 131, 132)
