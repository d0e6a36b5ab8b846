// Which tiles a product is cut into, for a GPU: those that are done first by a simple reckoning.
#pragma once

#include <string>
#include <vector>

#include "ir/loops.h"
#include "ir/target.h"
#include "passes/pipeline.h"

namespace lapidary::lowering::gpu {

struct Tile {
  loops::Atom atom;
  DType factor;  // what its operands are staged as
  int rows, columns, depth, warp_rows, warp_columns, stages;
  bool warpgroups = false;
  // For the reckoning. `resident` blocks on a multiprocessor do `rate` multiplications a clock together; alone, a block
  // takes `step` clocks for each `depth` of k.
  int resident = 1, rate = 1, step = 0;
  std::string text() const;
};

// Does it multiply what a step before makes, where one does (factors.h)?
bool takes_factors(const Tile&);

// Of the whole product; `epilogue` is what follows for each element, in instructions.
struct ProductSize {
  Dim batch, rows, columns, depth;
  int epilogue;
  bool computes_b = false;  // not copied: each thread has its part of a tile of b in registers
  Dim moved = nullptr;      // bytes through memory of the step before that makes factors; null: none
  int pieces = 1;           // of k, that it lays one after the other
};
// Operands that come element by element, not in chunks of neighbours; those that are loads, converted at most; those
// whose factors a step before makes.
struct SingleElements {
  bool a = false, b = false, loaded_a = false, loaded_b = false, made_a = false, made_b = false;
};
struct TileChoice {
  Tile tile;
  int parts = 1;         // of k, which tasks of their own sum up and another kernel adds
  Dim clocks = nullptr;  // that it takes, by a simple reckoning
  Dim never = nullptr;   // 1: another is chosen, whatever the clocks are, by a formula that is short; null: none is
};
// One that operands of this type may be looked at for.
Tile any_tile(const passes::Options&, DType factor);
// `factor`: the operands' type. `most_parts`: 1 where k may not be split. Where extents are symbols, a few, one of
// which is about the soonest done whatever they are; else the soonest. Test: test/passes/gpu_tiles_test.cpp.
std::vector<TileChoice> choose_tiles(DimPool&, const passes::Options&, DType factor, const ProductSize&,
                                     const SingleElements&, int most_parts);

}  // namespace lapidary::lowering::gpu
