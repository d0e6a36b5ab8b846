// Products of a few rows, which are no work for tensor cores: what counts is that b is read once, at the speed of
// memory. Of 16-bit factors whose lines lie along k.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "passes/lower/gpu/product.h"

namespace lapidary::lowering::gpu {

// May the rows be so few? Then b is worth lying along k.
bool may_be_few_rows(Dim rows);

// For what numbers of rows there is a kernel, and the run may have; nothing where b or a lies otherwise.
std::vector<LoweredVariant> few_rows_variants(Context&, const Op& group, const ProductForm&);

// One for each of the heights, ascending, that the run may have as many rows as; the last one without a condition where
// it never has more.
std::vector<LoweredVariant> variants_by_height(DimPool&, Dim rows, std::span<const int> heights,
                                               const std::function<LoweredVariant(int height, Dim when)>& emit);
// Of sums [height][columns] that all threads have: those of the thread's own row from a column on.
loops::Expr sums_of_own_row(const loops::Buffer& sums, const loops::Expr& thread, int height, int columns, int column,
                            int lanes);

}  // namespace lapidary::lowering::gpu
