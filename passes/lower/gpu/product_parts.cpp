#include "passes/lower/gpu/product_parts.h"

#include "ir/layout.h"
#include "passes/lower/gpu/product_kernel.h"
#include "passes/lower/work.h"

namespace lapidary::lowering::gpu {

using namespace loops;

namespace {

class SumEmitter : ProductKernel {
 public:
  SumEmitter(Context& context, const Op& group, const ProductForm& form, const Tile& tile, SplitDepth split)
      : ProductKernel(context, group, form, "sum_of_parts", tile.text()), tile_(tile), split_(split) {
    builder_.for_gpu = true;
  }

  LoweredVariant emit(Dim when) {
    int lanes = 4;
    while (!known_multiple(stored_columns_, lanes)) lanes /= 2;
    const Dim runs = dims_.floordiv(stored_columns_, builder_.dim(lanes));
    std::vector<Dim> extents = form_.batch;
    extents.push_back(rows_);
    extents.push_back(runs);
    const std::vector<Expr> at_task = builder_.split_task(extents);
    take_batch(at_task);
    const Expr row = at_task[at_task.size() - 2], column = mul(at_task.back(), integer(lanes));
    const Buffer sums = builder_.scratch(split_.scratch, sum_type(tile_.factor), false);
    Expr sum;
    for (int part = 0; part < split_.count; ++part) {
      Expr next = load(sums, place_in_parts(integer(part), split_.count, row, column), lanes);
      sum = sum ? add(sum, next) : next;
    }
    store_result(builder_.body, row, column, sum, lanes);
    return builder_.finish(dims_.product(extents), when);
  }

 private:
  const Tile& tile_;
  const SplitDepth split_;
};

}  // namespace

SplitDepth split_of(DimPool& dims, const Tile& tile, int parts, Dim depth) {
  if (parts == 1) return {};
  const Dim steps = dims.ceildiv(depth, dims.constant(tile.depth)), each = dims.ceildiv(steps, dims.constant(parts));
  const auto count = lapidary::value_of(dims.ceildiv(steps, dims.max(each, dims.constant(1))));
  return {static_cast<int>(count.value_or(parts)), dims.mul(each, dims.constant(tile.depth))};
}

Dim scratch_of_parts(DimPool& dims, const ProductForm& form, const Tile& tile, SplitDepth split) {
  const Dim batch = dims.product(form.batch), rows = form.rows.extent(dims),
            columns = form.stored_columns ? form.stored_columns : form.columns.extent(dims);
  return dims.product(
      std::vector<Dim>{batch, rows, columns, dims.constant(split.count * bit_width(sum_type(tile.factor)) / 8)});
}

// It counts its own additions and its way through memory alone: multiplications and operands are the product's.
LoweredStep sum_of_parts(Context& context, const Op& group, const ProductForm& form, const Tile& tile, SplitDepth split,
                         Dim when) {
  LoweredStep step = single_step(SumEmitter(context, group, form, tile, split).emit(when));
  DimPool& dims = context.module.dims;
  const Dim runs = when ? when : dims.constant(1);
  const Dim elements =
      dims.product(std::vector<Dim>{runs, dims.product(form.batch), form.rows.extent(dims), form.columns.extent(dims)});
  step.flops = dims.mul(dims.constant(split.count - 1), elements);
  step.bytes = dims.mul(runs, scratch_of_parts(dims, form, tile, split));
  for (const auto& result : group.results)
    step.bytes = dims.add(step.bytes, dims.mul(runs, physical_bytes(dims, result->type)));
  return step;
}

}  // namespace lapidary::lowering::gpu
