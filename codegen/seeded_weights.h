// --weights=seeded[=SEED]: a product to measure with, which needs no room for weights. Large ones are made up when it
// is opened, by the runtime (runtime/seeded.c), from the seed and their place alone: every number is of the power of
// two below the root mean square of the real ones, with a random sign and mantissa, so that activations stay as large
// as they were or get smaller. Bytes of quantised weights are random. Small constants (biases, scales, tables) and what
// is neither float nor byte are as in the model. So it runs as the model does, and its outputs mean nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "ir/constant.h"

namespace lapidary::codegen {

struct SeededWeight {
  int64_t bytes = 0;
  std::vector<char> exact;      // these bytes; or, where there are none:
  uint64_t mask = 0, bits = 0;  // words of 8 bytes, random & mask | bits
};

SeededWeight seeded_weight(const ConstantTable&, ConstantId);

}  // namespace lapidary::codegen
