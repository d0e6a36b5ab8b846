#include "passes/lower/gpu/product_kernel.h"

#include "passes/lower/work.h"

namespace lapidary::lowering::gpu {

using namespace loops;

DType sum_type(DType factor) { return factor == DType::F64 ? DType::F64 : is_float(factor) ? DType::F32 : DType::I32; }

ProductKernel::ProductKernel(Context& context, const Op& group, const ProductForm& form, const char* family,
                             std::string schedule)
    : dims_(context.module.dims),
      form_(form),
      builder_(context.module, context.target(), family, std::move(schedule)),
      emit_(builder_, group),
      rows_(form.rows.extent(dims_)),
      columns_(form.columns.extent(dims_)),
      stored_columns_(form.stored_columns ? form.stored_columns : columns_),
      depth_(form.depth.extent(dims_)) {}

void ProductKernel::take_batch(const std::vector<Expr>& of_task) {
  for (size_t i = 0; i < form_.batch.size(); ++i) {
    batch_.push_back(at(of_task[i]));
    flat_batch_ = add(mul(flat_batch_, builder_.parameter(form_.batch[i])), of_task[i]);
  }
}

ProductForm::Parts ProductKernel::parts(const Expr& flat, const ProductAxis& axis, int lanes) {
  return emit_.reshape({lanes > 1 ? along(flat) : at(flat)}, {axis.extent(dims_)}, axis.extents, lanes);
}

void ProductKernel::store_result(Block& block, const Expr& row, const Expr& column, Expr sum, int lanes) {
  GroupEmitter::Scope scope(emit_, block);
  Coords where = form_.result_at(emit_, batch_, parts(row, form_.rows), parts(column, form_.columns, lanes));
  where.lanes = lanes;
  if (stored_columns_ != columns_) where.mask = first_lanes(sub(builder_.parameter(columns_), column), lanes);
  if (form_.bias) sum = add(sum, form_.bias(emit_, where));
  emit_.store_results(form_.anchor->result(), where, rounded(sum, form_.anchor->type().dtype));
}

Expr ProductKernel::place_in_parts(const Expr& part, int count, const Expr& row, const Expr& column) {
  const Expr plane = builder_.parameter(dims_.product(std::vector<Dim>{rows_, stored_columns_}));
  const Expr first = mul(add(mul(flat_batch_, integer(count)), part), plane);
  return add(add(first, mul(row, builder_.parameter(stored_columns_))), column);
}

}  // namespace lapidary::lowering::gpu
