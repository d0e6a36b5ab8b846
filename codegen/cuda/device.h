// What only the device's compiler knows; the emulator has the same names. NVRTC, no header of CUDA's.
typedef signed char i8;
typedef short i16;
typedef int i32;
typedef long long i64;
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef float f32;
typedef double f64;
typedef uint2 words2;  // what one access can load or store: x, y, z, w
typedef uint4 words4;
#define DEV static __device__ __forceinline__
#define DEV_MEMBER __device__ __forceinline__
#define DYNAMIC_SHARED(name) extern __shared__ __align__(1024) char name[]

DEV f32 float_of(u32 bits) { return __uint_as_float(bits); }
DEV u32 bits_of(f32 x) { return __float_as_uint(x); }
DEV f64 double_of(u64 bits) { return __longlong_as_double((i64)bits); }
DEV f32 float_of_half(u16 code) {
  f32 x;
  asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(code));
  return x;
}
DEV u16 half_of_float(f32 x) {
  u16 code;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(code) : "f"(x));
  return code;
}
// The halves of a register.
DEV void halves_of(u32 pair, u16& lower, u16& upper) {
  asm("mov.b32 {%0, %1}, %2;" : "=h"(lower), "=h"(upper) : "r"(pair));
}
DEV u32 pair_of(u16 lower, u16 upper) {
  u32 pair;
  asm("mov.b32 %0, {%1, %2};" : "=r"(pair) : "h"(lower), "h"(upper));
  return pair;
}
#if __CUDA_ARCH__ >= 800
// Two floats as the halves of a register, rounded to nearest.
DEV u32 pair_of_f16(f32 lower, f32 upper) {
  u32 pair;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(upper), "f"(lower));
  return pair;
}
DEV u32 pair_of_bf16(f32 lower, f32 upper) {
  u32 pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(upper), "f"(lower));
  return pair;
}
// NaN if either is; +0 is above -0.
constexpr bool kExtremesAreSymmetric = true;
DEV f32 least_or_nan(f32 x, f32 y) {
  f32 least;
  asm("min.NaN.f32 %0, %1, %2;" : "=f"(least) : "f"(x), "f"(y));
  return least;
}
DEV f32 most_or_nan(f32 x, f32 y) {
  f32 most;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(most) : "f"(x), "f"(y));
  return most;
}
#else
DEV u32 pair_of_f16(f32 lower, f32 upper) { return pair_of(half_of_float(lower), half_of_float(upper)); }
DEV u32 upper_half_rounded(f32 x) {
  const u32 bits = bits_of(x);
  return x != x ? 0x7fff0000u : bits + (bits >> 16 & 1) + 0x7fffu;
}
DEV u32 pair_of_bf16(f32 lower, f32 upper) {
  return __byte_perm(upper_half_rounded(lower), upper_half_rounded(upper), 0x7632);
}
constexpr bool kExtremesAreSymmetric = false;
DEV f32 least_or_nan(f32 x, f32 y) { return y != y || y < x ? y : x; }
DEV f32 most_or_nan(f32 x, f32 y) { return y != y || y > x ? y : x; }
#endif

// Four of the bytes of low (0 to 3) and high (4 to 7): the hexadecimal digits of `which`, the last one first.
DEV u32 bytes_of(u32 low, u32 high, u32 which) { return __byte_perm(low, high, which); }

// (x & mask) | bits in one instruction; of two constants the compiler makes two.
DEV u32 and_or(u32 x, u32 mask, u32 bits) {
  u32 result;
  asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(result) : "r"(x), "r"(mask), "r"(bits));
  return result;
}

// 2^x to 2 ulp; 0 below 2^-126.
DEV f32 fast_exp2(f32 x) {
  f32 power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
  return power;
}
// 1 / x to 1 ulp, for normal x and 1 / x.
DEV f32 fast_reciprocal(f32 x) {
  f32 reciprocal;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(reciprocal) : "f"(x));
  return reciprocal;
}
// The compiler takes it for any number: what it knows of its bits often makes addresses worse.
DEV int opaque(int x) {
  asm("" : "+r"(x));
  return x;
}
// A place in global memory of which the compiler knows no more than that: else it may store the parts of a vector
// apart.
template <class T>
DEV T* opaque_global(T* p) {
  u64 address = (u64)__cvta_generic_to_global(p);
  asm("" : "+l"(address));
  return (T*)__cvta_global_to_generic(address);
}

// --- kernels one behind the other ---
// What every kernel begins with. Where it was started before the kernels that it waits for were through, it waits here,
// and lets those behind it be started; from sm_90 on.
DEV void await_turn() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;\n\tgriddepcontrol.wait;" ::: "memory");
#endif
}

// To what the kernel never reads: the compiler may move loads across it, but not take it apart.
DEV void store_global(void* p, u32 x, u32 y) {
  asm volatile("st.global.v2.b32 [%0], {%1, %2};" ::"l"(__cvta_generic_to_global(p)), "r"(x), "r"(y));
}
DEV void store_global(void* p, u32 x, u32 y, u32 z, u32 w) {
  asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(p)), "r"(x), "r"(y), "r"(z),
               "r"(w));
}

