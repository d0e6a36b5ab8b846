#include "passes/lower/gpu/tiles.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <span>

#include "ir/error.h"
#include "ir/fragment.h"
#include "ir/gpu_model.h"
#include "ir/loops_text.h"
#include "passes/lower/work.h"

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

Dim count_of(DimPool& dims, const Tile& tile, const ProductSize& size) {
  return dims.product(std::vector<Dim>{size.batch, dims.ceildiv(size.rows, dims.constant(tile.rows)),
                                       dims.ceildiv(size.columns, dims.constant(tile.columns))});
}

// Clocks until the busiest multiprocessor is done: as long as its multiplications and epilogues take, or as its blocks'
// steps do. Warpgroups that take turns write out one tile while they multiply the next, which hides half of it; of 64
// rows nothing, and a warpgroup alone takes twice as long as two.
Dim clocks(DimPool& dims, const GpuModel& gpu, const Tile& tile, const ProductSize& size) {
  const auto number = [&](int64_t value) { return dims.constant(value); };
  const int64_t elements = int64_t{tile.rows} * tile.columns;
  const Dim each = dims.ceildiv(count_of(dims, tile, size), number(gpu.multiprocessors)),
            multiplying = dims.floordiv(dims.mul(number(elements), size.depth), number(tile.rate)),
            epilogue = number(elements * (gpu.store + size.epilogue) * 3 / (2 * gpu.lanes));
  if (tile.warpgroups) {
    const bool hides = loops::takes_turns(tile) && tile.rows >= 128, is_alone = loops::takes_turns(tile) && !hides;
    const Dim seen = hides ? dims.floordiv(epilogue, number(2)) : is_alone ? dims.mul(epilogue, number(2)) : epilogue;
    return dims.add(dims.mul(each, dims.add(multiplying, seen)), number(gpu.warpgroup_block_start));
  }
  const Dim stepping = dims.product(std::vector<Dim>{dims.ceildiv(each, number(tile.resident)),
                                                     dims.ceildiv(size.depth, number(tile.depth)), number(tile.step)});
  return dims.add(dims.max(dims.mul(each, multiplying), stepping),
                  dims.add(dims.mul(each, epilogue), number(gpu.block_start)));
}

// With k in parts, whose sums are written, read again and added up by another kernel. Where that would fill the device
// several times over, tiles are enough without, and the memory for the sums would only grow.
Dim clocks_in_parts(DimPool& dims, const GpuModel& gpu, const Tile& tile, ProductSize size, int parts) {
  if (parts == 1) return clocks(dims, gpu, tile, size);
  const Dim bytes = dims.product(std::vector<Dim>{size.batch, size.rows, size.columns, dims.constant(8 * parts + 2)});
  size.batch = dims.mul(size.batch, dims.constant(parts));
  size.depth = dims.ceildiv(size.depth, dims.constant(parts));
  size.epilogue = 0;
  const Dim adding = dims.add(dims.constant(gpu.kernel_start), dims.floordiv(bytes, dims.constant(gpu.memory_bytes)));
  const Dim is_filled = dims.less(dims.constant(4 * gpu.multiprocessors), count_of(dims, tile, size));
  return dims.select(is_filled, dims.constant(kDimMax / 2), dims.add(clocks(dims, gpu, tile, size), adding));
}

// Of the steps before it that make its factors (factors.h).
Dim clocks_of_making(DimPool& dims, const GpuModel& gpu, const Tile& tile, const ProductSize& size) {
  if (!takes_factors(tile) || !size.moved) return dims.constant(0);
  return dims.add(dims.constant(gpu.kernel_start), dims.floordiv(size.moved, dims.constant(gpu.memory_bytes)));
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

// What its symbols and elements would make it if each were `value`, as far as its interval goes.
int64_t value_if(Dim dim, int64_t value) {
  const auto leaf = [&](Dim symbol) -> std::optional<int64_t> {
    return std::clamp<int64_t>(value, symbol->interval.lo, symbol->interval.hi);
  };
  return evaluate(dim, leaf).value_or(kDimMax);
}

// The best for each of the sizes that symbols may have, or nearly: of those that are left, the one that gains most.
std::vector<TileChoice> few_of(const std::vector<TileChoice>& all) {
  constexpr size_t kMost = 4;
  constexpr double kWorthwhile = 0.02;  // of the time, over all sizes
  constexpr size_t kSizes = 19;         // 1, 2, 4, … 2^18
  using Clocks = std::array<double, kSizes>;
  Clocks least, now;
  least.fill(1e300), now.fill(1e300);
  std::vector<Clocks> taken(all.size());
  for (size_t choice = 0; choice < all.size(); ++choice)
    for (size_t i = 0; i < kSizes; ++i) {
      taken[choice][i] = static_cast<double>(value_if(all[choice].clocks, int64_t{1} << i));
      least[i] = std::min(least[i], taken[choice][i]);
    }
  const auto with = [&](const Clocks& clocks) {
    double sum = 0;
    for (size_t i = 0; i < kSizes; ++i) sum += std::min(now[i], clocks[i]) / least[i];
    return sum;
  };
  std::vector<TileChoice> few;
  double sum = 1e300;
  while (few.size() < kMost) {
    const auto best = std::ranges::min_element(taken, {}, with);
    const double better = with(*best);
    if (better > sum - kWorthwhile * kSizes) break;
    few.push_back(all[static_cast<size_t>(best - taken.begin())]);
    sum = better;
    for (size_t i = 0; i < kSizes; ++i) now[i] = std::min(now[i], (*best)[i]);
  }
  return few;
}

}  // namespace

