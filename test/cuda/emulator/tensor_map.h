/* What the 128 bytes of a tensor map hold in the emulation. A stand-in driver fills them with encode_tensor_map(), in
 * place of cuTensorMapEncodeTiled; the emulated copy engine (hopper.h) reads them. Plain C. */
#pragma once

#include <stdint.h>
#include <string.h>

enum { kTensorMapRank = 5, kTensorMapTf32 = 11, kTensorMapMark = 0x7e4504a9 };

typedef struct {
  uint64_t address, strides[kTensorMapRank - 1]; /* bytes; of dimensions 1, 2, ... */
  uint32_t extents[kTensorMapRank];              /* elements, innermost first */
  uint16_t box[kTensorMapRank];
  uint8_t type, rank, swizzle, reserved[3]; /* type and swizzle as cuTensorMapEncodeTiled counts them */
  uint32_t mark;
  uint8_t unused[48];
} emulated_tensor_map;

/* Bytes of an element; 0 for types that are not emulated. The types are u8, u16, u32, i32, u64, i64, f16, f32, f64,
 * bf16, f32 with denormals as 0, and tf32. */
static inline uint32_t bytes_of_tensor_type(uint32_t type) {
  static const uint8_t bytes[] = {1, 2, 4, 4, 8, 8, 2, 4, 8, 2, 0, 4};
  return type < sizeof bytes ? bytes[type] : 0;
}

/* The rules of cuTensorMapEncodeTiled. NULL, or the rule that is broken; then *map is as it was. */
static inline const char* encode_tensor_map(emulated_tensor_map* map, uint32_t type, uint32_t rank, const void* address,
                                            const uint64_t* extents, const uint64_t* strides, const uint32_t* box,
                                            const uint32_t* element_strides, uint32_t interleave, uint32_t swizzle,
                                            uint32_t fill) {
  const uint32_t bytes = bytes_of_tensor_type(type);
  emulated_tensor_map made;
  uint32_t i;
  if (!map || (uintptr_t)map % 64) return "a tensor map is aligned to 64 bytes";
  if (!bytes) return "this element type is not emulated";
  if (rank < 1 || rank > kTensorMapRank) return "rank is 1 to 5";
  if (!address || (uintptr_t)address % 16) return "the address is aligned to 16 bytes";
  if (interleave) return "interleaved layouts are not emulated";
  if (swizzle > 3) return "this swizzle is not emulated";
  if (fill) return "filling with NaN is not emulated";
  memset(&made, 0, sizeof made);
  for (i = 0; i < rank; ++i) {
    if (extents[i] < 1 || extents[i] > (uint64_t)1 << 32) return "extents are 1 to 2^32";
    if (extents[i] > UINT32_MAX) return "an extent of 2^32 is not emulated";
    if (box[i] < 1 || box[i] > 256) return "extents of the box are 1 to 256";
    if (i && (strides[i - 1] % 16 || strides[i - 1] >> 40)) return "strides are multiples of 16 bytes below 2^40";
    if (i && element_strides[i] != 1) return "steps between elements are not emulated";
    made.extents[i] = (uint32_t)extents[i];
    made.box[i] = (uint16_t)box[i];
    if (i) made.strides[i - 1] = strides[i - 1];
  }
  if (box[0] * bytes % 16) return "rows of the box are multiples of 16 bytes";
  if (swizzle && box[0] * bytes > 16u << swizzle) return "rows of the box fit the swizzle";
  made.address = (uint64_t)(uintptr_t)address;
  made.type = (uint8_t)type;
  made.rank = (uint8_t)rank;
  made.swizzle = (uint8_t)swizzle;
  made.mark = kTensorMapMark;
  memcpy(map, &made, sizeof made);
  return 0;
}