// --- threads together ---
DEV void barrier() { __syncthreads(); }
// Of `threads` threads of the block, whole warps, wherever they stand; `number` is 1 to 15.
DEV void barrier(u32 number, u32 threads) { asm volatile("bar.sync %0, %1;" ::"r"(number), "r"(threads) : "memory"); }
DEV void sync_warp() { __syncwarp(); }
DEV bool any_lane(bool x) { return __any_sync(0xffffffffu, x); }
template <class T>
DEV T shuffle_xor(T value, u32 mask) {
  return __shfl_xor_sync(0xffffffffu, value, (i32)mask);
}
template <class T>
DEV T shuffle_from(T value, u32 lane) {
  return __shfl_sync(0xffffffffu, value, (i32)lane);
}

// --- from global to shared memory ---
DEV u32 shared_address(const void* p) { return (u32)__cvta_generic_to_shared(p); }

// Ordinary stores have put something there: the emulator keeps account, for what the copy engine and wgmma may see.
DEV void wrote_shared(const void* /*at*/, int /*bytes*/) {}

// BYTES are 4, 8 or 16, both sides aligned to them. Zeros if not valid; `from` is not read then. Groups of copies go on
// by themselves where the device can: they are there only when their group was waited for.
#if __CUDA_ARCH__ >= 800
constexpr bool kCopiesAsynchronously = true;
template <int BYTES>
DEV void copy_async(void* shared, const void* from, bool valid) {
  if (BYTES == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(from),
                 "r"(valid ? 16 : 0)
                 : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared_address(shared)), "l"(from), "n"(BYTES),
                 "r"(valid ? BYTES : 0)
                 : "memory");
}
DEV void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// At most PENDING of the newest groups are still under way after it.
template <int PENDING>
DEV void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}
#else
constexpr bool kCopiesAsynchronously = false;
template <int BYTES>
DEV void copy_async(void* shared, const void* from, bool valid);
DEV void copy_async_commit() {}
template <int PENDING>
DEV void copy_async_wait() {}
#endif

// --- tensor cores: which lane holds which element is in the PTX manual, "Matrix Fragments for mma" ---
// 8x8 matrices of 16 bits; lane 8 i + r has the address of row r, 16 bytes, of matrix i.
template <bool TRANSPOSED>
DEV void load_matrix_x2(u32 (&r)[2], const void* row) {
  if (TRANSPOSED)
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(shared_address(row))
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(shared_address(row))
                 : "memory");
}
template <bool TRANSPOSED>
DEV void load_matrix_x4(u32 (&r)[4], const void* row) {
  if (TRANSPOSED)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

// d += a b, d 16x8 and 16, 16, 8 or 32 deep.
#define MMA(instruction, constraint)                                                                     \
  asm("mma.sync.aligned." instruction " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
      : "+" constraint(d[0]), "+" constraint(d[1]), "+" constraint(d[2]), "+" constraint(d[3])           \
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))
#if __CUDA_ARCH__ >= 800
DEV void mma_f16(f32 (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) { MMA("m16n8k16.row.col.f32.f16.f16.f32", "f"); }
DEV void mma_bf16(f32 (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) { MMA("m16n8k16.row.col.f32.bf16.bf16.f32", "f"); }
// The 13 low bits of an operand count for nothing.
DEV void mma_tf32(f32 (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) { MMA("m16n8k8.row.col.f32.tf32.tf32.f32", "f"); }
template <bool A_SIGNED, bool B_SIGNED>
DEV void mma_i8(i32 (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) {
  if (A_SIGNED && B_SIGNED) MMA("m16n8k32.row.col.s32.s8.s8.s32", "r");
  if (A_SIGNED && !B_SIGNED) MMA("m16n8k32.row.col.s32.s8.u8.s32", "r");
  if (!A_SIGNED && B_SIGNED) MMA("m16n8k32.row.col.s32.u8.s8.s32", "r");
  if (!A_SIGNED && !B_SIGNED) MMA("m16n8k32.row.col.s32.u8.u8.s32", "r");
}
#endif
#undef MMA

// sum + four products of bytes, wrapping.
template <bool A_SIGNED, bool B_SIGNED>
DEV i32 dot4(i32 sum, u32 a, u32 b) {
  if (A_SIGNED && B_SIGNED) asm("dp4a.s32.s32 %0, %1, %2, %0;" : "+r"(sum) : "r"(a), "r"(b));
  if (A_SIGNED && !B_SIGNED) asm("dp4a.s32.u32 %0, %1, %2, %0;" : "+r"(sum) : "r"(a), "r"(b));
  if (!A_SIGNED && B_SIGNED) asm("dp4a.u32.s32 %0, %1, %2, %0;" : "+r"(sum) : "r"(a), "r"(b));
  if (!A_SIGNED && !B_SIGNED) asm("dp4a.u32.u32 %0, %1, %2, %0;" : "+r"(sum) : "r"(a), "r"(b));
  return sum;
}
