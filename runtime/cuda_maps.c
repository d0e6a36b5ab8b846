/* Tensor maps: where operands lie that a kernel leaves to the device's copy engine. They hold addresses and extents, so
 * they are made for each launch.
 *
 * Test: test/cuda/products.py, and every kernel of warpgroups on the stand-in driver. */
#include "cuda.h"

enum { kNoInterleave = 0, kSwizzle128 = 3, kPromotion256 = 3, kFillZero = 0 };

static int64_t value_of(lpd_number number, const int64_t *integers) {
  return number.integer == LPD_NO_SLOT ? number.factor : number.factor * integers[number.integer];
}

/* Where there is nothing, and nothing is asked for, the map need only be one. */
enum { kNowhere = 256, kAnyStride = 16 };

static CUresult encode(const lpd_tensor_map *map, const lpd_frame *frame, lpd_cuda_tensor_map *to) {
  static const uint32_t steps[LPD_MOST_MAP_RANK] = {1, 1, 1, 1};
  uint64_t extents[LPD_MOST_MAP_RANK], strides[LPD_MOST_MAP_RANK];
  for (uint32_t i = 0; i < map->rank; ++i) {
    const int64_t extent = value_of(map->extents[i], frame->integers);
    extents[i] = extent > 1 ? (uint64_t)extent : 1;
    const int64_t stride = i > 0 ? value_of(map->strides[i - 1], frame->integers) : 1;
    if (i > 0) strides[i - 1] = stride > 0 ? (uint64_t)stride : kAnyStride;
  }
  char *address = (char *)frame->buffers[map->buffer];
  address = address ? address + value_of(map->offset, frame->integers) : (char *)kNowhere;
  return lpd_cu.cuTensorMapEncodeTiled(to, (int)map->type, map->rank, address, extents, strides, map->box, steps,
                                       kNoInterleave, kSwizzle128, kPromotion256, kFillZero);
}

CUresult lpd_cuda_encode_maps(const lpd_cuda_launch *launch, const lpd_frame *frame, lpd_cuda_tensor_map *maps) {
  CUresult result = CUDA_SUCCESS;
  for (uint32_t m = 0; m < launch->map_count && !result; ++m) result = encode(&launch->maps[m], frame, &maps[m]);
  return result;
}
