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
#define DEV static __device__ __forceinline__
#define DEV_MEMBER __device__ __forceinline__

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
