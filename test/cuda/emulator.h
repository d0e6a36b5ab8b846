// In place of codegen/cuda/device.h on the host: the same names, so that the text of a kernel compiles unchanged. The
// threads of a grid run one after the other, in an order of the caller's choice.
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
#define DEV static inline __attribute__((always_inline, unused))
#define DEV_MEMBER inline __attribute__((always_inline))
#define __global__
#define __launch_bounds__(...)
#define __restrict__

namespace emulator {
struct index {
  unsigned x, y, z;
};
inline thread_local index thread, block, threads_of_block, blocks;

enum class Order { Forward, Backward, Shuffled };

template <class Kernel>
void run(unsigned blocks_x, unsigned threads_x, Order order, const Kernel& kernel) {
  blocks = {blocks_x, 1, 1}, threads_of_block = {threads_x, 1, 1};
  const unsigned count = blocks_x * threads_x;
  for (unsigned i = 0; i < count; ++i) {
    const unsigned at = order == Order::Forward ? i : order == Order::Backward ? count - 1 - i : (i * 7 + 3) % count;
    block = {at / threads_x, 0, 0}, thread = {at % threads_x, 0, 0};
    kernel();
  }
}
}  // namespace emulator

#define threadIdx emulator::thread
#define blockIdx emulator::block
#define blockDim emulator::threads_of_block
#define gridDim emulator::blocks

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
  const _Float16 rounded = _Float16(x);
  u16 code;
  std::memcpy(&code, &rounded, sizeof code);
  return code;
}
