// What the kernels of a product know, that of its tiles and that which adds up parts of k: the extents, and how a sum
// becomes a result.
#pragma once

#include <string>
#include <vector>

#include "passes/lower/gpu/product.h"

namespace lapidary::lowering::gpu {

DType sum_type(DType factor);

class ProductKernel {
 protected:
  using Parts = ProductForm::Parts;

  ProductKernel(Context&, const Op& group, const ProductForm&, const char* family, std::string schedule);

  void take_batch(const std::vector<loops::Expr>& of_task);  // from the first of a task's parts
  Parts parts(const loops::Expr& flat, const ProductAxis&, int lanes = 1);
  // The sum of `lanes` neighbours from (row, column) on, which is there.
  void store_result(Block&, const loops::Expr& row, const loops::Expr& column, loops::Expr sum, int lanes);
  // Where the sums of a part of k lie: [batch][part][row][column].
  loops::Expr place_in_parts(const loops::Expr& part, int count, const loops::Expr& row, const loops::Expr& column);

  DimPool& dims_;
  const ProductForm& form_;
  KernelBuilder builder_;
  GroupEmitter emit_;
  Dim rows_, columns_, stored_columns_, depth_;
  Parts batch_;
  loops::Expr flat_batch_ = loops::integer(0);
};

}  // namespace lapidary::lowering::gpu
