#include "passes/lower/gpu/tiles.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <span>

#include "ir/loops_text.h"

namespace lapidary::lowering::gpu {

using loops::Atom;

namespace {

constexpr int kNarrowest = 32;  // columns that a tile is not cut below, however few there are

// From the largest on.
constexpr Tile kFloats[] = {{Atom::Fma, DType::F32, 128, 128, 16, 8, 1, 2},
                            {Atom::Fma, DType::F32, 128, 64, 16, 4, 1, 2},
                            {Atom::Fma, DType::F32, 64, 64, 16, 4, 1, 2},
                            {Atom::Fma, DType::F32, 32, 32, 16, 2, 1, 2}};
constexpr Tile kHalves[] = {
    {Atom::F16, DType::F16, 128, 256, 32, 2, 4, 3}, {Atom::F16, DType::F16, 128, 128, 32, 2, 4, 3},
    {Atom::F16, DType::F16, 128, 64, 32, 2, 2, 3},  {Atom::F16, DType::F16, 64, 64, 32, 2, 2, 3},
    {Atom::F16, DType::F16, 128, 32, 32, 4, 1, 3},  {Atom::F16, DType::F16, 32, 32, 32, 1, 2, 3}};

constexpr Tile kDoubles = {Atom::Fma, DType::F64, 32, 32, 8, 2, 1, 2};
// Hopper's: two warpgroups multiply what a third brings.
constexpr Tile kHopperHalves[] = {{Atom::F16, DType::F16, 128, 256, 64, 8, 1, 4, true},
                                  {Atom::F16, DType::F16, 128, 128, 64, 8, 1, 5, true},
                                  {Atom::F16, DType::F16, 128, 64, 64, 8, 1, 8, true},
                                  {Atom::F16, DType::F16, 128, 32, 64, 8, 1, 8, true}};
constexpr Tile kHopperRounded[] = {{Atom::TF32, DType::F32, 128, 128, 32, 8, 1, 5, true}};
constexpr Tile kHopperBytes[] = {{Atom::I8, DType::I8, 128, 256, 128, 8, 1, 4, true},
                                 {Atom::I8, DType::I8, 128, 128, 128, 8, 1, 5, true}};
constexpr Tile kRounded[] = {{Atom::TF32, DType::F32, 128, 128, 32, 2, 4, 3},
                             {Atom::TF32, DType::F32, 128, 64, 32, 2, 2, 3},
                             {Atom::TF32, DType::F32, 64, 64, 32, 2, 2, 3},
                             {Atom::TF32, DType::F32, 32, 32, 32, 1, 2, 3}};
constexpr Tile kTensorBytes[] = {{Atom::I8, DType::I8, 128, 128, 64, 2, 4, 3},
                                 {Atom::I8, DType::I8, 64, 64, 64, 2, 2, 3},
                                 {Atom::I8, DType::I8, 32, 32, 64, 1, 2, 3}};
constexpr Tile kBytes = {Atom::Fma, DType::I8, 64, 64, 32, 4, 1, 2};

}  // namespace

std::string Tile::text() const {
  return fmt::format("{} {}x{}x{} over {}x{}{} stages={}", loops::atom_text(atom), rows, columns, depth, warp_rows,
                     warp_columns, warpgroups ? " warpgroups" : "", stages);
}

Tile tile_of_single_elements(const Tile& tile) {
  if (tile.atom != Atom::Fma || tile.factor != DType::F32) return tile;
  Tile smaller = tile.rows * tile.columns <= 64 * 64 ? tile : kFloats[2];
  smaller.depth = 8;
  return smaller;
}

Tile choose_tile(const Target& target, passes::F32Products f32, DType factor, int64_t batch, int64_t rows,
                 int64_t columns) {
  if (factor == DType::F64) return kDoubles;
  const bool tensor = target.capability >= 80, halves = bit_width(factor) == 16 && tensor,
             bytes = bit_width(factor) == 8;
  if (!is_float(factor) && !(bytes && tensor)) {
    Tile tile = kBytes;
    tile.factor = factor;
    return tile;
  }
  const bool rounded = factor == DType::F32 && tensor && f32 != passes::F32Products::IEEE;
  const bool as_halves = halves || (rounded && f32 == passes::F32Products::BF16);
  const bool hopper = target.capability == 90 && target.capability_only;
  const std::span<const Tile> tiles = bytes       ? std::span<const Tile>(kTensorBytes)
                                      : as_halves ? std::span<const Tile>(kHalves)
                                      : rounded   ? std::span<const Tile>(kRounded)
                                                  : std::span<const Tile>(kFloats);
  const auto wasteful = [&](const Tile& tile) {
    return tile.rows >= 2 * rows || (tile.columns >= 2 * columns && tile.columns > kNarrowest);
  };
  const auto count = [&](const Tile& tile) {
    return batch * ((rows + tile.rows - 1) / tile.rows) * ((columns + tile.columns - 1) / tile.columns);
  };
  const auto chosen_of = [&](std::span<const Tile> candidates) {
    const auto found = std::ranges::find_if(candidates, [&](const Tile& candidate) {
      return !wasteful(candidate) && count(candidate) >= kMultiprocessors;
    });
    return found == candidates.end() ? std::nullopt : std::optional(*found);
  };
  std::optional<Tile> of_warpgroups;
  if (hopper && (bytes || as_halves || (rounded && f32 == passes::F32Products::TF32)))
    of_warpgroups = chosen_of(bytes       ? std::span<const Tile>(kHopperBytes)
                              : as_halves ? std::span<const Tile>(kHopperHalves)
                                          : std::span<const Tile>(kHopperRounded));
  Tile tile = of_warpgroups ? *of_warpgroups : chosen_of(tiles).value_or(tiles.back());
  const bool brain = (halves && factor == DType::BF16) || (rounded && f32 == passes::F32Products::BF16);
  if (brain) tile.atom = Atom::BF16, tile.factor = DType::BF16;
  if (rounded && f32 == passes::F32Products::TF32x3) tile.atom = Atom::TF32x3;
  if (bytes) tile.factor = factor;
  return tile;
}

}  // namespace lapidary::lowering::gpu