std::vector<TileChoice> choose_tiles(DimPool& dims, const passes::Options& options, DType factor,
                                     const ProductSize& size, const SingleElements& single, int most_parts) {
  const Target& target = options.target;
  const passes::F32Products f32 = options.f32_products;
  if (factor == DType::F64) return {{kDoubles}};
  const bool tensor = target.has_tensor_cores(), halves = bit_width(factor) == 16 && tensor,
             bytes = bit_width(factor) == 8;
  if (!is_float(factor) && !(bytes && tensor)) {
    Tile tile = kBytes;
    tile.factor = factor;
    return {{tile}};
  }
  const bool rounded = factor == DType::F32 && tensor && f32 != passes::F32Products::IEEE;
  const bool as_halves = halves || (rounded && f32 == passes::F32Products::BF16);
  const bool hopper = target.has_warpgroups();
  constexpr int64_t kLeastDepth = 512;  // of a part
  const GpuModel& gpu = gpu_model(target.capability);
  const bool splits = rounded && f32 == passes::F32Products::TF32x3;
  std::vector<TileChoice> choices;
  const auto consider = [&](std::span<const Tile> tiles) {
    for (const Tile& given : tiles) {
      const std::optional<Tile> tile =
          tile_for(splits && !given.warpgroups ? split_in_registers(given) : given, single);
      if (!tile || !fits(target, *tile) || (size.computes_b && !has_room_for_b(*tile))) continue;
      ProductSize multiplied = size;
      if (tile->warpgroups) multiplied.depth = dims.mul(size.depth, dims.constant(size.pieces));
      const auto depth = lapidary::value_of(multiplied.depth);
      const Dim making = clocks_of_making(dims, gpu, *tile, size);
      for (int parts = 1; parts <= most_parts && (parts == 1 || !depth || *depth / parts >= kLeastDepth); ++parts)
        choices.push_back({*tile, parts, dims.add(making, clocks_in_parts(dims, gpu, *tile, multiplied, parts))});
    }
  };
  consider(bytes       ? std::span<const Tile>(kTensorBytes)
           : as_halves ? std::span<const Tile>(kHalves)
           : rounded   ? std::span<const Tile>(kRounded)
                       : std::span<const Tile>(kFloats));
  if (hopper && bytes) consider(kHopperBytes);
  // By the few registers of a producer, that would spill.
  const bool rounds_singly = rounded && ((single.a && !single.made_a) || (single.b && !single.made_b));
  if (hopper && as_halves && !rounds_singly) consider(kHopperHalves);
  const bool of_words = f32 == passes::F32Products::TF32 || size.pieces > 1;
  if (hopper && rounded && of_words) consider(kHopperRounded);
  const bool brain = (halves && factor == DType::BF16) || (rounded && f32 == passes::F32Products::BF16);
  for (TileChoice& choice : choices) {
    if (brain) choice.tile.atom = Atom::BF16, choice.tile.factor = DType::BF16;
    if (bytes) choice.tile.factor = factor;
  }
  const auto is_other = [&](const TileChoice& choice) {
    return fmt::format("parts={} {}", choice.parts, choice.tile.text()).find(options.gpu_tile) == std::string::npos;
  };
  std::erase_if(choices, is_other);
  if (choices.empty())
    throw Error(Fault::Usage, fmt::format("--gpu-tile: a product has no tile '{}' here", options.gpu_tile));
  return few_of(choices);
}

}  // namespace lapidary::lowering::gpu
