// Products of a few lines of a matrix with a few vectors by one warp: its lanes go along the axis that is summed, a
// packet of neighbours of each line and each vector at a time, and what each has summed is combined behind.
#pragma once

#include <functional>

#include "passes/lower/kernel_builder.h"

namespace lapidary::lowering::gpu {

constexpr int kWarp = 32;

struct WarpProducts {
  int64_t extent;  // of the axis: a multiple of `packet`
  int packet;
  int64_t rows;  // vectors
  int lines;
  std::function<loops::Expr(Block&, const loops::Expr& k, int64_t row)> vector;  // the packet from k on
  std::function<loops::Expr(Block&, const loops::Expr& k, int line)> line;
};
// The lane's part of each line's product with each row, into sums[line · rows + row]: to be combined over the warp.
void sum_products(Block& own, const loops::Buffer& sums, const loops::Expr& lane, const WarpProducts&);

// Element first + lane of a fragment, for lanes below `count`.
loops::Expr of_lane(const loops::Buffer& fragment, int64_t first, int64_t count, const loops::Expr& lane);

}  // namespace lapidary::lowering::gpu
