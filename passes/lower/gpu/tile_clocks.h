// How many clocks a product takes in certain tiles, by a simple reckoning.
#pragma once

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "ir/fragment.h"
#include "ir/gpu_model.h"
#include "passes/lower/gpu/tiles.h"

namespace lapidary::lowering::gpu {

// Formulas of symbols, and numbers of one size: the reckoning is written once, in the operations that both have.
struct Numbers {
  static double constant(int64_t value) { return static_cast<double>(value); }
  static double add(double a, double b) { return a + b; }
  static double mul(double a, double b) { return a * b; }
  static double floordiv(double a, double b) { return std::floor(a / b); }
  static double ceildiv(double a, double b) { return std::ceil(a / b); }
  static double max(double a, double b) { return std::max(a, b); }
  static double less(double a, double b) { return a < b; }
  static double select(double condition, double then, double otherwise) { return condition != 0 ? then : otherwise; }
};

template <class Of>
struct Reckoning {
  using Number = decltype(std::declval<Of&>().constant(0));

  Of& of;
  const GpuModel& gpu;
  Number batch, rows, columns, depth;
  int epilogue;
  int pieces;  // of k, where factors are made
  std::optional<Number> moved;

  Number number(int64_t value) const { return of.constant(value); }

  Number tiles(const Tile& tile) const {
    return of.mul(batch, of.mul(of.ceildiv(rows, number(tile.rows)), of.ceildiv(columns, number(tile.columns))));
  }

  // Clocks until the busiest multiprocessor is done: as long as its multiplications and epilogues take, or as its
  // blocks' steps do. Warpgroups that take turns write out one tile while they multiply the next, which hides half of
  // it; of 64 rows nothing, and a warpgroup alone takes twice as long as two.
  Number undivided(const Tile& tile) const {
    const int64_t elements = int64_t{tile.rows} * tile.columns;
    const Number each = of.ceildiv(tiles(tile), number(gpu.multiprocessors)),
                 multiplying = of.floordiv(of.mul(number(elements), depth), number(tile.rate)),
                 writing = number(elements * (gpu.store + epilogue) * 3 / (2 * gpu.lanes));
    if (tile.warpgroups) {
      const bool hides = loops::takes_turns(tile) && tile.rows >= 128, is_alone = loops::takes_turns(tile) && !hides;
      const Number seen = hides ? of.floordiv(writing, number(2)) : is_alone ? of.mul(writing, number(2)) : writing;
      return of.add(of.mul(each, of.add(multiplying, seen)), number(gpu.warpgroup_block_start));
    }
    const Number steps = of.mul(of.ceildiv(each, number(tile.resident)), of.ceildiv(depth, number(tile.depth)));
    return of.add(of.max(of.mul(each, multiplying), of.mul(steps, number(tile.step))),
                  of.add(of.mul(each, writing), number(gpu.block_start)));
  }

  // Would tiles of so many parts of k fill the device several times over? Then they are enough without, and the memory
  // for their sums would only grow. 1 or 0.
  Number fill(const Tile& tile, int parts) const {
    return of.less(number(4 * gpu.multiprocessors), of.mul(number(parts), tiles(tile)));
  }

  // With k in parts, whose sums are written, read again and added up by another kernel.
  Number in_parts(const Tile& tile, int parts) const {
    if (parts == 1) return undivided(tile);
    const Number bytes = of.mul(of.mul(batch, of.mul(rows, columns)), number(8 * parts + 2));
    Reckoning each = *this;
    each.batch = of.mul(batch, number(parts));
    each.depth = of.ceildiv(depth, number(parts));
    each.epilogue = 0;
    const Number adding = of.add(number(gpu.kernel_start), of.floordiv(bytes, number(gpu.memory_bytes)));
    return of.select(fill(tile, parts), number(kDimMax / 2), of.add(each.undivided(tile), adding));
  }

  // The steps before it that make its factors (factors.h) too.
  Number clocks(const Tile& tile, int parts) const {
    if (!takes_factors(tile)) return in_parts(tile, parts);
    Reckoning multiplied = *this;
    multiplied.depth = of.mul(depth, number(pieces));
    if (!moved) return multiplied.in_parts(tile, parts);
    const Number making = of.add(number(gpu.kernel_start), of.floordiv(*moved, number(gpu.memory_bytes)));
    return of.add(making, multiplied.in_parts(tile, parts));
  }
};

}  // namespace lapidary::lowering::gpu
