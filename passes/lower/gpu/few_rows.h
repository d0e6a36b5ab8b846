// Products of a few rows, which are no work for tensor cores: what counts is that b is read once, at the speed of
// memory. Of 16-bit factors whose lines lie along k.
#pragma once

#include <vector>

#include "passes/lower/gpu/product.h"

namespace lapidary::lowering::gpu {

// May the rows be so few? Then b is worth lying along k.
bool may_be_few_rows(Dim rows);

// For what numbers of rows there is a kernel, and the run may have; nothing where b or a lies otherwise.
std::vector<LoweredVariant> few_rows_variants(Context&, const Op& group, const ProductForm&);

}  // namespace lapidary::lowering::gpu
