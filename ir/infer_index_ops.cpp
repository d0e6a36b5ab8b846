// Result types of what goes through indices or an order: scatter, scan, top_k.
#include "ir/infer.h"

namespace lapidary {

namespace {

void check_reduction(const Inference& op, const std::string& name) {
  const DType dtype = op.type(0).dtype;
  if (!is_float(dtype) && !is_integer(dtype)) op.fail("'{}' of {}", printable(name), name_of(dtype));
  if (name != "add" && name != "mul" && name != "min" && name != "max") op.fail("reduction '{}'", printable(name));
}

// Updates go into `data` along the axis; everywhere else they fit exactly, or with `within` they are no larger.
void check_updates(const Inference& op, int64_t axis, bool within) {
  const Shape &data = op.shape(0), &updates = op.shape(2);
  for (size_t i = 0; i < data.size(); ++i) {
    if (static_cast<int64_t>(i) == axis) continue;
    const std::string what = fmt::format("extents of axis {} of the updates and the data", i);
    if (!within) {
      require_equal(op.module, updates[i], data[i], what);
      continue;
    }
    Dim exceeds = op.dims().less(data[i], updates[i]);
    if (value_of(exceeds) == 1)
      op.fail("axis {} of the updates has extent {}, the data's has {}", i, to_string(updates[i]), to_string(data[i]));
    op.module.check(op.dims().equal(exceeds, op.constant(0)),
                    fmt::format("axis {} of the updates exceeds the data's", i));
  }
}

}  // namespace

Type infer_scatter(const Inference& op) {
  const int rank = op.type(0).rank();
  const int64_t axis = op.axis(op.params.integer("axis"), rank);
  const DType index = op.type(1).dtype;
  if (index != DType::I64 && index != DType::I32) op.fail("indices have type {}, expected i64 or i32", name_of(index));
  op.require_same_dtype(0, 2);
  if (op.type(2).rank() != rank) op.fail("updates have rank {}, expected {}", op.type(2).rank(), rank);
  const std::string& reduction = op.params.text("reduction");
  if (reduction != "none") check_reduction(op, reduction);
  const bool elements = op.params.integer("elements") != 0;
  if (op.type(1).rank() != (elements ? rank : 1))
    op.fail("indices have rank {}, expected {}", op.type(1).rank(), elements ? rank : 1);
  for (int i = 0; elements && i < rank; ++i)
    require_equal(op.module, op.shape(1)[i], op.shape(2)[i],
                  fmt::format("extents of axis {} of indices and updates", i));
  if (!elements) require_equal(op.module, op.shape(1)[0], op.shape(2)[axis], "counts of indices and updates");
  check_updates(op, axis, elements);
  return Type::tensor(op.type(0).dtype, op.shape(0));
}

Type infer_scan(const Inference& op) {
  op.axis(op.params.integer("axis"), op.type(0).rank());
  check_reduction(op, op.params.text("op"));
  return Type::tensor(op.type(0).dtype, op.shape(0));
}

std::vector<Type> infer_top_k(const Inference& op) {
  const int64_t axis = op.axis(op.params.integer("axis"), op.type(0).rank());
  const DType dtype = op.type(0).dtype;
  if (!is_float(dtype) && !is_integer(dtype)) op.fail("top_k of {}", name_of(dtype));
  Dim k = op.params.dim("k"), extent = op.shape(0)[axis];
  Dim exceeds = op.dims().less(extent, k), negative = op.dims().less(k, op.constant(0));
  if (value_of(exceeds) == 1 || value_of(negative) == 1)
    op.fail("k is {}, axis {} has extent {}", to_string(k), axis, to_string(extent));
  op.module.check(op.dims().equal(op.dims().max(exceeds, negative), op.constant(0)),
                  fmt::format("k must be from 0 to the extent of axis {}", axis));
  Shape shape = op.shape(0);
  shape[axis] = k;
  return {Type::tensor(dtype, shape), Type::tensor(DType::I64, shape)};
}

}  // namespace lapidary
