#include "passes/lower/gpu/tiles.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <span>

#include "ir/error.h"
#include "ir/fragment.h"
#include "ir/gpu_model.h"
#include "ir/loops_text.h"
#include "passes/lower/gpu/tile_clocks.h"

namespace lapidary::lowering::gpu {

using loops::Atom;

namespace {

// A rate is multiplications a clock of a multiprocessor: estimated from the peak and the way operands take, but for
// those of halves on Hopper, below.
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
// Hopper's: two warpgroups multiply what a third brings; where a tile is that of one, they take turns. Rates of halves
// follow what an H200 takes for the products of networks (bench/results/gpu_tiles_h200.txt).
constexpr Tile kHopperHalves[] = {{Atom::F16, DType::F16, 128, 256, 64, 8, 1, 4, true, 1, 1850},
                                  {Atom::F16, DType::F16, 128, 192, 64, 8, 1, 4, true, 1, 1820},
                                  {Atom::F16, DType::F16, 128, 128, 64, 8, 1, 6, true, 1, 1710},
                                  {Atom::F16, DType::F16, 128, 128, 64, 4, 1, 6, true, 1, 1720},
                                  {Atom::F16, DType::F16, 128, 64, 64, 8, 1, 8, true, 1, 1060},
                                  {Atom::F16, DType::F16, 64, 256, 64, 4, 1, 4, true, 1, 1800},
                                  {Atom::F16, DType::F16, 64, 128, 64, 4, 1, 8, true, 1, 1630},
                                  {Atom::F16, DType::F16, 64, 64, 64, 4, 1, 10, true, 1, 980}};
constexpr Tile kHopperRounded[] = {{Atom::TF32, DType::F32, 128, 256, 32, 8, 1, 4, true, 1, 850},
                                   {Atom::TF32, DType::F32, 128, 128, 32, 8, 1, 5, true, 1, 700}};
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

Reckoning<DimPool> formulas(DimPool& dims, const GpuModel& gpu, const ProductSize& size) {
  const auto moved = size.moved ? std::optional(size.moved) : std::nullopt;
  return {dims, gpu, size.batch, size.rows, size.columns, size.depth, size.epilogue, size.pieces, moved};
}

// A tile of tf32 whose fragments are split when they are multiplied: three products for one, and the splitting (a
// product of 4096x3072x768 takes 338 us on an H200, 125 multiplications a clock).
Tile split_in_registers(Tile tile) {
  tile.atom = Atom::TF32x3;
  tile.rate /= 4;
  tile.step *= 2;
  return tile;
}

bool fits(const Target& target, const Tile& tile) {
  loops::ProductNode node;
  node.atom = tile.atom, node.rows = tile.rows, node.columns = tile.columns, node.depth = tile.depth;
  node.warp_rows = tile.warp_rows, node.stages = tile.stages, node.warpgroups = tile.warpgroups;
  const int64_t staging = loops::staging_bytes(node, loops::kMostPanels);
  return loops::product_shared_bytes(node, bit_width(tile.factor) / 8) + staging <= target.shared_bytes;
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
  const bool single_a = single.loaded_a && !(takes_factors(tile) && single.made_a),
             single_b = single.loaded_b && !(takes_factors(tile) && single.made_b);
  if (!single_a && !single_b) return tile;
  constexpr int kMostOfProducer = 32;
  if (tile.warpgroups)
    return !single_a && tile.columns * tile.depth / 128 <= kMostOfProducer ? std::optional(tile) : std::nullopt;
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

bool takes_factors(const Tile& tile) { return tile.warpgroups || tile.atom == Atom::I8; }

std::string Tile::text() const {
  return fmt::format("{} {}x{}x{} over {}x{}{} stages={}", loops::atom_text(atom), rows, columns, depth, warp_rows,
                     warp_columns, warpgroups ? " warpgroups" : "", stages);
}

namespace {

// The symbols and elements in the extents, in order of appearance.
void add_leaves(Dim dim, std::vector<Dim>& leaves) {
  const bool is_leaf = dim->kind == DimKind::Symbol || dim->kind == DimKind::Element;
  if (is_leaf && std::ranges::find(leaves, dim) == leaves.end()) leaves.push_back(dim);
  for (Dim operand : dim->operands) add_leaves(operand, leaves);
}

std::vector<Dim> leaves_of(const ProductSize& size) {
  std::vector<Dim> leaves;
  for (Dim extent : {size.batch, size.rows, size.columns, size.depth}) add_leaves(extent, leaves);
  return leaves;
}

// What is tried for so many symbols, as powers of two: each small and large beside the others, as a batch may be of a
// few long sequences or of many short ones, but not all large: their product is at most 2^18. The more symbols, the
// longer the strides.
std::vector<std::vector<int>> powers_to_try(size_t symbols) {
  constexpr int kMost = 18;
  const int stride = symbols <= 2 ? 1 : symbols == 3 ? 2 : symbols == 4 ? 3 : 6;
  std::vector<std::vector<int>> tried = {{}};
  for (size_t symbol = 0; symbol < symbols; ++symbol) {
    std::vector<std::vector<int>> longer;
    for (const std::vector<int>& powers : tried)
      for (int power = 0; std::accumulate(powers.begin(), powers.end(), power) <= kMost; power += stride) {
        longer.push_back(powers);
        longer.back().push_back(power);
      }
    tried = std::move(longer);
  }
  return tried;
}

// The sizes that a product may have, as far as its symbols' intervals go. Of many symbols the first vary. There is no
// need to look at many of the sizes that fill any device many times over: what is best there is best for all of them.
std::vector<Reckoning<const Numbers>> at_sizes(const GpuModel& gpu, const ProductSize& size) {
  static constexpr Numbers kNumbers;
  constexpr size_t kMostSymbols = 8;
  constexpr double kManyElements = 1 << 26;
  const std::vector<Dim> leaves = leaves_of(size);
  std::vector<Reckoning<const Numbers>> sizes;
  for (const std::vector<int>& powers : powers_to_try(std::min(leaves.size(), kMostSymbols))) {
    const auto value = [&](Dim leaf) -> std::optional<int64_t> {
      const auto at = static_cast<size_t>(std::ranges::find(leaves, leaf) - leaves.begin());
      const int64_t wanted = at < powers.size() ? int64_t{1} << powers[at] : 1;
      return std::clamp(wanted, leaf->interval.lo, leaf->interval.hi);
    };
    bool is_number = true;
    const auto number = [&](Dim dim) {
      const std::optional<int64_t> found = evaluate(dim, value);
      is_number = is_number && found;
      return static_cast<double>(found.value_or(0));
    };
    sizes.push_back({kNumbers, gpu, number(size.batch), number(size.rows), number(size.columns), number(size.depth),
                     size.epilogue, size.pieces, size.moved ? std::optional(number(size.moved)) : std::nullopt});
    const Reckoning<const Numbers>& added = sizes.back();
    const bool is_large = added.batch * added.rows * added.columns > kManyElements && sizes.size() > 1;
    if (!is_number || is_large) sizes.pop_back();
  }
  return sizes;
}

// The best for each of the sizes that symbols may have, or nearly: of those that are left, the one that gains most.
// `clocks`: of each choice at each size.
std::vector<TileChoice> few_of(const std::vector<TileChoice>& all, const std::vector<std::vector<double>>& clocks) {
  constexpr size_t kMost = 4;
  constexpr double kWorthwhile = 0.02, kNever = 1e300;  // of the time, over all sizes; clocks
  const size_t sizes = clocks.front().size();
  std::vector<double> least(sizes, kNever), now(sizes, kNever);
  for (const std::vector<double>& taken : clocks)
    for (size_t i = 0; i < sizes; ++i) least[i] = std::min(least[i], taken[i]);
  const auto with = [&](const std::vector<double>& taken) {
    double sum = 0;
    for (size_t i = 0; i < sizes; ++i) sum += std::min(now[i], taken[i]) / least[i];
    return sum;
  };
  std::vector<TileChoice> few;
  double sum = kNever;
  while (few.size() < kMost) {
    const auto best = std::ranges::min_element(clocks, {}, with);
    const double better = with(*best);
    if (better >= sum - kWorthwhile * static_cast<double>(sizes)) break;
    few.push_back(all[static_cast<size_t>(best - clocks.begin())]);
    sum = better;
    for (size_t i = 0; i < sizes; ++i) now[i] = std::min(now[i], (*best)[i]);
  }
  return few;
}

// How products of such operands are multiplied.
struct Kind {
  bool tensor, bytes, halves, rounded, splits, as_halves, brain;
};

Kind kind_of(const passes::Options& options, DType factor) {
  const passes::F32Products f32 = options.f32_products;
  Kind kind{};
  kind.tensor = options.target.has_tensor_cores();
  kind.bytes = bit_width(factor) == 8;
  kind.halves = bit_width(factor) == 16 && kind.tensor;
  kind.rounded = factor == DType::F32 && kind.tensor && f32 != passes::F32Products::IEEE;
  kind.splits = kind.rounded && f32 == passes::F32Products::TF32x3;
  const bool rounds_to_halves = kind.rounded && f32 == passes::F32Products::BF16;
  kind.as_halves = kind.halves || rounds_to_halves;
  kind.brain = (kind.halves && factor == DType::BF16) || rounds_to_halves;
  return kind;
}

std::span<const Tile> tiles_of_any_device(const Kind& kind) {
  if (kind.bytes) return kTensorBytes;
  if (kind.as_halves) return kHalves;
  if (kind.rounded) return kRounded;
  return kFloats;
}

std::span<const Tile> tiles_of_warpgroups(const passes::Options& options, const Kind& kind,
                                          const SingleElements& single, int pieces) {
  if (!options.target.has_warpgroups()) return {};
  if (kind.bytes) return kHopperBytes;
  // By the few registers of a producer, that would spill.
  const bool rounds_singly = kind.rounded && ((single.a && !single.made_a) || (single.b && !single.made_b));
  if (kind.as_halves && !rounds_singly) return kHopperHalves;
  const bool of_words = options.f32_products == passes::F32Products::TF32 || pieces > 1;
  if (kind.rounded && of_words) return kHopperRounded;
  return {};
}

// As the lists have it, for operands of this type.
Tile tile_of(Tile tile, const Kind& kind, DType factor) {
  if (kind.brain) tile.atom = Atom::BF16, tile.factor = DType::BF16;
  if (kind.bytes) tile.factor = factor;
  return tile;
}

// Where there is one tile for all sizes.
std::optional<Tile> only_tile(const Kind& kind, DType factor) {
  if (factor == DType::F64) return kDoubles;
  if (is_float(factor) || (kind.bytes && kind.tensor)) return std::nullopt;
  Tile tile = kBytes;
  tile.factor = factor;
  return tile;
}

std::vector<TileChoice> all_choices(const passes::Options& options, DType factor, const ProductSize& size,
                                    const SingleElements& single, int most_parts) {
  constexpr int64_t kLeastDepth = 512;  // of a part
  const Kind kind = kind_of(options, factor);
  std::vector<TileChoice> choices;
  for (const std::span<const Tile> tiles :
       {tiles_of_any_device(kind), tiles_of_warpgroups(options, kind, single, size.pieces)})
    for (const Tile& given : tiles) {
      const std::optional<Tile> tile =
          tile_for(kind.splits && !given.warpgroups ? split_in_registers(given) : given, single);
      if (!tile || !fits(options.target, *tile) || (size.computes_b && !has_room_for_b(*tile))) continue;
      const int64_t depth = lapidary::value_of(size.depth).value_or(INT32_MAX) * (tile->warpgroups ? size.pieces : 1);
      for (int parts = 1; parts <= most_parts && (parts == 1 || depth / parts >= kLeastDepth); ++parts)
        choices.push_back({tile_of(*tile, kind, factor), parts});
    }
  const auto is_other = [&](const TileChoice& choice) {
    return fmt::format("parts={} {}", choice.parts, choice.tile.text()).find(options.gpu_tile) == std::string::npos;
  };
  std::erase_if(choices, is_other);
  if (choices.empty())
    throw Error(Fault::Usage, fmt::format("--gpu-tile: a product has no tile '{}' here", options.gpu_tile));
  return choices;
}

}  // namespace

Tile any_tile(const passes::Options& options, DType factor) {
  const Kind kind = kind_of(options, factor);
  const std::optional<Tile> only = only_tile(kind, factor);
  return only ? *only : tile_of(tiles_of_any_device(kind).front(), kind, factor);
}

std::vector<TileChoice> choose_tiles(DimPool& dims, const passes::Options& options, DType factor,
                                     const ProductSize& size, const SingleElements& single, int most_parts) {
  if (const std::optional<Tile> only = only_tile(kind_of(options, factor), factor)) return {{*only}};
  const GpuModel& gpu = gpu_model(options.target.capability);
  const std::vector<TileChoice> all = all_choices(options, factor, size, single, most_parts);
  std::vector<std::vector<double>> clocks(all.size());
  for (const Reckoning<const Numbers>& at : at_sizes(gpu, size))
    for (size_t i = 0; i < all.size(); ++i) clocks[i].push_back(at.clocks(all[i].tile, all[i].parts));
  std::vector<TileChoice> few = few_of(all, clocks);
  const bool all_cut = std::ranges::all_of(few, [](const TileChoice& choice) { return choice.parts > 1; });
  for (TileChoice& choice : few) {
    choice.clocks = formulas(dims, gpu, size).clocks(choice.tile, choice.parts);
    if (choice.parts > 1 && !all_cut) choice.never = formulas(dims, gpu, size).fill(choice.tile, choice.parts);
  }
  return few;
}

}  // namespace lapidary::lowering::gpu
