// In place of codegen/cuda/device.h on the host: the same names, so that the text of a kernel compiles and runs
// unchanged.
//
// A thread of the GPU is a fiber. What threads do together (barrier, shuffle, mma) is a meeting: who arrives waits, the
// last to arrive does the work for all. A block runs its threads in an order of the caller's choice, switching only
// where they meet, so a kernel whose threads never meet costs a call a thread.
//
// Found, and reported by emulator_error(): deadlocks, barriers reached at different places, shared memory addressed
// outside or unaligned by what copies and loads matrices; of kernels that start early threads that do not await their
// turn, or meet others or touch memory before they do. Made visible in the results: shared memory that was never
// written (it starts as NaN), copies that nobody waited for (they arrive at the wait and are NaN until then), whatever
// depends on the order of threads. Not modelled: weak memory order between threads, registers, time.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

typedef int8_t i8;
typedef int16_t i16;
typedef int32_t i32;
typedef long long i64;
typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef unsigned long long u64;
typedef float f32;
typedef double f64;
struct __attribute__((may_alias, aligned(8))) words2 {
  u32 x, y;
};
struct __attribute__((may_alias, aligned(16))) words4 {
  u32 x, y, z, w;
};
#define DEV static inline __attribute__((always_inline, unused))
#define DEV_MEMBER inline __attribute__((always_inline))
#define __global__
#define __launch_bounds__(...)
#define __restrict__
// In the places of device/hopper.h and wgmma.h in a kernel's text.
#define EMULATED_HOPPER "test/cuda/emulator/hopper.h"
#define EMULATED_WGMMA "test/cuda/emulator/wgmma.h"

#include "test/cuda/emulator/collectives.h"
#include "test/cuda/emulator/copies.h"
#include "test/cuda/emulator/kernel.h"
#include "test/cuda/emulator/matrices.h"
#include "test/cuda/emulator/scheduler.h"

#define threadIdx emulator::current_block->running->position
#define blockIdx emulator::current_block->position
#define blockDim emulator::current_block->threads_in_block
#define gridDim emulator::current_block->blocks
#define DYNAMIC_SHARED(name) char* const name = emulator::current_block->shared

DEV void await_turn() { emulator::await_turn(); }

DEV f32 float_of(u32 bits) {
  f32 x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}
DEV u32 bits_of(f32 x) {
  u32 bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}
DEV f64 double_of(u64 bits) {
  f64 x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}
DEV f32 float_of_half(u16 code) {
  _Float16 x;
  std::memcpy(&x, &code, sizeof x);
  return f32(x);
}
DEV u16 half_of_float(f32 x) {
  if (x != x) return 0x7fff;  // as the device has it
  const _Float16 rounded = _Float16(x);
  u16 code;
  std::memcpy(&code, &rounded, sizeof code);
  return code;
}
DEV void halves_of(u32 pair, u16& lower, u16& upper) { lower = u16(pair), upper = u16(pair >> 16); }
DEV u32 pair_of(u16 lower, u16 upper) { return lower | u32(upper) << 16; }
DEV u32 pair_of_f16(f32 lower, f32 upper) { return half_of_float(lower) | u32(half_of_float(upper)) << 16; }
DEV u32 pair_of_bf16(f32 lower, f32 upper) {
  const auto rounded = [](f32 x) {
    const u32 bits = bits_of(x);
    return x != x ? 0x7fffu : (bits + (bits >> 16 & 1) + 0x7fffu) >> 16;
  };
  return rounded(lower) | rounded(upper) << 16;
}
DEV u32 and_or(u32 x, u32 mask, u32 bits) { return (x & mask) | bits; }
DEV u32 bytes_of(u32 low, u32 high, u32 which) {
  const u64 bytes = u64(high) << 32 | low;
  u32 result = 0;
  for (int i = 0; i < 4; ++i) result |= u32(bytes >> (8 * (which >> (4 * i) & 7)) & 0xff) << (8 * i);
  return result;
}
constexpr bool kExtremesAreSymmetric = true;
DEV f32 least_or_nan(f32 x, f32 y) {
  if (x != x || y != y) return float_of(0x7fffffffu);
  return y < x || (y == x && std::signbit(y)) ? y : x;
}
DEV f32 most_or_nan(f32 x, f32 y) {
  if (x != x || y != y) return float_of(0x7fffffffu);
  return y > x || (y == x && std::signbit(x)) ? y : x;
}
DEV f32 fast_exp2(f32 x) { return x < -126 ? 0.0f : exp2f(x); }
DEV f32 fast_reciprocal(f32 x) { return 1.0f / x; }
DEV void store_global(void* p, u32 x, u32 y) { *static_cast<words2*>(p) = words2{x, y}; }
DEV void store_global(void* p, u32 x, u32 y, u32 z, u32 w) { *static_cast<words4*>(p) = words4{x, y, z, w}; }
DEV int opaque(int x) { return x; }
template <class T>
DEV T* opaque_global(T* p) {
  return p;
}
// sum + four products of bytes, wrapping.
template <bool A_SIGNED, bool B_SIGNED>
DEV i32 dot4(i32 sum, u32 a, u32 b) {
  for (int i = 0; i < 32; i += 8) {
    const i32 x = A_SIGNED ? i8(a >> i) : u8(a >> i), y = B_SIGNED ? i8(b >> i) : u8(b >> i);
    sum = i32(u32(sum) + u32(x * y));
  }
  return sum;
}
