// Which tile a product is cut into, for a GPU: as large as leaves every multiprocessor one.
#pragma once

#include <string>

#include "ir/loops.h"
#include "ir/target.h"
#include "passes/pipeline.h"

namespace lapidary::lowering::gpu {

struct Tile {
  loops::Atom atom;
  DType factor;  // what its operands are staged as
  int rows, columns, depth, warp_rows, warp_columns, stages;
  bool warpgroups = false;
  std::string text() const;
};

// `factor`: the operands' type. Extents are guesses.
Tile choose_tile(const Target&, passes::F32Products, DType factor, int64_t batch, int64_t rows, int64_t columns);

constexpr int64_t kMultiprocessors = 128;  // that a device is taken to have

// In its place where chunks are single elements, whose addresses take a register or two each.
Tile tile_of_single_elements(const Tile&);

}  // namespace lapidary::lowering::gpu
