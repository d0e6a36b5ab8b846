// A matrix that the copy engine brings, tile by tile.
#pragma once

#include "test/cuda/device/product_checks.h"
//
#include "codegen/cuda/device/atoms.h"
//
#include "test/cuda/emulator/wgmma.h"
//
#include "codegen/cuda/device/wgmma_layout.h"
//
#include "codegen/cuda/device/wgmma_ring.h"

// How cuTensorMapEncodeTiled counts element types; f32 is rounded to tf32 on its way.
template <class CODEC>
constexpr u32 kMapType = sizeof(typename CODEC::element) == 1   ? 0
                         : sizeof(typename CODEC::element) == 2 ? 6
                                                                : kTensorMapTf32;

// Rows padded to 16 bytes, what is left of the last with what nobody may use.
template <class CODEC, bool ALONG_K>
struct mapped_matrix : matrix<CODEC, 16 / int(sizeof(typename CODEC::element)), ALONG_K, Way::Copied> {
  typedef typename CODEC::element T;
  static constexpr int vector = 1;
  static i64 whole_chunks(i64 size) { return size; }  // the map ends where the matrix does
  mutable tensor_map map{};

  mapped_matrix(i64 lines, i64 depth, std::mt19937& random)
      : matrix<CODEC, 16 / int(sizeof(T)), ALONG_K, Way::Copied>(lines, depth, random) {}
  // For tiles of lines x depth.
  const char* encode(int tile_lines, int tile_depth) const {
    const uint64_t along = uint64_t(std::max<i64>(1, this->depth)), across = uint64_t(std::max<i64>(1, this->lines));
    const uint64_t extents[] = {ALONG_K ? along : across, ALONG_K ? across : along};
    const uint64_t strides[] = {uint64_t(this->pitch) * sizeof(T)};
    const u32 box[] = {128 / sizeof(T), u32(ALONG_K ? tile_lines : tile_depth)}, ones[] = {1, 1};
    return encode_tensor_map(&map.map, kMapType<CODEC>, 2, this->first, extents, strides, box, ones, 0, 3, 0);
  }
  auto operand(i64 begin) const { return mapped<T, ALONG_K>(&map, begin); }
  auto positions(i64 begin) const { return mapped<T, ALONG_K>(&map, 0).from(begin); }
};
template <class CODEC, bool ALONG_K>
const char* encode(const mapped_matrix<CODEC, ALONG_K>& of, int lines, int depth) {
  return of.encode(lines, depth);
}
template <class CODEC, int VECTOR, bool ALONG_K, Way WAY>
const char* encode(const matrix<CODEC, VECTOR, ALONG_K, WAY>&, int, int) {
  return nullptr;
}
