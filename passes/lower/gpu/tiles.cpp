#include "passes/lower/gpu/tiles.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <span>

#include "ir/fragment.h"
#include "ir/gpu_model.h"
#include "ir/loops_text.h"
#include "passes/lower/work.h"

namespace lapidary::lowering::gpu {

using loops::Atom;

namespace {

constexpr Tile kFloats[] = {{Atom::Fma, DType::F32, 128, 128, 16, 8, 1, 2, false, 2, 115, 300},
                            {Atom::Fma, DType::F32, 128, 64, 16, 4, 1, 2, false, 3, 105, 300},
                            {Atom::Fma, DType::F32, 64, 64, 16, 4, 1, 2, false, 4, 90, 200},
                            {Atom::Fma, DType::F32, 32, 32, 16, 2, 1, 2, false, 8, 60, 150}};
constexpr Tile kHalves[] = {{Atom::F16, DType::F16, 128, 256, 32, 2, 4, 3, false, 1, 1000, 300},
                            {Atom::F16, DType::F16, 128, 128, 32, 2, 4, 4, false, 2, 950, 250},
                            {Atom::F16, DType::F16, 128, 64, 32, 2, 2, 4, false, 3, 750, 250},
                            {Atom::F16, DType::F16, 64, 64, 64, 2, 2, 3, false, 4, 550, 300},
                            {Atom::F16, DType::F16, 128, 32, 32, 4, 1, 4, false, 4, 450, 250},
                            {Atom::F16, DType::F16, 32, 32, 128, 2, 2, 3, false, 4, 280, 450}};

constexpr Tile kDoubles = {Atom::Fma, DType::F64, 32, 32, 8, 2, 1, 2};
// Hopper's: two warpgroups multiply what a third brings; where a tile is that of one, they take turns.
constexpr Tile kHopperHalves[] = {{Atom::F16, DType::F16, 128, 256, 64, 8, 1, 4, true, 1, 1800},
                                  {Atom::F16, DType::F16, 128, 192, 64, 8, 1, 4, true, 1, 1750},
                                  {Atom::F16, DType::F16, 128, 128, 64, 8, 1, 6, true, 1, 1500},
                                  {Atom::F16, DType::F16, 128, 128, 64, 4, 1, 6, true, 1, 1400},
                                  {Atom::F16, DType::F16, 128, 64, 64, 8, 1, 8, true, 1, 1000},
                                  {Atom::F16, DType::F16, 128, 32, 64, 8, 1, 8, true, 1, 550}};
constexpr Tile kHopperRounded[] = {{Atom::TF32, DType::F32, 128, 128, 32, 8, 1, 5, true, 1, 700}};
constexpr Tile kHopperBytes[] = {{Atom::I8, DType::I8, 128, 256, 128, 8, 1, 4, true, 1, 3600},
                                 {Atom::I8, DType::I8, 128, 128, 128, 8, 1, 5, true, 1, 3000}};
constexpr Tile kRounded[] = {{Atom::TF32, DType::F32, 128, 128, 32, 2, 4, 3, false, 1, 500, 300},
                             {Atom::TF32, DType::F32, 128, 64, 32, 2, 2, 3, false, 2, 400, 300},
                             {Atom::TF32, DType::F32, 64, 64, 32, 2, 2, 3, false, 3, 280, 250},
                             {Atom::TF32, DType::F32, 32, 32, 32, 1, 2, 3, false, 6, 140, 200}};
constexpr Tile kTensorBytes[] = {{Atom::I8, DType::I8, 128, 128, 64, 2, 4, 3, false, 2, 1900, 250},
                                 {Atom::I8, DType::I8, 64, 64, 64, 2, 2, 3, false, 4, 1000, 250},
                                 {Atom::I8, DType::I8, 32, 32, 64, 1, 2, 3, false, 8, 500, 200}};
constexpr Tile kBytes = {Atom::Fma, DType::I8, 64, 64, 32, 4, 1, 2};

// Clocks until the busiest multiprocessor is done: as long as its multiplications and epilogues take, or as its blocks'
// steps do. Warpgroups that take turns write out one tile while they multiply the next.
int64_t clocks(const GpuModel& gpu, const Tile& tile, const ProductSize& size) {
  const int64_t tiles = size.batch * ceil_div(size.rows, tile.rows) * ceil_div(size.columns, tile.columns);
  const int64_t each = ceil_div(tiles, gpu.multiprocessors), elements = int64_t{tile.rows} * tile.columns;
  const int64_t multiplying = elements * size.depth / tile.rate,
                epilogue = elements * (gpu.store + size.epilogue) * 3 / (2 * gpu.lanes);
  if (loops::takes_turns(tile)) return each * std::max(multiplying, epilogue) + epilogue + gpu.warpgroup_block_start;
  if (tile.warpgroups) return each * (multiplying + epilogue) + gpu.warpgroup_block_start;
  const int64_t stepping = ceil_div(each, tile.resident) * ceil_div(size.depth, tile.depth) * tile.step;
  return std::max(each * multiplying, stepping) + each * epilogue + gpu.block_start;
}

// With k in parts, whose sums are written, read again and added up by another kernel.
int64_t clocks_in_parts(const GpuModel& gpu, const Tile& tile, ProductSize size, int parts) {
  if (parts == 1) return clocks(gpu, tile, size);
  const int64_t bytes = size.batch * size.rows * size.columns * (8 * parts + 2);
  size.batch *= parts;
  size.depth = ceil_div(size.depth, parts);
  size.epilogue = 0;
  return clocks(gpu, tile, size) + gpu.kernel_start + bytes / gpu.memory_bytes;
}

bool fits(const Target& target, const Tile& tile) {
  loops::ProductNode node;
  node.atom = tile.atom, node.rows = tile.rows, node.columns = tile.columns, node.depth = tile.depth;
  node.warp_rows = tile.warp_rows, node.stages = tile.stages, node.warpgroups = tile.warpgroups;
  return loops::product_shared_bytes(node, bit_width(tile.factor) / 8) <= target.shared_bytes;
}

// Are there registers for what a thread computes of b beside its part of the result?
bool has_room_for_b(const Tile& tile) {
  constexpr int kMost = 96;
  const int threads = 32 * tile.warp_rows * tile.warp_columns;
  return !tile.warpgroups && (tile.rows + tile.depth) * tile.columns / threads <= kMost;
}

// Of elements that come one by one: where each lies, whether it counts, what it is and where it goes take a thread five
// registers, beside its part of the result.
constexpr int kRegistersOfElement = 5, kMostOfElements = 160;

int single_elements(const Tile& tile, const SingleElements& single) {
  const int lines = (single.loaded_a ? tile.rows : 0) + (single.loaded_b ? tile.columns : 0);
  return lines * tile.depth / (32 * tile.warp_rows * tile.warp_columns);
}

// The same in steps so short that they fit, those of an instruction at least; nothing where they do not. Steps of
// warpgroups are as long as a row of their slots, and their producer, of 128 threads, has room for little: weights
// where they lie, whose lines are a stride apart, but no images.
std::optional<Tile> tile_for(const Tile& tile, const SingleElements& single) {
  if (tile.atom == Atom::Fma) {
    if (tile.factor != DType::F32 || !(single.a || single.b)) return tile;
    Tile smaller = tile.rows * tile.columns <= 64 * 64 ? tile : kFloats[2];
    smaller.depth = 8;
    return smaller;
  }
  if (!single.loaded_a && !single.loaded_b) return tile;
  constexpr int kMostOfProducer = 32;
  if (tile.warpgroups)
    return !single.loaded_a && tile.columns * tile.depth / 128 <= kMostOfProducer ? std::optional(tile) : std::nullopt;
  const int least_depth = 32 * 8 / bit_width(tile.factor);
  const int held = tile.rows * tile.columns / (32 * tile.warp_rows * tile.warp_columns);
  const auto fits = [&](const Tile& with) {
    return held + kRegistersOfElement * single_elements(with, single) <= kMostOfElements;
  };
  Tile shorter = tile;
  for (; !fits(shorter) && shorter.depth / 2 >= least_depth; shorter.step = shorter.step * 2 / 3) shorter.depth /= 2;
  const bool is_smallest = tile.rows * tile.columns <= 32 * 32;  // one there must be
  return fits(shorter) || is_smallest ? std::optional(shorter) : std::nullopt;
}

}  // namespace

std::string Tile::text() const {
  return fmt::format("{} {}x{}x{} over {}x{}{} stages={}", loops::atom_text(atom), rows, columns, depth, warp_rows,
                     warp_columns, warpgroups ? " warpgroups" : "", stages);
}

TileChoice choose_tile(const Target& target, passes::F32Products f32, DType factor, const ProductSize& size,
                       const SingleElements& single, int most_parts) {
  if (factor == DType::F64) return {kDoubles};
  const bool tensor = target.has_tensor_cores(), halves = bit_width(factor) == 16 && tensor,
             bytes = bit_width(factor) == 8;
  if (!is_float(factor) && !(bytes && tensor)) {
    Tile tile = kBytes;
    tile.factor = factor;
    return {tile};
  }
  const bool rounded = factor == DType::F32 && tensor && f32 != passes::F32Products::IEEE;
  const bool as_halves = halves || (rounded && f32 == passes::F32Products::BF16);
  const bool hopper = target.has_warpgroups();
  constexpr int64_t kLeastDepth = 512;  // of a part
  std::optional<Tile> best;
  int64_t least = 0;
  int best_parts = 1;
  const auto consider = [&](std::span<const Tile> tiles) {
    for (const Tile& given : tiles) {
      const std::optional<Tile> fitting = tile_for(given, single);
      if (!fitting) continue;
      const Tile& tile = *fitting;
      if (!fits(target, tile) || (size.computes_b && !has_room_for_b(tile))) continue;
      if (tile.warpgroups && 2 * size.rows <= tile.rows) continue;  // it would multiply zeros above all
      for (int parts = 1; parts <= most_parts && (parts == 1 || size.depth / parts >= kLeastDepth); ++parts) {
        const int64_t reckoned = clocks_in_parts(gpu_model(target.capability), tile, size, parts);
        if (best && reckoned >= least) continue;
        best = tile, least = reckoned, best_parts = parts;
      }
    }
  };
  consider(bytes       ? std::span<const Tile>(kTensorBytes)
           : as_halves ? std::span<const Tile>(kHalves)
           : rounded   ? std::span<const Tile>(kRounded)
                       : std::span<const Tile>(kFloats));
  if (hopper && bytes) consider(kHopperBytes);
  if (hopper && as_halves) consider(kHopperHalves);
  if (hopper && rounded && f32 == passes::F32Products::TF32) consider(kHopperRounded);
  Tile tile = *best;
  const bool brain = (halves && factor == DType::BF16) || (rounded && f32 == passes::F32Products::BF16);
  if (brain) tile.atom = Atom::BF16, tile.factor = DType::BF16;
  if (rounded && f32 == passes::F32Products::TF32x3) tile.atom = Atom::TF32x3;
  if (bytes) tile.factor = factor;
  return {tile, best_parts};
}

}  // namespace lapidary::lowering::gpu
