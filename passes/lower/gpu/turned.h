// Operands of a product that a step before it turns. Hopper's warpgroups and its copy engine take words along k alone;
// where neighbours in memory are neighbours along rows or columns instead (a and b of a^T b, b of a b), the threads
// that bring such a tile store it word by word, and all others wait for them: 1949 us for 4096^3 on an H200, cuBLAS
// 351. To turn 64 MB first is 128 MB through memory, some 40 us.
//   scratch[batch][line][k], k padded with zeros to whole 16 bytes; a line is a row of a or a column of b
#pragma once

#include "passes/lower/gpu/product.h"

namespace lapidary::lowering::gpu {

constexpr int kTurnedRun = 4;  // words that lie side by side, aligned

struct Turning {  // of one operand
  bool of_a;
  uint32_t scratch;
};

Dim turned_bytes(DimPool&, const ProductForm&, bool of_a);
// Where (line, k) of the batch lies in it.
loops::Expr turned_place(KernelBuilder&, const ProductForm&, bool of_a, const loops::Expr& batch,
                         const loops::Expr& line, const loops::Expr& k);

// `packet`: elements that lie side by side along the lines. `when`: null where it always runs.
LoweredStep turn(Context&, const Op& group, const ProductForm&, const Turning&, int packet, Dim when);

}  // namespace lapidary::lowering::gpu
